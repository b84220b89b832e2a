"""Which generated pictures, and which annotations in them, are good enough to be trained on (thesis 7.2.3).

Pure functions on arrays. What is asked first tells the reason: the whole picture, the box, the detector, its
neighbours, how many there are of its class.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from visionscapes.checks import Bounds, NonNegativeFloat, PositiveInt, PositiveShare, check_options

KEPT = "kept"
PICTURE, SMALL, LONG, FRAME, UNSEEN, TWICE, MANY = "picture", "small", "long", "full frame", "unseen", "twice", "many"
STEPS = (PICTURE, SMALL, LONG, FRAME, UNSEEN, TWICE, MANY)  # in which an annotation can be lost, in order
COPY = "copy"  # of a picture of which another copy was chosen
STEPS_WITH_COPIES = (*STEPS[:-1], COPY, MANY)


@dataclass(frozen=True)
class Rules:
    """Rules about boxes beside the thesis' two filters; by default none of them drops anything.

    Attributes:
        least_side: pixels that the shorter side has at least.
        largest_aspect: longer side by shorter side at most.
        largest_share: of the picture that a box covers at most.
        duplicate_iou: of two boxes of one class in one picture that overlap more, the one the detector is less sure of
            is dropped; none if None.
        most_per_class: annotations of a class over all pictures at most, those that the detector is surest of; any
            number if None.

    Raises:
        UserError: a number is out of its bounds.
    """

    least_side: NonNegativeFloat = 0.0
    largest_aspect: Annotated[float, Bounds(least=1)] | None = None
    largest_share: PositiveShare = 1.0
    duplicate_iou: PositiveShare | None = None
    most_per_class: PositiveInt | None = None

    def __post_init__(self) -> None:
        check_options(Rules, vars(self))


@dataclass(frozen=True)
class PictureEvidence:
    """What is known of a generated picture; N annotations.

    Attributes:
        name: of the picture.
        score: of the whole picture.
        size: height and width, pixels.
        boxes: (N, 4) float32 xyxy pixels.
        labels: (N,) int64.
        seen: (N,) float32, how sure the detector is of each, see `seen_scores`; 1 where none is asked.
        losses: (N,) float32, what each costs the detector, see ``lightning_modules.gen2det.hardness``; None where that
            is not asked.
        layout: what it has in common with the other copies of its real picture.
    """

    name: str
    score: float
    size: tuple[int, int]
    boxes: np.ndarray
    labels: np.ndarray
    seen: np.ndarray
    losses: np.ndarray | None = None
    layout: str = ""


def seen_scores(
    boxes: np.ndarray,
    labels: np.ndarray,
    found: tuple[np.ndarray, np.ndarray, np.ndarray],
    *,
    tau_iou: float,
    class_aware: bool,
) -> np.ndarray:
    """Return how sure a detector is of each annotation: the best score of a detection that overlaps it enough.

    An annotation is kept if that exceeds tau_s, which is the thesis' condition: some prediction has both a score above
    tau_s and an IoU above tau_iou.

    Args:
        boxes: (N, 4) xyxy of the annotations.
        labels: (N,) of the annotations.
        found: boxes (M, 4), scores (M,) and labels (M,) of the detections.
        tau_iou: IoU that has to be exceeded.
        class_aware: whether a detection counts only for annotations of its class.

    Returns:
        (N,) float32, 0 where nothing overlaps enough.
    """
    detected, scores, detected_labels = found
    counts = overlaps(boxes, detected) > tau_iou
    if class_aware:
        counts &= labels[:, None] == detected_labels[None]
    return np.where(counts, scores[None], 0).max(1, initial=0).astype(np.float32)


def overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return (N, M) float64, the IoU of boxes (N, 4) and (M, 4) xyxy; 0 of boxes without area."""
    first, second = first.astype(np.float64), second.astype(np.float64)
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(1) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1][None] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def box_reasons(boxes: np.ndarray, size: tuple[int, int], rules: Rules) -> list[str]:
    """Return what speaks against each box by itself, `KEPT` if nothing does.

    Args:
        boxes: (N, 4) xyxy pixels.
        size: height and width of the picture, pixels.
        rules: see there.
    """
    sides = boxes[:, 2:].astype(np.float64) - boxes[:, :2]
    shorter, longer, shares = sides.min(1), sides.max(1), sides.prod(1) / (size[0] * size[1])
    reasons = []
    for short, long, share in zip(shorter.tolist(), longer.tolist(), shares.tolist(), strict=True):
        if short < rules.least_side or short <= 0:
            reasons.append(SMALL)
        elif rules.largest_aspect is not None and long > rules.largest_aspect * short:
            reasons.append(LONG)
        else:
            reasons.append(FRAME if share > rules.largest_share else KEPT)
    return reasons


def repeated(evidence: PictureEvidence, kept: np.ndarray, duplicate_iou: float) -> np.ndarray:
    """Return (N,) bool, which kept annotations repeat a kept one of their class that the detector is surer of.

    Args:
        evidence: of the picture.
        kept: (N,) bool.
        duplicate_iou: IoU above which two are the same.
    """
    found = np.zeros(len(kept), bool)
    same = overlaps(evidence.boxes, evidence.boxes) > duplicate_iou
    same &= evidence.labels[:, None] == evidence.labels[None]
    stay: list[int] = []
    for place in np.argsort(-evidence.seen, kind="stable").tolist():
        if kept[place]:
            found[place] = same[place, stay].any()
            stay += [] if found[place] else [place]
    return found


def threshold_of(real_scores: Sequence[float], percentile: float) -> float:
    """Return tau_a, the score that ``percentile`` percent of the real pictures do not reach."""
    return float(np.percentile(np.asarray(real_scores, np.float64), percentile))


def verdicts(
    pictures: Sequence[PictureEvidence],
    *,
    tau_a: float | None,
    tau_s: float | None,
    rules: Rules,
    choose: Callable[[Sequence[PictureEvidence], list[list[str] | None]], None] | None = None,
) -> list[list[str] | None]:
    """Return what becomes of the annotations of every picture, each `KEPT` or the step in which it is lost.

    Args:
        pictures: in an order that decides where two are equally good.
        tau_a: score that a picture has to have at least; any if None.
        tau_s: score that the detector has to give to an annotation, exceeded; any if None.
        rules: see there.
        choose: marks what is left in copies that are not chosen, in place, before classes are limited.

    Returns:
        For every picture a reason for each annotation; None where the picture is dropped with all of them.
    """
    found: list[list[str] | None] = []
    for each in pictures:
        if tau_a is not None and not each.score >= tau_a:
            found.append(None)
            continue
        reasons = np.array(box_reasons(each.boxes, each.size, rules), dtype=object)
        if tau_s is not None:
            reasons[(reasons == KEPT) & ~(each.seen > tau_s)] = UNSEEN
        if rules.duplicate_iou is not None:
            reasons[repeated(each, reasons == KEPT, rules.duplicate_iou)] = TWICE
        found.append(reasons.tolist())
    if choose is not None:
        choose(pictures, found)
    if rules.most_per_class is not None:
        _cap(pictures, found, rules.most_per_class)
    return found


def _cap(pictures: Sequence[PictureEvidence], found: list[list[str] | None], most: int) -> None:
    """Drop, of each class, all but the annotations that the detector is surest of; in place."""
    places = [
        (-float(each.seen[row]), number, row, int(each.labels[row]))
        for number, (each, reasons) in enumerate(zip(pictures, found, strict=True))
        for row, reason in enumerate(reasons or ())
        if reason == KEPT
    ]
    counts: dict[int, int] = {}
    for _, number, row, label in sorted(places):
        counts[label] = counts.get(label, 0) + 1
        reasons = found[number]
        if counts[label] > most and reasons is not None:
            reasons[row] = MANY


def counts_by_step(
    pictures: Sequence[PictureEvidence],
    found: Sequence[list[str] | None],
    classes: int,
    steps: Sequence[str] = STEPS,
) -> dict[str, list[int]]:
    """Return how many annotations of every label are left after each step: "all" and then those of ``steps``."""
    left = {"all": [0] * classes, **{step: [0] * classes for step in steps}}
    for each, reasons in zip(pictures, found, strict=True):
        for row, label in enumerate(each.labels.tolist()):
            lost = PICTURE if reasons is None else reasons[row]
            left["all"][label] += 1
            for step in steps:
                if step == lost:
                    break
                left[step][label] += 1
    return left
