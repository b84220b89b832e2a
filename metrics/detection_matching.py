"""Which detection meets which object whatever their classes, and the confusion matrix that follows."""

from dataclasses import dataclass

import numpy as np

BARELY = 1e-10  # below 1, so that equal boxes meet at an IoU of 1 in spite of rounding; as in pycocotools


@dataclass(frozen=True)
class Matching:
    """Who meets whom in one picture with N objects and M detections.

    Attributes:
        detection_of: (N,) int64, the detection that meets an object; -1 if none does.
        object_of: (M,) int64, the object that a detection meets; -1 if it meets none.
        counted: (M,) bool, whether a detection is a hit or a mistake; false of those that are neither.
    """

    detection_of: np.ndarray
    object_of: np.ndarray
    counted: np.ndarray

    @property
    def missed(self) -> np.ndarray:
        """(N,) bool, objects that nothing meets, ignored ones among them."""
        return self.detection_of < 0

    @property
    def false(self) -> np.ndarray:
        """(M,) bool, detections of nothing."""
        return (self.object_of < 0) & self.counted


def matched(
    found: dict[str, np.ndarray],
    truth: dict[str, np.ndarray],
    threshold: float = 0.5,
    *,
    min_score: float = 0.0,
    unverified: np.ndarray | None = None,
) -> Matching:
    """Return who meets whom: by falling score each detection takes the free object that it overlaps most.

    Classes do not count, so that a cat that is called a dog is met and confused. An object that is ignored (crowds,
    difficult ones) is met by nobody, and a detection of its class that meets no other object, and lies in it with the
    threshold's share of its own area, is neither hit nor mistake. Of equal scores the earlier detection is first, of
    equal overlaps the earlier object. This is the order of COCO's evaluation, where classes do count.

    Args:
        found: "boxes" (M, 4) xyxy, "scores" (M,), "labels" (M,).
        truth: "boxes" (N, 4) xyxy, "labels" (N,), "ignored" (N,) bool.
        threshold: least IoU to meet.
        min_score: of the detections that take part; others are neither hit nor mistake.
        unverified: labels that may be in the picture without being annotated (LVIS): detections of these that meet
            nothing are no mistakes.
    """
    threshold = min(threshold, 1 - BARELY)
    shared, ours, theirs = overlaps(found["boxes"], truth["boxes"])
    union = ours[:, None] + theirs[None] - shared
    iou = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    iou[:, truth["ignored"]] = -1
    takes_part = found["scores"] >= min_score
    detection_of, object_of = np.full(iou.shape[1], -1), np.full(iou.shape[0], -1)
    for detection in np.argsort(-found["scores"], kind="stable").tolist():
        if not takes_part[detection] or not iou.shape[1]:
            continue
        free = np.where(detection_of < 0, iou[detection], -1)
        best = int(free.argmax())
        if free[best] >= threshold:
            detection_of[best], object_of[detection] = detection, best
    within = np.divide(shared, ours[:, None], out=np.zeros_like(shared), where=ours[:, None] > 0) >= threshold
    excused = (within & truth["ignored"] & (found["labels"][:, None] == truth["labels"])).any(1)
    if unverified is not None:
        excused |= np.isin(found["labels"], unverified)
    return Matching(detection_of, object_of, counted=takes_part & ~(excused & (object_of < 0)))


def overlaps(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what boxes (M, 4) and (N, 4), xyxy, share, (M, N), and their areas (M,) and (N,), square pixels."""
    first, second = first.astype(np.float64), second.astype(np.float64)
    lower = np.maximum(first[:, None, :2], second[None, :, :2])
    upper = np.minimum(first[:, None, 2:], second[None, :, 2:])
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(1) for boxes in (first, second)]
    return (upper - lower).clip(min=0).prod(2), areas[0], areas[1]


def confusion_matrix(
    matching: Matching, found: np.ndarray, truth: np.ndarray, *, ignored: np.ndarray, classes: int
) -> np.ndarray:
    """Return how often objects of each class were taken for each class in a picture.

    Args:
        matching: of the picture.
        found: (M,) labels of the detections.
        truth: (N,) labels of the objects.
        ignored: (N,) bool, objects that do not count.
        classes: K.

    Returns:
        (K + 1, K + 1) int64: the class of an object a row, that of the detection that meets it a column; in the last
        column objects that were missed, in the last row detections of nothing.
    """
    matrix = np.zeros((classes + 1, classes + 1), np.int64)
    objects = np.flatnonzero(~ignored)
    met = matching.detection_of[objects]
    if len(objects):
        columns = np.full(len(objects), classes) if not len(found) else np.where(met >= 0, found[met], classes)
        np.add.at(matrix, (truth[objects], columns), 1)
    np.add.at(matrix, (classes, found[matching.false]), 1)
    return matrix
