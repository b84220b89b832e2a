"""What is known of a detector and its data at the end of a test."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from callbacks.detection.report.mistakes import Kind, Mistake
from metrics.coco_average_precision import Curves
from metrics.label_statistics import LabelStatistics

RECALLS = np.linspace(0, 1, 101)
BACKGROUND = "background"


@dataclass(frozen=True)
class BestPoint:
    """Where on its curve, at an IoU of 0.5, each of K classes has the best F1.

    Attributes:
        f1: (K,); NaN without objects.
        score: (K,) from which on detections count there; NaN where nothing is found.
    """

    f1: np.ndarray
    score: np.ndarray


@dataclass(frozen=True)
class Findings:
    """What a report shows; K classes.

    Attributes:
        classes: names by label.
        min_score: of the detections that the confusion matrix counts.
        pictures: number of pictures that were evaluated.
        curves: of boxes.
        mask_curves: of masks, None if detector or data have none.
        confusion: (K + 1, K + 1), see ``metrics.detection_matching.confusion_matrix``.
        evaluated: statistics of the annotations of these pictures.
        trained: of those to train on, None if they were not read.
        mistakes: the worst of each kind.
    """

    classes: Sequence[str]
    min_score: float
    pictures: int
    curves: Curves
    mask_curves: Curves | None
    confusion: np.ndarray
    evaluated: LabelStatistics
    trained: LabelStatistics | None
    mistakes: Mapping[Kind, Sequence[Mistake]]

    @cached_property
    def average_precision(self) -> np.ndarray:
        """(K,) AP of boxes; NaN of classes without an object."""
        return self.curves.of_classes()

    @cached_property
    def ranked(self) -> list[int]:
        """Labels of the classes with objects, the best first; of equal AP the rarer one, so that the last matter."""
        known = np.flatnonzero(~np.isnan(self.average_precision))
        order = np.lexsort((known, self.evaluated.objects[known], -self.average_precision[known]))
        return known[order].tolist()

    @cached_property
    def precision(self) -> np.ndarray:
        """(K,) share of the detections of a class that meet an object of it; NaN without detections."""
        return share(np.diag(self.confusion)[:-1], self.confusion.sum(0)[:-1])

    @cached_property
    def recall(self) -> np.ndarray:
        """(K,) share of the objects of a class that a detection of it meets; NaN without objects."""
        return share(np.diag(self.confusion)[:-1], self.confusion.sum(1)[:-1])

    @cached_property
    def best(self) -> BestPoint:
        """Where each class has the best F1."""
        precision, scores = self.curves.at(50)
        f1 = share(2 * precision * RECALLS[:, None], precision + RECALLS[:, None])
        f1 = np.where(np.isnan(precision), np.nan, np.nan_to_num(f1))
        place = np.where(np.isnan(f1), -1, f1).argmax(0)
        columns = np.arange(f1.shape[1])
        best = f1[place, columns]
        return BestPoint(best, np.where(best > 0, scores[place, columns], np.nan))

    @cached_property
    def confusions(self) -> list[tuple[int, int, int]]:
        """(truth, taken for, count) of every pair of different classes that occurred, the most frequent first."""
        between = self.confusion[:-1, :-1] * (1 - np.eye(len(self.classes), dtype=np.int64))
        rows, columns = between.nonzero()
        found = [(int(r), int(c), int(between[r, c])) for r, c in zip(rows, columns, strict=True)]
        return sorted(found, key=lambda each: (-each[2], each[0], each[1]))


def share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return quotients, NaN where the divisor is 0."""
    return np.divide(part, whole, out=np.full(np.broadcast(part, whole).shape, np.nan), where=whole > 0)


def ends(ordered: Sequence[int], most: int) -> tuple[list[int], list[int]]:
    """Return the first and the last of a list, half of ``most`` each; all of a shorter one are the first."""
    if len(ordered) <= most:
        return list(ordered), []
    return list(ordered[: most // 2]), list(ordered[len(ordered) - most // 2 :])
