"""The figures of a report as files that programs read."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from callbacks.detection.report.findings import BACKGROUND, RECALLS, Findings
from callbacks.results.csv_files import write_csv
from metrics.label_statistics import SHAPES, SIDES, LabelStatistics
from visionscapes.files import write_json

CLASSES = "detection_classes.csv"
CURVES = "detection_precision_recall.csv"
CONFUSION = "detection_confusion.csv"
LABELS = "detection_labels.json"
FILES = (CLASSES, CURVES, CONFUSION, LABELS)


def write_files(findings: Findings, folder: Path) -> None:
    """Write four files: figures of every class, their curves, the confusion matrix, statistics of the annotations."""
    write_csv(folder / CLASSES, *class_table(findings))
    write_csv(folder / CURVES, ("class", "iou", "recall", "precision", "score"), curve_rows(findings))
    names = [*findings.classes, BACKGROUND]
    rows = ([name, *counts] for name, counts in zip(names, findings.confusion.tolist(), strict=True))
    write_csv(folder / CONFUSION, ["truth \\ detected as", *names], rows)
    parts = {"evaluated": findings.evaluated, "trained": findings.trained}
    content = {part: as_plain(each, findings.classes) for part, each in parts.items() if each is not None}
    write_json(folder / LABELS, content, indent=None)


def class_table(findings: Findings) -> tuple[list[str], list[list[Any]]]:
    """Return header and rows of the figures of every class, in the order of their labels; empty where there is none."""
    curves, masks = findings.curves, findings.mask_curves
    columns: dict[str, Any] = {
        "class": findings.classes,
        "objects": findings.evaluated.objects,
        "pictures": findings.evaluated.shown_in,
        "AP": curves.of_classes(),
        "AP50": curves.of_classes(50),
        "AP75": curves.of_classes(75),
        "APs": curves.of_classes(area="small"),
        "APm": curves.of_classes(area="medium"),
        "APl": curves.of_classes(area="large"),
        "AR": curves.recall_of_classes(),
        **({} if masks is None else {"mask AP": masks.of_classes(), "mask AP50": masks.of_classes(50)}),
        f"precision@{findings.min_score:g}": findings.precision,
        f"recall@{findings.min_score:g}": findings.recall,
        "best F1": findings.best.f1,
        "score of best F1": findings.best.score,
    }
    return list(columns), [list(row) for row in zip(*map(as_cells, columns.values()), strict=True)]


def curve_rows(findings: Findings) -> Iterator[list[Any]]:
    """Yield class, IoU, recall, precision and score of the curves of the classes that have objects."""
    for threshold in (50, 75):
        precision, scores = findings.curves.at(threshold)
        for label in sorted(findings.ranked):
            for recall, *point in zip(RECALLS, precision[:, label], scores[:, label], strict=True):
                yield [findings.classes[label], threshold / 100, f"{recall:.2f}", *map(as_cell, point)]


def as_plain(statistics: LabelStatistics, classes: Any) -> dict[str, Any]:
    """Return statistics as JSON has them; borders of the histograms are in pixels, and width over height."""
    columns = ("objects", "shown_in", "side", "shape", "small", "medium", "large")
    values = {key: [number(each) for each in getattr(statistics, key).tolist()] for key in columns}
    return {
        "pictures": statistics.pictures,
        "empty": statistics.empty,
        "ignored": statistics.ignored,
        "classes": [
            {"name": name} | {key: values[key][label] for key in columns} for label, name in enumerate(classes)
        ],
        "sides": {"borders": SIDES.round(3).tolist(), "counts": statistics.sides.tolist()},
        "shapes": {"borders": SHAPES.round(4).tolist(), "counts": statistics.shapes.tolist()},
        "places": statistics.places.tolist(),
        "objects_a_picture": statistics.a_picture.tolist(),
    }


def number(value: float) -> float | None:
    """Return a number as JSON has it: None where there is none."""
    return None if value != value else value


def as_cells(values: Any) -> list[Any]:
    """Return the cells of a column."""
    return [as_cell(each) for each in (values.tolist() if isinstance(values, np.ndarray) else values)]


def as_cell(value: Any) -> Any:
    """Return a cell: floats with six digits, nothing for NaN."""
    if isinstance(value, float):
        return "" if value != value else f"{value:.6g}"
    return value
