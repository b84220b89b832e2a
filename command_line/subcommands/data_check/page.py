"""The page of a data set: one file, which asks for nothing else."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from callbacks.results.html import render
from callbacks.results.table import Table
from command_line.subcommands.data_check.figures import file_name
from command_line.subcommands.data_check.numbers import size_figures
from command_line.subcommands.data_check.summary import loaders_table, parts_table
from datamodules.common.inputs import printable
from datamodules.common.inspection.batches import LoaderFigures
from datamodules.common.inspection.classes import BoxFigures, ClassCounts
from datamodules.common.inspection.files import copies
from datamodules.common.inspection.inspect_data import DataReport

MOST_CLASSES, MOST_EXAMPLES, MOST_COPIES = 40, 200, 50


def page_of(report: DataReport, pictures: Mapping[str, bytes]) -> str:
    """Return the page.

    Args:
        report: of the data set.
        pictures: PNG by name of the file, which become part of the page.
    """
    images = {name: f"data:image/png;base64,{base64.b64encode(png).decode()}" for name, png in pictures.items()}
    return render(
        Path(__file__).with_name("page.html"),
        report=report,
        findings=[
            (
                each.level,
                printable(each.part),
                each.text.splitlines(),
                [printable(e) for e in each.examples[:MOST_EXAMPLES]],
            )
            for each in report.findings
        ],
        most_examples=MOST_EXAMPLES,
        overview=[table for table in (parts_table(report), loaders_table(report)) if table.rows],
        parts=[_part(report, name) for name in report.contents],
        loaders=[
            (name, images.get(f"examples_{file_name(name)}.png"), _entries(each))
            for name, each in report.loaders.items()
        ],
        sizes=[images[name] for name in ("sizes.png", "aspects.png") if name in images],
        boxes=[images[name] for name in ("box_sizes.png", "box_aspects.png") if name in images],
    )


def _part(report: DataReport, name: str) -> dict[str, Any]:
    stored, counts, boxes = report.stored.get(name), report.classes.get(name), report.boxes.get(name)
    groups = copies(stored) if stored is not None else []
    facts = {
        key: f"{value:,}" if isinstance(value, int) else str(value)
        for key, value in report.contents[name].described.items()
    }
    return {
        "name": name,
        "facts": facts,
        "sizes": _sizes(size_figures(stored)) if stored is not None else None,
        "classes": _bars(counts) if counts is not None else [],
        "counted": counts.things if counts is not None else "",
        "more_classes": max(0, len(counts.names) - MOST_CLASSES) if counts is not None else 0,
        "boxes": _box_table(boxes) if boxes is not None else None,
        "copies": [[stored.named(p) for p in group] for group in groups[:MOST_COPIES]] if stored is not None else [],
        "more_copies": max(0, len(groups) - MOST_COPIES),
    }


def _sizes(figures: Mapping[str, list[float]]) -> Table | None:
    rows = [[key, *(f"{value:.4g}" for value in values)] for key, values in figures.items()]
    return Table.of_texts("", ["pixels", "5 %", "median", "95 %"], rows) if rows else None


def _bars(counts: ClassCounts) -> list[tuple[str, str, float]]:
    """Return name, count and length in per cent of the most frequent classes."""
    most = max(int(counts.counts.max(initial=0)), 1)
    ranked = sorted(zip(counts.names, counts.counts.tolist(), strict=True), key=lambda each: -each[1])
    return [(name, f"{count:,}", round(100 * count / most, 1)) for name, count in ranked[:MOST_CLASSES]]


def _box_table(figures: BoxFigures) -> Table:
    rows = [
        ["boxes", f"{figures.count:,}"],
        ["a picture, on average", f"{figures.per_picture:.3g}"],
        ["pictures without", f"{figures.empty_pictures:,}"],
        *([f"{name} ({text})", f"{figures.areas[name]:,}"] for name, text in AREAS.items()),
        ["crowds and difficult ones besides", f"{figures.ignored:,}"],
        ["taken away by a sparse split besides", f"{figures.removed:,}"],
        ["side, 5 % / median / 95 %, pixels", " / ".join(f"{value:.3g}" for value in figures.sides)],
        ["width by height, 5 % / median / 95 %", " / ".join(f"{value:.3g}" for value in figures.aspects)],
    ]
    return Table.of_texts("", ["", ""], rows)


AREAS = {"small": "below 32 x 32", "medium": "below 96 x 96", "large": "from 96 x 96 on"}


def _entries(loader: LoaderFigures) -> Table:
    rows = [
        [
            key,
            entry.kind,
            entry.shape(),
            "" if entry.least is None or entry.most is None else f"{entry.least:.4g} to {entry.most:.4g}",
            str(entry.nans) if entry.nans else "",
        ]
        for key, entry in loader.entries.items()
    ]
    return Table.of_texts("", ["entry", "kind", "shape", "range", "not finite"], rows)
