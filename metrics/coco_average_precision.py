"""Precision and recall as COCO and LVIS define them, by hotcoco, which gives what pycocotools and lvis give."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from metrics.detections import RLE, Annotated, Detected, selected

AREAS = ("all", "small", "medium", "large")  # borders at 32² and 96² square pixels
LVIS_DETECTIONS = 300  # of a picture
THRESHOLDS = tuple(50 + 5 * step for step in range(10))  # of the IoU, per cent


@dataclass(frozen=True)
class Federated:
    """What LVIS has verified about the classes of every picture.

    Attributes:
        negative: for every picture the labels that are absent from it. Detections of a class that a picture neither
            has nor is known not to have are dropped.
        not_exhaustive: for every picture the labels of which not every object is annotated. Their detections count
            where they meet an annotated object and not otherwise.
        frequencies: of every class, "r" rare, "c" common or "f" frequent.
    """

    negative: Sequence[Sequence[int]]
    not_exhaustive: Sequence[Sequence[int]]
    frequencies: Sequence[str]


@dataclass(frozen=True)
class Curves:
    """Precision and recall of K classes; -1 where a class has no object of that size.

    Attributes:
        precision: (10, 101, K, 4) at the IoU of ``THRESHOLDS``, recalls of 0 to 1 and ``AREAS``.
        recall: (10, K, 4) that all detections together reach.
        scores: (10, 101, K, 4) from which on detections reach that recall; 0 where none do.
    """

    precision: np.ndarray
    recall: np.ndarray
    scores: np.ndarray

    def average_precision(
        self, threshold: int | None = None, area: str = "all", classes: np.ndarray | None = None
    ) -> float:
        """Return the mean precision over recalls, thresholds and classes, or NaN if no class has an object.

        Args:
            threshold: one of ``THRESHOLDS``; the mean over all if None.
            area: one of ``AREAS``.
            classes: (K,) bool, which ones to take; all if None.
        """
        return _mean(self.precision[:, :, :, AREAS.index(area)], threshold, classes)

    def of_classes(self, threshold: int | None = None, area: str = "all") -> np.ndarray:
        """Return (K,) float64 average precision of every class, NaN of those without an object.

        Args:
            threshold: one of ``THRESHOLDS``; the mean over all if None.
            area: one of ``AREAS``.
        """
        return _class_means(self.precision[:, :, :, AREAS.index(area)], threshold)

    def recall_of_classes(self, threshold: int | None = None) -> np.ndarray:
        """Return (K,) float64 recall of every class, NaN of those without an object; the mean over all if None."""
        return _class_means(self.recall[:, None, :, 0], threshold)

    def at(self, threshold: int) -> tuple[np.ndarray, np.ndarray]:
        """Return precision (101, K) at recalls of 0 to 1, NaN of classes without an object, and the scores there."""
        place = THRESHOLDS.index(threshold)
        precision = self.precision[place, :, :, 0]
        return np.where(precision > -1, precision, np.nan), self.scores[place, :, :, 0]

    def average_recall(self) -> float:
        """Return the mean recall over thresholds and classes, or NaN if no class has an object."""
        return _mean(self.recall[:, :, 0], None, None)


def _mean(values: np.ndarray, threshold: int | None, classes: np.ndarray | None) -> float:
    if threshold is not None:
        values = values[THRESHOLDS.index(threshold)]
    if classes is not None:
        values = values[..., classes]
    values = values[values > -1]
    return float(values.mean()) if values.size else float("nan")


def _class_means(values: np.ndarray, threshold: int | None) -> np.ndarray:
    """Return (K,) means of (10, R, K) values, NaN where they are -1."""
    values = values if threshold is None else values[[THRESHOLDS.index(threshold)]]
    return np.where((values > -1).all((0, 1)), values.mean((0, 1)), np.nan)


def coco_curves(
    annotated: Annotated,
    detected: Detected,
    sizes: Sequence[tuple[int, int]],
    num_classes: int,
    masks: bool = False,
    federated: Federated | None = None,
) -> Curves:
    """Return the curves that COCO's figures are means of, or LVIS' where its rules are given.

    COCO keeps the 100 best detections of a class in a picture, LVIS the 300 best of a picture. Detections that lie in
    an ignored object for more than the threshold's share of their own area do not count. Of equal scores the earlier
    row is first.

    Args:
        annotated: the objects. With ``masks`` their masks are compared, else their boxes.
        detected: the detections.
        sizes: height and width of every picture in pixels.
        num_classes: K.
        masks: whether to compare masks.
        federated: the rules of LVIS.
    """
    import hotcoco

    found_areas = mask_areas(detected.masks) if masks else (detected.boxes[:, 2:] - detected.boxes[:, :2]).prod(1)
    if federated is not None:  # lvis passes over what has no area, but lets it be one of the best of its picture
        annotated = selected(annotated, annotated.areas > 0)
        kept = best_of_picture(detected.pictures, detected.scores, LVIS_DETECTIONS) & (found_areas > 0)
        detected, found_areas = selected(detected, kept), found_areas[kept]
    truth = hotcoco.COCO.from_arrays(
        _pictures(sizes, federated),
        _categories(num_classes, federated),
        annotated.pictures + 1,
        annotated.labels + 1,
        _xywh(annotated.boxes),
        area=annotated.areas.astype(np.float64),
        iscrowd=annotated.ignored,
        segmentation=list(annotated.masks or ()) if masks else None,
    )
    boxes, scores = _xywh(detected.boxes), detected.scores.astype(np.float64)
    rows = np.column_stack([detected.pictures + 1, boxes, scores, detected.labels + 1])
    found = truth.load_res(rows, segmentation=list(detected.masks or ()) if masks else None)
    if masks:  # small and large are said of the mask, not of its box
        found.update_anns(ids=np.arange(1, len(rows) + 1), area=found_areas)
    evaluation = hotcoco.COCOeval(truth, found, "segm" if masks else "bbox", lvis_style=federated is not None)
    if federated is None:
        evaluation.params.max_dets = [100]
    evaluation.evaluate()
    evaluation.accumulate()
    curves: Any = evaluation.eval  # a copy each time
    return Curves(curves["precision"][..., -1], curves["recall"][..., -1], curves["scores"][..., -1])


def best_of_picture(pictures: np.ndarray, scores: np.ndarray, count: int) -> np.ndarray:
    """Return (M,) bool: which detections are among the ``count`` of highest score in their picture.

    Args:
        pictures: (M,) int64, the picture of every detection.
        scores: (M,) float; of equal ones the earlier row is first.
        count: of each picture.
    """
    order = np.lexsort((-scores, pictures))
    starts = np.flatnonzero(np.append(True, np.diff(pictures[order]) != 0))[: len(order)]
    sizes = np.diff(np.append(starts, len(order)))
    best = np.zeros(len(order), bool)
    best[order] = np.arange(len(order)) - np.repeat(starts, sizes) < count
    return best


def mask_areas(masks: Sequence[RLE] | None) -> np.ndarray:
    """Return (N,) float64 numbers of pixels of N compressed RLE."""
    from pycocotools import mask as rle

    # pycocotools 2.0.11 puts the number of masks into 8 bits on its way, and numpy 2 refuses more than 255.
    parts = [rle.area(list(masks[k : k + 200])) for k in range(0, len(masks or ()), 200)] if masks else []
    return np.concatenate(parts).astype(np.float64) if parts else np.zeros(0)


def _pictures(sizes: Sequence[tuple[int, int]], federated: Federated | None) -> list[dict[str, Any]]:
    pictures: list[dict[str, Any]] = [{"id": n, "height": h, "width": w} for n, (h, w) in enumerate(sizes, 1)]
    if federated is not None:
        for picture, negative, not_exhaustive in zip(
            pictures, federated.negative, federated.not_exhaustive, strict=True
        ):
            picture["neg_category_ids"] = [label + 1 for label in negative]
            picture["not_exhaustive_category_ids"] = [label + 1 for label in not_exhaustive]
    return pictures


def _categories(num_classes: int, federated: Federated | None) -> list[dict[str, Any]]:
    categories: list[dict[str, Any]] = [{"id": label + 1, "name": str(label)} for label in range(num_classes)]
    if federated is not None:
        for category, frequency in zip(categories, federated.frequencies, strict=True):
            category["frequency"] = frequency
    return categories


def _xywh(boxes: np.ndarray) -> np.ndarray:
    boxes = boxes.astype(np.float64)
    return np.column_stack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]])
