"""Layouts that are drawn: other classes in the places of a picture's objects, or new objects beside them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from datamodules.detection.annotations import AnnotatedImage
from datamodules.detection.layout_source import LayoutSource, boxes_within, layout_rows
from visionscapes.checks import PositiveInt, check_options, check_rising
from visionscapes.errors import UserError

COVERED = 0.8  # share of an object's box under new ones, above which nothing is left of it to be annotated


@dataclass(frozen=True)
class DrawnLayouts:
    """What is drawn of a layout, and what is taken from the picture.

    Args:
        places: "given": in the boxes of the picture's objects (thesis 7.2.2); "anywhere": new objects beside those of
            the picture, at any place and in the size of an annotated object of their class, as X-Paste does.
        classes: "given": those of the picture's objects, for places that are given; "frequency": as often as they are
            annotated; "balanced": all alike; "inverse": the oftener the rarer; "weights": as ``weights`` says.
        weights: JSON file of class name -> number, such as the loss of a detector by class; a class that it does not
            have is not drawn.
        fewest: new objects of a picture at least, for places that are anywhere.
        most: new objects of a picture at most.

    Raises:
        UserError: an option is out of its bounds, or does not go with the others.
    """

    places: Literal["given", "anywhere"] = "given"
    classes: Literal["given", "frequency", "balanced", "inverse", "weights"] = "given"
    weights: str | None = None
    fewest: PositiveInt = 1
    most: PositiveInt = 6

    def __post_init__(self) -> None:
        check_options(DrawnLayouts, vars(self))
        check_rising(DrawnLayouts, **{"fewest and most": (self.fewest, self.most)})
        if self.places == "anywhere" and self.classes == "given":
            raise UserError(
                "objects at any place have no class that is given: say how classes are drawn, "
                "--data.drawn.classes=frequency, balanced, inverse or weights"
            )
        if (self.weights is None) == (self.classes == "weights"):
            raise UserError(
                "classes and weights belong together: give --data.drawn.classes=weights and --data.drawn.weights=<JSON "
                "file of class name -> number>, or neither"
            )


@dataclass(frozen=True)
class DrawnLayout:
    """A layout; N objects that are to be painted and K that stay as they are.

    Attributes:
        boxes: (N, 4) float32 xyxy pixels.
        labels: (N,) int64.
        rows: (N,) int64, of the annotations in whose place they are; -1 for new ones.
        kept: (K,) int64, rows of the annotations that stay.
    """

    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    rows: NDArray[np.int64]
    kept: NDArray[np.int64]


class LayoutDrawer:
    """Draws layouts of the pictures of a source.

    Args:
        source: of the pictures.
        options: what is drawn.

    Raises:
        UserError: the file of weights cannot be used.
    """

    def __init__(self, source: LayoutSource, options: DrawnLayouts):
        self.options = options
        self.shares: NDArray[np.floating] = np.zeros(0)
        self.sides: list[NDArray[np.floating]] = []
        if options.classes != "given":
            self.sides = relative_sides(source)
            counts = np.array([len(each) for each in self.sides], float)
            weights = self._weights([str(each["name"]) for each in source.categories], counts)
            self.shares = weights / weights.sum()

    def __call__(self, item: AnnotatedImage, seed: int) -> DrawnLayout:
        """Return the layout of a copy of a picture, a function of the seed."""
        rows, boxes = layout_rows(item), boxes_within(item)
        none = rows[:0]
        if self.options.classes == "given":
            return DrawnLayout(boxes[rows], item.labels[rows], rows=rows, kept=none)
        rng = np.random.default_rng([seed, 1])  # apart from what an inpainter draws
        if self.options.places == "given":
            labels = rng.choice(len(self.shares), len(rows), p=self.shares)
            return DrawnLayout(boxes[rows], labels, rows=rows, kept=none)
        count = int(rng.integers(self.options.fewest, self.options.most + 1))
        labels = rng.choice(len(self.shares), count, p=self.shares)
        placed = np.array([self._anywhere(rng, label, item.size) for label in labels], np.float32)
        left = uncovered(boxes[rows], placed, item.size)
        return DrawnLayout(placed, labels, rows=np.full(len(labels), -1), kept=rows[left])

    def _anywhere(self, rng: np.random.Generator, label: int, size: tuple[int, int]) -> NDArray[np.floating]:
        shape = np.array(size[::-1], float)
        sides = np.maximum(self.sides[label][rng.integers(len(self.sides[label]))] * shape, 1)
        corner = rng.uniform(0, np.maximum(shape - sides, 0))
        return np.concatenate([corner, np.minimum(corner + sides, shape)])

    def _weights(self, names: Sequence[str], counts: NDArray[np.floating]) -> NDArray[np.floating]:
        there = counts > 0
        if self.options.classes == "frequency":
            return counts
        if self.options.classes == "balanced":
            return there.astype(float)
        if self.options.classes == "inverse":
            return np.where(there, 1 / np.maximum(counts, 1), 0)
        given = read_weights(Path(self.options.weights or "").expanduser(), names)
        weights = np.array([given.get(name, 0.0) for name in names])
        if not (weights * there).sum() > 0:
            raise UserError(f"{self.options.weights} gives no weight to any class that is annotated")
        return weights * there


def relative_sides(source: LayoutSource) -> list[NDArray[np.floating]]:
    """Return (n, 2) width and height of the objects of every class, as shares of those of their pictures."""
    found: list[list[NDArray[np.floating]]] = [[] for _ in source.categories]
    for item in source.images:
        rows, boxes = layout_rows(item), boxes_within(item)
        for row in rows.tolist():
            found[int(item.labels[row])].append((boxes[row, 2:] - boxes[row, :2]) / item.size[::-1])
    return [np.array(each).reshape(-1, 2) for each in found]


def uncovered(boxes: NDArray[np.floating], above: NDArray[np.floating], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return (N,) bool, of which boxes no more than `COVERED` lies under others.

    Args:
        boxes: (N, 4) xyxy pixels.
        above: (M, 4) xyxy pixels, of what is painted over them.
        size: height and width of the picture.
    """
    hidden = np.zeros(size, bool)
    for x1, y1, x2, y2 in above.round().astype(int):
        hidden[y1:y2, x1:x2] = True
    shares = []
    for x1, y1, x2, y2 in boxes.round().astype(int):
        inside = hidden[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)]
        shares.append(inside.mean() if inside.size else 0.0)
    return np.array(shares) <= COVERED


def read_weights(path: Path, names: Sequence[str]) -> dict[str, float]:
    """Return class name -> weight out of a JSON file.

    Args:
        path: of the file.
        names: of the classes that there are.

    Raises:
        UserError: there is no such file, or it holds something else.
    """
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}, the weights of classes, cannot be read: {error}") from error
    numbers = isinstance(content, dict) and all(
        isinstance(each, int | float) and 0 <= each < float("inf") for each in content.values()
    )
    if not numbers:
        raise UserError(f'{path} has to hold a weight of 0 or more for each class, as in {{"cat": 1.5, "dog": 0.2}}')
    if unknown := [name for name in content if name not in names]:
        raise UserError(
            f"{path} has a weight for {unknown[0]!r}, which is no class "
            f"({', '.join(names[:5])}{', ...' if len(names) > 5 else ''})"
        )
    return {name: float(each) for name, each in content.items()}
