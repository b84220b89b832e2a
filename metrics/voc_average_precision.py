"""Average precision as the development kits of PASCAL VOC define it."""

import numpy as np

from metrics.detections import Annotated, Detected

THRESHOLD = 0.5  # of the IoU


def voc_average_precision(annotated: Annotated, detected: Detected, num_classes: int) -> dict[str, np.ndarray]:
    """Return the average precision of every class by the conventions of VOC 2007 and of VOC 2010 and later.

    A detection is compared with the object of its class that it overlaps most. From an IoU of 0.5 on it is a hit, and
    a miss if a better scored one has hit that object before; it does not count at all if the object is ignored. Of
    equal scores the earlier row is first.

    The kits add 1 to widths, because their corners are both included. Here x2 and y2 are excluded, which gives the
    same IoU. Where a recall is exactly one of the eleven, as 3 of 10 is 0.3, it reaches it; the kits' 0:0.1:1 is just
    above some of them. mmdet has the same protocol, but rounds to float32, leaves the order of equal scores open and
    starts processes.

    Args:
        annotated: the objects; their masks are not used.
        detected: the detections; their masks are not used.
        num_classes: K.

    Returns:
        "11 points" and "area" (K,) float64: the mean of the best precision at recalls of at least 0, 0.1, ..., 1, and
        the area below the precision that never rises with the recall. NaN for classes without an object to find.
    """
    found = {"11 points": np.full(num_classes, np.nan), "area": np.full(num_classes, np.nan)}
    hits, counts = judged(annotated, detected)
    order = np.argsort(-detected.scores, kind="stable")
    for label in range(num_classes):
        objects = int((~annotated.ignored & (annotated.labels == label)).sum())
        if not objects:
            continue
        mine = order[(counts & (detected.labels == label))[order]]
        hit = hits[mine].cumsum()
        recall, precision = hit / objects, hit / np.arange(1, len(mine) + 1)
        found["11 points"][label] = eleven_points(recall, precision)
        found["area"][label] = area_below(recall, precision)
    return found


def judged(annotated: Annotated, detected: Detected) -> tuple[np.ndarray, np.ndarray]:
    """Return whether each detection is a hit and whether it counts, (M,) bool each."""
    nearest, iou = most_overlapped(annotated, detected)
    meets = iou >= THRESHOLD
    ignored = meets & annotated.ignored[nearest] if len(annotated.ignored) else np.zeros_like(meets)
    rivals = np.argsort(-detected.scores, kind="stable")
    rivals = rivals[(meets & ~ignored)[rivals]]
    _, first = np.unique(nearest[rivals], return_index=True)
    hits = np.zeros_like(meets)
    hits[rivals[first]] = True
    return hits, ~ignored


def most_overlapped(annotated: Annotated, detected: Detected) -> tuple[np.ndarray, np.ndarray]:
    """Return the row of the object of its picture and class that each detection overlaps most, and their IoU.

    Returns:
        (M,) int64, the first such row, or 0 where there is none, and (M,) float64, then 0.
    """
    classes = 1 + max((int(each.labels.max()) for each in (annotated, detected) if len(each.labels)), default=0)
    groups = annotated.pictures * classes + annotated.labels
    rows = np.argsort(groups, kind="stable")
    wanted = detected.pictures * classes + detected.labels
    start, stop = (np.searchsorted(groups[rows], wanted, side) for side in ("left", "right"))
    some = np.flatnonzero(stop > start)
    nearest, best = np.zeros(len(wanted), np.int64), np.zeros(len(wanted))
    if not len(some):
        return nearest, best
    # All pairs of a detection and an object of its group, detection by detection.
    sizes = (stop - start)[some]
    offsets = np.cumsum(sizes) - sizes
    partner = rows[np.arange(sizes.sum()) + np.repeat(start[some] - offsets, sizes)]
    overlaps = pairwise_iou(annotated.boxes[partner], np.repeat(detected.boxes[some], sizes, axis=0))
    best[some] = np.maximum.reduceat(overlaps, offsets)
    is_best = np.flatnonzero(overlaps == np.repeat(best[some], sizes))
    nearest[some] = partner[is_best[np.searchsorted(is_best, offsets)]]
    return nearest, best


def pairwise_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return (P,) float64 IoU of boxes (P, 4) with boxes (P, 4), xyxy."""
    first, second = first.astype(np.float64), second.astype(np.float64)
    lower, upper = np.maximum(first[:, :2], second[:, :2]), np.minimum(first[:, 2:], second[:, 2:])
    shared = (upper - lower).clip(min=0).prod(1)
    union = sum((each[:, 2:] - each[:, :2]).prod(1) for each in (first, second)) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def eleven_points(recall: np.ndarray, precision: np.ndarray) -> float:
    """Return the mean of the best precision at recalls of at least 0, 0.1, ..., 1; 0 where none is reached."""
    return float(np.mean([precision[recall >= least].max(initial=0) for least in np.arange(11) / 10]))


def area_below(recall: np.ndarray, precision: np.ndarray) -> float:
    """Return the area below the best precision at this recall or a higher one."""
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0) * envelope).sum())
