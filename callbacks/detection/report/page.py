"""The page of a report: one HTML file with its pictures inside, without scripts, that asks nobody for anything."""

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from callbacks.detection.report import charts
from callbacks.detection.report.files import FILES
from callbacks.detection.report.findings import Findings, ends
from callbacks.detection.report.mistakes import KINDS, Mistake
from callbacks.results.figures import DPI, as_png
from callbacks.results.html import render
from callbacks.results.table import MISSING, Table
from metrics.label_statistics import LabelStatistics

MOST_ROWS = 40  # of the table of classes before the rest is folded away
PAIRS = 25  # confusions in the table
TITLES = {
    "missed": "Missed: objects that no detection meets",
    "false": "False: detections of nothing",
    "confused": "Confused: one class taken for another",
}


@dataclass(frozen=True)
class Chart:
    """A chart as the page holds it.

    Attributes:
        title: what it shows.
        png: its content in base64.
    """

    title: str
    png: str


@dataclass(frozen=True)
class Shown:
    """A mistake as the page shows it.

    Attributes:
        mistake: with its picture.
        what: its classes in words.
        picture: what the picture is called.
    """

    mistake: Mistake
    what: str
    picture: str


def page(findings: Findings) -> str:
    """Return the page as HTML."""
    table = class_table(findings)
    first, last = ends(range(len(table.rows)), MOST_ROWS)
    known = bool(findings.ranked)
    return render(
        Path(__file__).with_name("page.html"),
        findings=findings,
        facts=facts(findings),
        files=FILES,
        table=Table("", table.header, [table.rows[row] for row in first]),
        lowest=Table("", table.header, [table.rows[row] for row in last]) if last else None,
        whole=table if last else None,
        precision=chart("Average precision of every class", charts.precision_chart(findings)) if known else None,
        curves=[
            chart(f"Precision over recall, {what}", draw(findings))
            for what, draw in (("mean", charts.mean_curve_chart), ("by class", charts.class_curve_chart))
            if known
        ],
        confusion=chart("Confusion matrix", charts.confusion_chart(findings)),
        cut=len(findings.classes) > charts.MOST_CELLS,
        pairs=pair_table(findings),
        objects=chart("Objects of every class", charts.class_chart(findings)),
        labels=label_charts(findings),
        mistakes=[(TITLES[kind], [shown(each, findings) for each in findings.mistakes[kind]]) for kind in KINDS],
    )


def chart(title: str, figure: Any) -> Chart:
    """Return a chart with its picture."""
    return Chart(title, base64.b64encode(as_png(figure, DPI)).decode())


def facts(findings: Findings) -> dict[str, str]:
    """Return the figures at the top of the page."""
    curves = findings.curves
    found = findings.confusion[:, :-1].sum()
    figures = {
        "pictures": f"{findings.pictures:,}",
        "objects": f"{findings.evaluated.objects.sum():,}",
        f"detections ≥ {findings.min_score:g}": f"{found:,}",
        "classes with objects": f"{len(findings.ranked):,} of {len(findings.classes):,}",
        "AP": percent(curves.average_precision()),
        "AP50": percent(curves.average_precision(50)),
        "AP75": percent(curves.average_precision(75)),
    }
    if findings.mask_curves is not None:
        figures["AP of masks"] = percent(findings.mask_curves.average_precision())
    return figures


def class_table(findings: Findings) -> Table:
    """Return the table of the classes: those with objects, the best first, then the others that were detected."""
    curves, best = findings.curves, findings.best
    detected = findings.confusion.sum(0)[:-1] > 0
    others = [label for label in np.flatnonzero(detected).tolist() if label not in set(findings.ranked)]
    header = ["class", "objects", "pictures", "AP", "AP50", "AP75", "precision", "recall", "best F1", "at score"]
    columns = [findings.average_precision, curves.of_classes(50), curves.of_classes(75)]
    columns += [findings.precision, findings.recall, best.f1]
    if findings.mask_curves is not None:
        header.insert(4, "mask AP")
        columns.insert(1, findings.mask_curves.of_classes())
    rows = []
    for label in [*findings.ranked, *others]:
        counts = [f"{findings.evaluated.objects[label]:,}", f"{findings.evaluated.shown_in[label]:,}"]
        score = best.score[label]
        at = MISSING if np.isnan(score) else f"{score:.2f}"
        rows.append([findings.classes[label], *counts, *(percent(column[label]) for column in columns), at])
    return Table.of_texts("", header, rows)


def pair_table(findings: Findings) -> Table | None:
    """Return the table of the most frequent confusions; None without any."""
    rows = []
    for truth, taken, count in findings.confusions[:PAIRS]:
        of = int(findings.confusion[truth].sum())
        rows.append([f"{findings.classes[truth]} → {findings.classes[taken]}", str(count), percent(count / of)])
    return Table.of_texts("", ["truth → detected as", "times", "% of the objects"], rows) if rows else None


def label_charts(findings: Findings) -> list[tuple[str, dict[str, str], Chart]]:
    """Return name, figures and chart of the annotations of each part of the data that is known."""
    parts = {"evaluated": findings.evaluated, "trained on": findings.trained}
    return [
        (name, label_facts(part), chart(f"Labels, {name}", charts.label_chart(part)))
        for name, part in parts.items()
        if part is not None
    ]


def label_facts(part: LabelStatistics) -> dict[str, str]:
    """Return the figures about the annotations of a part."""
    objects = int(part.objects.sum())
    sizes = {"small": part.small, "medium": part.medium, "large": part.large}
    return {
        "pictures": f"{part.pictures:,}",
        "without an object": f"{part.empty:,}",
        "objects": f"{objects:,}",
        "ignored": f"{part.ignored:,}",
        "objects a picture": f"{objects / max(1, part.pictures):.1f}",
        **{name: percent(int(count.sum()) / max(1, objects)) + " %" for name, count in sizes.items()},
    }


def shown(mistake: Mistake, findings: Findings) -> Shown:
    """Return a mistake in words."""
    name = findings.classes[mistake.label]
    what = f"{findings.classes[mistake.truth]} taken for {name}" if mistake.truth is not None else name
    return Shown(mistake, what, str(mistake.image_id))


def percent(value: float) -> str:
    """Return a share in per cent, without the sign."""
    return MISSING if np.isnan(value) else f"{100 * value:.1f}"
