"""What is annotated in a data set for detection: how much of each class, how large, of which shape, and where."""

from dataclasses import dataclass

import numpy as np

SMALL, LARGE = 32.0, 96.0  # pixels; COCO's borders between small, medium and large, as sides of squares
SIDES = 2.0 ** np.arange(1, 12.5, 0.5)  # pixels, borders of the histogram of sizes
SHAPES = 2.0 ** np.arange(-4, 4.25, 0.25)  # borders of the histogram of width over height
GRID = 24  # cells of the map of places along either side
MANY = 50  # objects a picture, from which on pictures are counted together


@dataclass(frozen=True)
class Labels:
    """The annotations of P pictures, N objects.

    Attributes:
        sizes: (P, 2) height and width in pixels.
        pictures: (N,) int64, the place of each object's picture.
        labels: (N,) int64 in [0, K).
        boxes: (N, 4) xyxy in pixels.
        ignored: (N,) bool, crowds and difficult objects.
    """

    sizes: np.ndarray
    pictures: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray
    ignored: np.ndarray


@dataclass(frozen=True)
class LabelStatistics:
    """Counts of the objects that are not ignored; K classes.

    Attributes:
        pictures: how many there are.
        empty: of them without an object.
        ignored: number of ignored objects.
        objects: (K,) of every class.
        shown_in: (K,) pictures that show the class.
        side: (K,) median of the side of a square of the box's area, pixels; NaN without objects.
        shape: (K,) median of width over height; NaN without objects.
        small: (K,) objects whose boxes have less than 32² square pixels.
        medium: (K,) up to 96².
        large: (K,) above.
        sides: histogram of the sides over ``SIDES``; what lies beyond is in the outer bins.
        shapes: histogram of width over height over ``SHAPES``, likewise.
        places: (GRID, GRID) of the boxes' centres, rows from top to bottom.
        a_picture: (MANY + 1,) pictures by their number of objects; the last those with ``MANY`` or more.
    """

    pictures: int
    empty: int
    ignored: int
    objects: np.ndarray
    shown_in: np.ndarray
    side: np.ndarray
    shape: np.ndarray
    small: np.ndarray
    medium: np.ndarray
    large: np.ndarray
    sides: np.ndarray
    shapes: np.ndarray
    places: np.ndarray
    a_picture: np.ndarray


def label_statistics(annotated: Labels, classes: int) -> LabelStatistics:
    """Return the statistics of the annotations of a data set with ``classes`` classes."""
    kept = ~annotated.ignored
    labels, pictures = annotated.labels[kept], annotated.pictures[kept]
    boxes = annotated.boxes[kept].astype(np.float64)
    extent = (boxes[:, 2:] - boxes[:, :2]).clip(min=0)
    side, shape = np.sqrt(extent.prod(1)), ratio(extent[:, 0], extent[:, 1])

    def count(which: np.ndarray) -> np.ndarray:
        return np.bincount(labels[which], minlength=classes)

    sizes = annotated.sizes[pictures][:, ::-1]
    centres = ratio((boxes[:, :2] + boxes[:, 2:]) / 2, sizes).clip(0, 1 - 1e-9)
    places = np.zeros((GRID, GRID), np.int64)
    np.add.at(places, tuple((centres[:, ::-1] * GRID).astype(np.int64).T), 1)
    a_picture = np.bincount(pictures, minlength=len(annotated.sizes))
    shown = np.unique(np.stack([labels, pictures]), axis=1)[0]
    return LabelStatistics(
        pictures=len(annotated.sizes),
        empty=int((a_picture == 0).sum()),
        ignored=int((~kept).sum()),
        objects=count(np.ones(len(labels), bool)),
        shown_in=np.bincount(shown, minlength=classes),
        side=medians(side, labels, classes),
        shape=medians(shape, labels, classes),
        small=count(side < SMALL),
        medium=count((side >= SMALL) & (side <= LARGE)),
        large=count(side > LARGE),
        sides=histogram(side, SIDES),
        shapes=histogram(shape, SHAPES),
        places=places,
        a_picture=np.bincount(a_picture.clip(max=MANY), minlength=MANY + 1),
    )


def ratio(upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """Return quotients; where the divisor is 0, 1 of 0 and a very large number of others."""
    return np.where(lower > 0, upper / np.where(lower > 0, lower, 1), np.where(upper > 0, 1e9, 1.0))


def medians(values: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Return (K,) float64 medians of values (N,) by label; NaN where there is none."""
    order = np.lexsort((values, labels))
    stops = np.searchsorted(labels[order], np.arange(classes + 1))
    found = np.full(classes, np.nan)
    for label in np.flatnonzero(np.diff(stops)).tolist():
        found[label] = np.median(values[order[stops[label] : stops[label + 1]]])
    return found


def histogram(values: np.ndarray, borders: np.ndarray) -> np.ndarray:
    """Return how many values lie between neighbouring borders; those beyond are in the outer bins."""
    places = np.searchsorted(borders, values, "right") - 1
    return np.bincount(places.clip(0, len(borders) - 2), minlength=len(borders) - 1)
