"""Pictures of what a filter drops, sorted by score (thesis Figures 7.4 and 7.5)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from callbacks.results.figures import new_figure, save_figure

COLUMNS = 6
SIDE = 1.5  # inches of a tile


@dataclass(frozen=True)
class Dropped:
    """What is dropped.

    Attributes:
        path: of the picture.
        score: by which it is sorted.
        text: that stands above it.
        box: xyxy pixels, of an annotation; None if it is the whole picture.
    """

    path: Path
    score: float
    text: str
    box: tuple[float, ...] | None = None


def save_dropped(items: Sequence[Dropped], path: Path, most: int) -> None:
    """Write a figure of dropped pictures or annotations, the worst first; evenly out of all where there are too many.

    Args:
        items: in any order; nothing is written if there is none.
        path: of a PNG.
        most: tiles.
    """
    if not items:
        return
    ranked = sorted(items, key=lambda each: (each.score, each.text))
    places = np.unique(np.linspace(0, len(ranked) - 1, min(most, len(ranked))).round().astype(int))
    rows = -(-len(places) // COLUMNS)
    figure = new_figure(SIDE * COLUMNS, (SIDE + 0.25) * rows)
    panels = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for panel in panels:
        panel.axis("off")
    for panel, place in zip(panels, places.tolist(), strict=False):
        _show(panel, ranked[place])
    save_figure(figure, path)


def _show(panel: object, item: Dropped) -> None:
    with Image.open(item.path) as image:
        panel.imshow(np.array(image.convert("RGB")))  # type: ignore[attr-defined]
    panel.set_title(item.text, fontsize=7)  # type: ignore[attr-defined]
    if item.box is not None:
        from matplotlib.patches import Rectangle

        x1, y1, x2, y2 = item.box
        frame = Rectangle((x1 - 0.5, y1 - 0.5), x2 - x1, y2 - y1, fill=False, edgecolor="red", linewidth=1.5)
        panel.add_patch(frame)  # type: ignore[attr-defined]
