"""An inpainter of procedural objects: draws them into boxes of any picture, with the faults of a generator on request.

Every fault is known exactly, so that what a filter keeps can be held against the truth. Everything is a function of
(layout, seed).
"""

from dataclasses import dataclass, replace
from typing import Annotated

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from typing_extensions import override

from datamodules.procedural.scenes.object_classes import CLASSES, ObjectPart
from datamodules.procedural.scenes.scenes import SceneObject, painted, rotation, sample_object, visible_boxes
from networks.inpainting import GroundedInpainter, Inpainted, PictureLayout, Truth, Verdict, picture_prompt
from visionscapes.checks import Bounds, Share, check_options
from visionscapes.errors import UserError
from visionscapes.options import group_of

NUMBERS = {each.name: number for number, each in enumerate(CLASSES)}
POSES = 24  # drawn for an object, of which the one that fills its box best is taken
REDUCED = 128  # pixels of the longer side, at least, in which backgrounds are filled
NOISE = 0.015  # of the sensor, as in the scenes themselves


@dataclass(frozen=True)
class Faults:
    """How often an inpainter of scenes fails, and how.

    Args:
        wrong_class: share of the objects that are drawn as another class.
        missing: share of the objects that are not drawn.
        extra: objects of any class, at any place, that nobody asked for; their mean number a picture.
        low_quality: share of the pictures that come out blurred, noisy and pale.

    Raises:
        UserError: an option is out of its bounds.
    """

    wrong_class: Share = 0.0
    missing: Share = 0.0
    extra: Annotated[float, Bounds(least=0, most=50)] = 0.0
    low_quality: Share = 0.0

    def __post_init__(self) -> None:
        check_options(Faults, vars(self))


class SceneInpainter(GroundedInpainter):
    """Draws procedural objects into the boxes of a picture, over what surrounds them.

    Args:
        faults: how often it fails.

    Raises:
        UserError: a share outside [0, 1], or the shares of wrong and of missing objects add up to more than 1.
    """

    title = "drawn objects"

    def __init__(self, faults: Faults = Faults()):
        check_options(SceneInpainter, locals())
        super().__init__()
        self.faults: Faults = group_of(SceneInpainter, "faults", faults)
        check_faults("faults.", self.faults.wrong_class, self.faults.missing)

    @override
    def inpaint(self, layout: PictureLayout, seed: int) -> Inpainted:
        """Draw all objects anew, see `GroundedInpainter.inpaint`.

        Raises:
            UserError: a class that the procedural scenes do not have.
        """
        wanted = [class_number(name) for name in layout.names]
        rng = np.random.default_rng(seed)
        height, width = layout.image.shape[1:]
        side, boxes = max(height, width), layout.boxes.double().numpy()
        verdicts = [verdict_drawn(rng, self.faults.wrong_class, self.faults.missing) for _ in wanted]
        objects = [
            fitted(rng, class_drawn(rng, number, verdict), box, side)
            for number, box, verdict in zip(wanted, boxes, verdicts, strict=True)
            if verdict != "missing"
        ]
        extra = [_anywhere(rng, width / side, height / side) for _ in range(rng.poisson(self.faults.extra))]
        # The largest is painted first, or it would hide what stands behind it.
        order = sorted([*objects, *extra], key=lambda item: -item.scale)
        empty = np.zeros((side, side, 3))
        empty[:height, :width] = without_objects(layout.image.permute(1, 2, 0).numpy(), boxes, rng)
        canvas, instances, _ = painted(empty, tuple(order))
        canvas[instances > 0] += rng.normal(0, NOISE, canvas[instances > 0].shape)
        low_quality = bool(rng.uniform() < self.faults.low_quality)
        whole = canvas[:height, :width]
        image = spoilt(whole, rng) if low_quality else whole
        shown = visible_boxes(instances[:height, :width], len(order))
        places = [next(k for k, item in enumerate(order) if item is each) for each in extra]
        truth = Truth(
            tuple(verdicts),
            low_quality,
            extra_boxes=torch.from_numpy(shown[places].reshape(-1, 4)),
            extra_names=tuple(item.object_class.name for item in extra),
        )
        result = torch.from_numpy((image.clip(0, 1) * 255).round().astype(np.uint8)).permute(2, 0, 1).contiguous()
        return Inpainted(result, torch.ones(len(boxes), dtype=torch.bool), picture_prompt(layout.names), truth=truth)

    @override
    def ignores_boxes(self, layout: PictureLayout, seed: int) -> bool:
        without = PictureLayout(layout.image, layout.boxes[:0], ())
        return torch.equal(self.inpaint(layout, seed).image, self.inpaint(without, seed).image)


def class_number(name: str) -> int:
    """Return the position of a class in ``CLASSES``.

    Raises:
        UserError: there is none of that name.
    """
    if name not in NUMBERS:
        raise UserError(
            f"the procedural scenes have no class {name!r}, but {', '.join(NUMBERS)}: for pictures of other things "
            "take another inpainter, such as networks.GLIGENInpainter"
        )
    return NUMBERS[name]


def check_faults(group: str, wrong_class: float, missing: float) -> None:
    """Check that shares of objects that fail do not add up to more than all.

    Raises:
        UserError: they do.
    """
    if wrong_class + missing > 1:
        raise UserError(
            f"{group}wrong_class is {wrong_class} and {group}missing {missing}, more than 1 together: an object can "
            "fail in one way only"
        )


def verdict_drawn(rng: np.random.Generator, wrong_class: float, missing: float) -> Verdict:
    """Draw what becomes of an object."""
    draw = rng.uniform()
    if draw < missing:
        return "missing"
    return "wrong class" if draw < missing + wrong_class else "right"


def fitted(rng: np.random.Generator, class_index: int, box: NDArray[np.floating], side: int) -> SceneObject:
    """Draw an object of a class in a pose in which it fills a box.

    Args:
        rng: random numbers.
        class_index: position in ``CLASSES``.
        box: (4,) xyxy pixels.
        side: of the square picture that it is to be painted in, pixels.
    """
    wanted = np.maximum(box[2:] - box[:2], 1)
    best: tuple[float, SceneObject] | None = None
    for _ in range(POSES):
        item = sample_object(rng, class_index)
        low, high = extents(item)
        size = high - low
        scale = float(np.sqrt(wanted.prod() / size.prod()))
        # Of two boxes with one centre and one area.
        overlap = float(np.minimum(wanted, scale * size).prod())
        share = overlap / (2 * float(wanted.prod()) - overlap)
        centre = ((box[:2] + box[2:]) / 2 - scale * (low + high) / 2) / side
        placed = replace(item, centre=(float(centre[0]), float(centre[1])), scale=scale / side)
        if best is None or share > best[0]:
            best = share, placed
    assert best is not None
    return best[1]


def extents(item: SceneObject) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Return the corners (2,), (2,) of an object's box, x and y, about its centre, where its scale is 1 pixel."""
    matrix, _ = replace(item, scale=1.0).to_pixels(1)
    lows, highs = [], []
    for part, bend in zip(item.object_class.parts, item.bends, strict=True):
        own = matrix @ rotation(part.turn + bend)
        centre = matrix @ np.array(part.centre)
        points = centre + outline(part) @ own.T
        lows.append(points.min(0))
        highs.append(points.max(0))
    return np.min(lows, 0), np.max(highs, 0)


def outline(part: ObjectPart) -> NDArray[np.floating]:
    """Return points (N, 2) on the outline of a part in its own frame, with all of its corners."""
    width, height = part.radii
    if part.shape == "ellipse":
        angles = np.linspace(0, 2 * np.pi, 32, endpoint=False)
        return np.stack([width * np.cos(angles), height * np.sin(angles)], 1)
    if part.shape == "box":
        return np.array([(x * width, y * height) for x in (-1, 1) for y in (-1, 1)])
    return np.array([(0, -height), (-width, height), (width, height)])


def without_objects(
    picture: NDArray[np.uint8], boxes: NDArray[np.floating], rng: np.random.Generator
) -> NDArray[np.floating]:
    """Return a picture (H, W, 3) float in [0, 1] whose boxes are filled with what surrounds them.

    Args:
        picture: (H, W, 3) uint8 RGB.
        boxes: (N, 4) xyxy pixels.
        rng: random numbers of the grain, which smooth colours would lack.
    """
    height, width = picture.shape[0], picture.shape[1]
    hidden = np.zeros((height, width), np.uint8)
    for x1, y1, x2, y2 in boxes:
        hidden[max(int(y1), 0) : int(np.ceil(y2)), max(int(x1), 0) : int(np.ceil(x2))] = 1
    reduced = max(1, max(height, width) // REDUCED)  # filling takes time by the pixel, and what is filled in is smooth
    size = (max(1, width // reduced), max(1, height // reduced))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    holes = cv2.resize(hidden, size, interpolation=cv2.INTER_NEAREST)
    if holes.all():  # nothing is left to fill with
        filled = np.broadcast_to(picture.mean((0, 1)), picture.shape)
    else:
        filled = cv2.resize(
            cv2.inpaint(small, holes, 3, cv2.INPAINT_TELEA),
            (width, height),
            interpolation=cv2.INTER_CUBIC,
        )
    grain = rng.normal(0, 0.03, picture.shape)
    return np.where(hidden[..., None] > 0, filled / 255 + grain, picture / 255)


def spoilt(image: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.floating]:
    """Return a picture (H, W, 3) float in [0, 1], blurred, noisy and pale."""
    blurred = cv2.GaussianBlur(image, (0, 0), max(image.shape[:2]) / 80)
    return 0.55 + 0.5 * (blurred - 0.5) + rng.normal(0, 0.05, image.shape)


def class_drawn(rng: np.random.Generator, wanted: int, verdict: Verdict) -> int:
    """Return the position in ``CLASSES`` of what is drawn in place of what was asked for."""
    if verdict == "right":
        return wanted
    return int(rng.choice([number for number in range(len(CLASSES)) if number != wanted]))


def _anywhere(rng: np.random.Generator, right: float, bottom: float) -> SceneObject:
    """Draw an object of any class at any place of a picture that ends at ``right`` and ``bottom`` of a square."""
    item = sample_object(rng, int(rng.integers(len(CLASSES))), scale=(0.07, 0.2))
    x, y = rng.uniform(0.07, 0.93, 2)
    return replace(item, centre=(float(x * right), float(y * bottom)))
