"""The charts of a report: legible with three classes as with a thousand."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from callbacks.detection.drawn_objects import shortened
from callbacks.detection.report.findings import BACKGROUND, RECALLS, Findings, ends
from callbacks.results.figures import PALETTE, new_figure
from metrics.label_statistics import LARGE, SHAPES, SIDES, SMALL, LabelStatistics

MOST_BARS = 40  # classes in a chart of bars; of more, the first and the last are shown
MOST_CELLS = 24  # classes in a confusion matrix
MOST_NUMBERED = 16  # up to so many the numbers in its cells are large
NAMED_CURVES = 6  # curves that have names, where there are more classes
BLUE, ORANGE, GREEN, RED = PALETTE[5], PALETTE[1], PALETTE[6], PALETTE[3]
PALE, LINE = "#CFE3F2", "#E6E6E6"
COLOURS = (BLUE, ORANGE, GREEN, RED, PALETTE[4], PALETTE[7], PALETTE[0])
STYLES: tuple[Any, ...] = ("-", "--", ":", "-.", (0, (4, 1, 1, 1, 1, 1)), (0, (1, 3)))


def precision_chart(findings: Findings) -> Any:
    """Return the figure of the AP of every class, the best first, with the number of its objects."""
    first, last = ends(findings.ranked, MOST_BARS)
    labels = [*first, *last]
    figure = new_figure(7.2, 0.9 + 0.21 * (len(labels) + bool(last)))
    panel = figure.subplots()
    counts = findings.evaluated.objects
    names = {label: f"{shortened(findings.classes[label])} ({counts[label]:,})" for label in labels}
    places = _name_rows(panel, first, last, names=names)
    panel.barh(places, 100 * findings.curves.of_classes(50)[labels], 0.78, color=PALE, label="AP50")
    panel.barh(places, 100 * findings.average_precision[labels], 0.78, color=BLUE, label="AP")
    _tell_hidden(panel, first, len(findings.ranked) - len(labels))
    panel.set_xlim(0, 100)
    panel.set_xlabel("average precision (%)", fontsize=9)
    mean = 100 * findings.curves.average_precision()
    panel.axvline(mean, color="black", lw=0.8, ls=":", label=f"mean AP {mean:.1f}")
    figure.legend(loc="outside upper center", ncols=3, fontsize=8, frameon=False)
    return figure


def mean_curve_chart(findings: Findings) -> Any:
    """Return the figure of precision over recall: the mean over classes at several IoU."""
    figure, panel = _new_curves()
    for threshold, colour in zip((50, 65, 75, 85), (BLUE, GREEN, ORANGE, RED), strict=True):
        mean = findings.curves.at(threshold)[0][:, findings.ranked].mean(1)
        panel.plot(RECALLS, mean, color=colour, label=f"IoU {threshold / 100:.2f}: AP {100 * mean.mean():.1f}")
    panel.set_title("mean over the classes", fontsize=9)
    panel.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return figure


def class_curve_chart(findings: Findings) -> Any:
    """Return the figure of precision over recall of every class at an IoU of 0.5.

    All classes have their names if they are few, else the best and the worst, and the others are grey.
    """
    figure, panel = _new_curves()
    precision = findings.curves.at(50)[0]
    order = sorted(findings.ranked, key=lambda label: -precision[:, label].mean())
    best, worst = ends(order, 2 * NAMED_CURVES)
    faint = max(0.15, min(1.0, 20 / len(order)))
    for label in set(order) - {*best, *worst}:
        panel.plot(RECALLS, precision[:, label], color="#BBBBBB", lw=0.5, alpha=faint)
    for place, label in enumerate([*best, *worst]):
        colour = COLOURS[place % len(COLOURS)] if not worst else BLUE if place < len(best) else ORANGE
        style = STYLES[(place // len(COLOURS) if not worst else place % NAMED_CURVES) % len(STYLES)]
        name = f"{shortened(findings.classes[label], 22)} {100 * precision[:, label].mean():.1f}"
        panel.plot(RECALLS, precision[:, label], lw=1.4, color=colour, ls=style, label=name)
    others = f": {NAMED_CURVES} best, {NAMED_CURVES} worst, others grey" if worst else ""
    panel.set_title(f"classes, IoU 0.50{others}", fontsize=9)
    panel.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, title="AP50 (%)")
    return figure


def _new_curves() -> tuple[Any, Any]:
    """Return a figure for curves and its panel."""
    figure = new_figure(6.4, 4.2)
    panel = figure.subplots()
    panel.set_xlim(0, 1)
    panel.set_ylim(0, 1.02)
    panel.set_xlabel("recall", fontsize=9)
    panel.set_ylabel("precision", fontsize=9)
    panel.tick_params(labelsize=8)
    panel.grid(color=LINE, lw=0.6)
    return figure, panel


def confusion_chart(findings: Findings) -> Any:
    """Return the figure of the confusion matrix, in per cent of a row: of many classes, those confused most."""
    labels = shown_in_confusion(findings)
    rows = [*labels, len(findings.classes)]
    counts = findings.confusion[np.ix_(rows, rows)]
    totals = findings.confusion[rows].sum(1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    side = 2.6 + 0.36 * len(rows)
    figure = new_figure(side + 0.6, side)
    panel = figure.subplots()
    image = panel.imshow(100 * shares, cmap="Blues", vmin=0, vmax=100)
    names = [*(shortened(findings.classes[label], 22) for label in labels), BACKGROUND]
    panel.set_xticks(range(len(rows)), names, rotation=90, fontsize=8)
    panel.set_yticks(range(len(rows)), names, fontsize=8)
    panel.set_xlabel("detected as (background: missed)", fontsize=9)
    panel.set_ylabel("truth (background: nothing there)", fontsize=9)
    panel.axhline(len(rows) - 1.5, color="black", lw=0.6)
    panel.axvline(len(rows) - 1.5, color="black", lw=0.6)
    size = 7.5 if len(rows) <= MOST_NUMBERED + 1 else 6.5
    for (row, column), count in np.ndenumerate(counts):
        if count:
            colour = "white" if shares[row, column] > 0.55 else "black"
            panel.text(column, row, _short(int(count)), ha="center", va="center", fontsize=size, color=colour)
    bar = figure.colorbar(image, ax=panel, shrink=0.6, pad=0.02)
    bar.set_label("% of the row", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    return figure


def shown_in_confusion(findings: Findings) -> list[int]:
    """Return the labels that the chart of the confusion matrix shows, in their order: those confused most of many."""
    count = len(findings.classes)
    if count <= MOST_CELLS:
        return list(range(count))
    between = findings.confusion[:-1, :-1] * (1 - np.eye(count, dtype=np.int64))
    mistakes = between.sum(0) + between.sum(1)
    order = np.lexsort((-findings.confusion.sum(1)[:-1], -mistakes))
    return sorted(order[:MOST_CELLS].tolist())


def class_chart(findings: Findings) -> Any:
    """Return the figure of the number of objects of every class, the most frequent first."""
    parts: list[tuple[str, LabelStatistics, str]] = [("evaluated", findings.evaluated, BLUE)]
    if findings.trained is not None:
        parts.append(("trained on", findings.trained, ORANGE))
    total = np.sum([part.objects for _, part, _ in parts], axis=0)
    some = [label for label in np.argsort(-total, kind="stable").tolist() if total[label]]
    first, last = ends(some, MOST_BARS)
    labels = [*first, *last]
    figure = new_figure(7.2, 0.9 + (0.16 + 0.08 * len(parts)) * (len(labels) + bool(last)))
    panel = figure.subplots()
    places = _name_rows(panel, first, last, names={label: shortened(findings.classes[label]) for label in labels})
    height = 0.8 / len(parts)
    for k, (name, part, colour) in enumerate(parts):
        panel.barh(places + (k - (len(parts) - 1) / 2) * height, part.objects[labels], height, color=colour, label=name)
    panel.set_xscale("symlog", linthresh=1)  # a class may have none
    panel.set_xlim(0, 2 * max(1, int(max(part.objects.max() for _, part, _ in parts))))
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    _tell_hidden(panel, first, len(some) - len(labels))
    absent = len(total) - len(some)
    panel.set_xlabel(f"objects{f'; {absent} classes have none' if absent else ''}", fontsize=9)
    figure.legend(loc="outside upper center", ncols=2, fontsize=8, frameon=False)
    return figure


def label_chart(statistics: LabelStatistics) -> Any:
    """Return the figure of how large objects are, of which shape, how many a picture shows, and where they are."""
    figure = new_figure(7.6, 5.6)
    (sides, shapes), (pictures, places) = figure.subplots(2, 2)
    _bars(sides, SIDES, statistics.sides, "side of a square of the box's area (px)")
    for border in (SMALL, LARGE):
        sides.axvline(border, color="black", lw=0.8, ls=":")
    _bars(shapes, SHAPES, statistics.shapes, "width / height of the box")
    shapes.axvline(1, color="black", lw=0.8, ls=":")
    last = int(np.flatnonzero(statistics.a_picture).max(initial=0))
    many = last == len(statistics.a_picture) - 1
    pictures.bar(range(last + 1), statistics.a_picture[: last + 1], 0.85, color=BLUE)
    pictures.set_xlabel(f"objects in a picture{f' (the last: {last} or more)' if many else ''}", fontsize=9)
    pictures.set_ylabel("pictures", fontsize=9)
    pictures.xaxis.get_major_locator().set_params(integer=True)
    places.imshow(statistics.places, cmap="viridis", extent=(0, 1, 1, 0), aspect="auto")
    places.set_xlabel("centre of the box in the picture", fontsize=9)
    for panel in (sides, shapes, pictures, places):
        panel.tick_params(labelsize=8)
    return figure


def _bars(panel: Any, borders: np.ndarray, counts: np.ndarray, name: str) -> None:
    used = np.flatnonzero(counts)
    first, last = (int(used[0]), int(used[-1])) if len(used) else (0, len(counts) - 1)
    edges = borders[first : last + 2]
    panel.bar(edges[:-1], counts[first : last + 1], np.diff(edges), align="edge", color=BLUE, edgecolor="white", lw=0.5)
    panel.set_xscale("log", base=2)
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:g}" if value >= 1 else f"1/{1 / value:g}")
    panel.set_xlabel(name, fontsize=9)
    panel.set_ylabel("objects", fontsize=9)


def _name_rows(panel: Any, first: Sequence[int], last: Sequence[int], *, names: Mapping[int, str]) -> np.ndarray:
    """Give rows the names of classes; return their places, with a gap between the first and the last ones."""
    places = np.concatenate([np.arange(len(first)), len(first) + 1 + np.arange(len(last))])
    panel.set_yticks(places, [names[label] for label in (*first, *last)], fontsize=8)
    panel.set_ylim(places.max(initial=0) + 0.6, -0.6)
    panel.tick_params(axis="x", labelsize=8)
    panel.grid(axis="x", color=LINE, lw=0.6)
    panel.set_axisbelow(True)
    return places


def _tell_hidden(panel: Any, first: Sequence[int], hidden: int) -> None:
    if hidden:
        where = panel.get_yaxis_transform()
        text = f"{hidden} classes between these are in the table"
        panel.text(0.5, len(first), text, fontsize=8, va="center", ha="center", transform=where)


def _short(count: int) -> str:
    return str(count) if count < 1000 else f"{count / 1000:.2g}k" if count < 100_000 else f"{count // 1000}k"
