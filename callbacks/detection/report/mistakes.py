"""The worst mistakes of a detector, with pictures: objects that it missed, found where nothing is, or confused."""

import base64
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw

from callbacks.detection.drawn_objects import Colour, as_jpeg, outline
from callbacks.detection.evaluation import EvaluatedImage
from metrics.detection_matching import Matching, overlaps

Kind = Literal["missed", "false", "confused"]
KINDS: tuple[Kind, ...] = ("missed", "false", "confused")
SIDE = 232  # pixels of the longer side of a picture
MARGIN = 0.6  # of the box's longer side, shown around it
LEAST = 64  # pixels of the original that are shown at least
NEARBY = 0.1  # IoU, from which on a false detection is said to overlap an object
TRUE_COLOUR: Colour = (255, 255, 255)
FOUND_COLOUR: Colour = (230, 159, 0)
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Mistake:
    """A mistake in a picture.

    Attributes:
        kind: "missed", an object that no detection meets; "false", a detection that meets no object; "confused", one
            that meets an object of another class.
        label: of the object that was missed, else of the detection.
        truth: label of the object that was confused.
        score: of the detection; of what was missed, that of the best detection of its class there, too low to count.
        share: of the picture that the box takes.
        image_id: of the picture.
        true_box: xyxy in pixels of the original, dashed in the picture; None where there is no object.
        found_box: of the detection; None where there is none.
        note: what there is to say of it.
        picture: JPEG, empty before it is drawn.
    """

    kind: Kind
    label: int
    truth: int | None
    score: float
    share: float
    image_id: int | str
    true_box: Box | None
    found_box: Box | None
    note: str = ""
    picture: bytes = b""

    @property
    def badness(self) -> tuple[float, float]:
        """By what mistakes are sorted, the worst first: sure detections, and large objects without any trace."""
        return (self.score, -self.share) if self.kind == "missed" else (-self.score, -self.share)

    @property
    def embedded(self) -> str:
        """The picture in base64, as a page holds it."""
        return base64.b64encode(self.picture).decode()


def mistakes_in(image: EvaluatedImage, matching: Matching, min_score: float, classes: Sequence[str]) -> list[Mistake]:
    """Return the mistakes in a picture, not drawn.

    Args:
        image: detections and annotations.
        matching: of these.
        min_score: of the detections that count.
        classes: their names by label.
    """
    found, truth = image.found, image.truth
    shared, ours, theirs = overlaps(found["boxes"], truth["boxes"])
    union = ours[:, None] + theirs[None] - shared
    iou = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    pixels = image.size[0] * image.size[1]
    made = []
    for k in np.flatnonzero(matching.missed & ~truth["ignored"]).tolist():
        faint = (iou[:, k] >= 0.5) & (found["labels"] == truth["labels"][k]) & (found["scores"] < min_score)
        best = int(np.where(faint, found["scores"], -1).argmax()) if faint.any() else None
        score = 0.0 if best is None else float(found["scores"][best])
        made.append(
            Mistake(
                "missed",
                label=int(truth["labels"][k]),
                truth=None,
                score=score,
                share=float(theirs[k] / pixels),
                image_id=image.image_id,
                true_box=_box(truth["boxes"][k]),
                found_box=None if best is None else _box(found["boxes"][best]),
                note="no detection" if best is None else f"found with {score:.2f} only",
            )
        )
    for k in np.flatnonzero((matching.object_of >= 0) | matching.false).tolist():
        met, label = int(matching.object_of[k]), int(found["labels"][k])
        if met >= 0 and truth["labels"][met] == label:
            continue
        near = met if met >= 0 else _nearest(iou[k], truth["ignored"])
        made.append(
            Mistake(
                "confused" if met >= 0 else "false",
                label=label,
                truth=int(truth["labels"][met]) if met >= 0 else None,
                score=float(found["scores"][k]),
                share=float(ours[k] / pixels),
                image_id=image.image_id,
                true_box=None if near is None else _box(truth["boxes"][near]),
                found_box=_box(found["boxes"][k]),
                note="" if met >= 0 else _cause(k, near, iou, image, matching, classes),
            )
        )
    return made


def worst(mistakes: Iterable[Mistake], most: int) -> list[Mistake]:
    """Return the worst mistakes of one kind, the worst first, of no class more than a quarter or two.

    Args:
        mistakes: of one kind.
        most: so many.
    """
    kept: list[Mistake] = []
    counts: Counter[int] = Counter()
    for each in sorted(mistakes, key=lambda mistake: (*mistake.badness, str(mistake.image_id))):
        if len(kept) < most and counts[each.label] < max(2, most // 4):
            kept.append(each)
            counts[each.label] += 1
    return kept


def with_picture(mistake: Mistake, image: Image.Image, size: tuple[int, int]) -> Mistake:
    """Return a mistake with what is around it in the picture.

    Args:
        mistake: of a picture.
        image: the picture, of any size.
        size: height and width of the original.
    """
    boxes = np.array([box for box in (mistake.true_box, mistake.found_box) if box is not None])
    low, high = boxes[:, :2].min(0), boxes[:, 2:].max(0)
    side = max(LEAST, float((high - low).max()) * (1 + 2 * MARGIN))
    middle = (low + high) / 2
    whole = np.array([size[1], size[0]], float)
    extent = np.minimum(side, whole)
    start = np.clip(middle - extent / 2, 0, whole - extent)
    factor = image.width / size[1], image.height / size[0]
    area = start[0] * factor[0], start[1] * factor[1], (start + extent)[0] * factor[0], (start + extent)[1] * factor[1]
    scale = SIDE / extent.max()
    shape = max(1, round(extent[0] * scale)), max(1, round(extent[1] * scale))
    cut = image.resize(shape, Image.Resampling.BICUBIC, box=area)
    draw = ImageDraw.Draw(cut)
    lines = ((mistake.true_box, TRUE_COLOUR, True), (mistake.found_box, FOUND_COLOUR, False))
    for box, colour, dashed in lines:
        if box is not None:
            corners = ((np.array(box).reshape(2, 2) - start) * scale).ravel().tolist()
            outline(draw, corners, colour, line=2, dashed=dashed)
    return replace(mistake, picture=as_jpeg(cut))


def _nearest(iou: np.ndarray, ignored: np.ndarray) -> int | None:
    """Return the object that a detection overlaps most, if any at all."""
    counted = np.where(ignored, 0, iou)
    return int(counted.argmax()) if len(counted) and counted.max() >= NEARBY else None


def _cause(
    k: int, near: int | None, iou: np.ndarray, image: EvaluatedImage, matching: Matching, classes: Sequence[str]
) -> str:
    """Return in words why a detection meets nothing."""
    if near is None:
        return "nothing there"
    name, overlap = classes[int(image.truth["labels"][near])], iou[k, near]
    if overlap >= 0.5 and matching.detection_of[near] >= 0:
        return f"second one on: {name}"
    return f"IoU {overlap:.2f} with: {name}"


def _box(box: np.ndarray) -> Box:
    x1, y1, x2, y2 = (float(side) for side in box)
    return x1, y1, x2, y2
