"""Pictures with the boxes of their objects, as all data sets for detection give them, and checks of such boxes."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from datamodules.common.image_files import read_image
from datamodules.common.reports import report, report_left_out
from visionscapes.errors import UserError
from visionscapes.processes import is_first

log = logging.getLogger(__name__)

BEYOND = 0.5  # pixels; the data sets round their coordinates, so that boxes end up to 0.01 pixels beyond a picture
MIX_UP_SHARE = 0.25  # of the boxes do not fit their pictures as they were read, ...
OTHER_FORM_SHARE = 0.95  # ... and this share of all fits them in the other form
MIX_UP_LEAST = 3  # boxes, so that one odd box in a small file is no mix-up
SHARE_ROUNDING = 1e-3  # of boxes in shares of the picture
PERCENT, PERCENT_LEAST = 100, 10  # pixels that boxes in percent lie within, and boxes that are no coincidence
SHOWN = 3  # examples in a message

READ_AS = {"xywh": "x, y, width, height", "xyxy": "x1, y1, x2, y2"}
OTHER_FORM = {"xywh": "xyxy", "xyxy": "xywh"}
REMEDY = {
    "xywh": "write [x1, y1, x2 - x1, y2 - y1] instead",
    "xyxy": "write the corner x + width, y + height instead of the size",
}


@dataclass(frozen=True)
class AnnotatedImage:
    """A picture and everything that is annotated in it; N annotations of K classes.

    Attributes:
        image_id: as the data set names it.
        read: returns the picture, (H, W, 3) uint8 RGB; can be pickled.
        size: height and width that the annotations refer to, pixels.
        boxes: (N, 4) float32 xyxy in pixels, x2 and y2 excluded, also those of crowds and difficult objects.
        labels: (N,) int64 in [0, K).
        ignored: (N,) bool, crowd (COCO) or difficult (VOC): not trained on, neither hit nor miss in evaluation.
        removed: (N,) bool, taken away by a sparse split: never trained on, known for figures about the run only.
        areas: (N,) float32 in square pixels, of the mask if the data set states it, else of the box.
        ids: (N,) int64 or str, of the annotations.
        masks: compressed COCO RLE of every annotation, empty where it has no pixel, or None if masks were not asked
            for.
        negative: labels that were verified to be absent (LVIS).
        not_exhaustive: labels of which not every object is annotated (LVIS).
    """

    image_id: int | str
    read: Callable[[], np.ndarray]
    size: tuple[int, int]
    boxes: np.ndarray
    labels: np.ndarray
    ignored: np.ndarray
    removed: np.ndarray
    areas: np.ndarray
    ids: np.ndarray
    masks: tuple[dict[str, Any], ...] | None
    negative: tuple[int, ...] = ()
    not_exhaustive: tuple[int, ...] = ()


@dataclass(frozen=True)
class PictureFile:
    """Reads a picture when called.

    Args:
        path: of the file.
        size: height and width that it has to have, pixels.
        upright: whether it is turned as EXIF says where its size leaves that open: by 180 degrees, mirrored, or square.
    """

    path: Path
    size: tuple[int, int]
    upright: bool = False

    def __call__(self) -> np.ndarray:
        """Return (H, W, 3) uint8 RGB, as it is stored or turned as EXIF says: the way that has the annotated size.

        Raises:
            UserError: the file cannot be read, or is not the one that was annotated.
        """
        image = read_image(self.path, upright=self.upright)
        if (image.height, image.width) != self.size:
            other = read_image(self.path, upright=not self.upright)
            if (other.height, other.width) != self.size:
                raise wrong_size(self.path, self.size, (image.height, image.width), (other.height, other.width))
            image = other
        return np.array(image)


def wrong_size(path: Path | str, size: tuple[int, int], *found: tuple[int, int]) -> UserError:
    """Return the error of a picture that has another size than its annotations are for.

    Args:
        path: of the file.
        size: height and width that the annotations are for.
        found: heights and widths that it has as it is stored, and turned as EXIF says.
    """
    sizes = " or ".join(f"{width} x {height}" for height, width in sorted(set(found)))
    turned = ", stored or turned as EXIF says" if len(set(found)) > 1 else ""
    return UserError(
        f"{path} has {sizes} pixels{turned}, its annotations are for {size[1]} x {size[0]}: put the file that was "
        "annotated in its place"
    )


def check_boxes(
    numbers: np.ndarray,
    sizes: np.ndarray,
    form: Literal["xywh", "xyxy"],
    name: str,
    named: Callable[[int], str],
    *,
    evaluated: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the boxes of a data set as half-open xyxy after looking for what cannot be right in them.

    For training, boxes are cut at the border of their picture, and those without area, before or after the cut, are
    left out, as Detectron2 and mmdet do; it is said how many. Evaluation keeps both as they are, because pycocotools
    and lvis-api count them as objects. Numbers that are not finite are an error in both: such a file was damaged when
    it was written, and to leave the object out would call it background. Boxes in [0, 1] are shares of the picture; if
    some are, or all look like percent, it is told.

    Boxes of the other form are recognised by their number: read as width and height, most second corners lead beyond
    the picture; read as second corners, many sizes lie before the first.

    Args:
        numbers: (N, 4) float64 in pixels, 0-based.
        sizes: (N, 2) height and width of the picture of every box, pixels.
        form: what the numbers are; a second corner is excluded from its box.
        name: of the data set, for messages.
        named: what to call the n-th box in messages.
        evaluated: the boxes are for evaluation, not for training.

    Returns:
        Boxes (N, 4) float32 xyxy, and (N,) bool, which of them to keep.

    Raises:
        UserError: a number is not finite, or the numbers are of the other form or shares of the pictures.
    """
    numbers = np.asarray(numbers, np.float64).reshape(-1, 4)
    check_shares(numbers, sizes, form, name, named)
    check_form(numbers, sizes, form, name, named)
    _tell_percent(numbers, sizes, form, name, named)
    boxes = _corners(numbers, form)
    outside = _beyond(boxes, sizes)
    if evaluated:
        return boxes.astype(np.float32), np.ones(len(boxes), bool)
    if outside.any() and is_first():
        log.warning(
            "%s: cut %d of %d boxes at the border of their picture (%s)",
            name,
            outside.sum(),
            len(boxes),
            _examples(outside, numbers, sizes, named),
        )
    boxes = np.clip(boxes, 0, np.tile(sizes[:, ::-1], 2)).astype(np.float32)
    empty = np.any(boxes[:, 2:] <= boxes[:, :2], axis=1)
    report_left_out(name, int(empty.sum()), "boxes", len(boxes), f"no area ({_examples(empty, numbers, sizes, named)})")
    return boxes, ~empty


def check_shares(
    numbers: np.ndarray, sizes: np.ndarray, form: Literal["xywh", "xyxy"], name: str, named: Callable[[int], str]
) -> None:
    """Refuse boxes in shares of their pictures, and tell if some are: they are smaller than a pixel, in a corner.

    Args:
        numbers: (N, 4) float64 as they are written.
        sizes: (N, 2) height and width of the picture of every box, pixels.
        form: what the numbers are.
        name: of the data set, for messages.
        named: what to call the n-th box in messages.

    Raises:
        UserError: nearly all are, or a number is not finite.
    """
    damaged = np.any(~np.isfinite(numbers), axis=1)
    if damaged.any():
        raise UserError(
            f"{name}: {damaged.sum()} of {len(numbers)} boxes hold numbers that are not finite "
            f"({_examples(damaged, numbers, sizes, named)}): correct these annotations or delete them"
        )
    within = np.all((numbers >= -SHARE_ROUNDING) & (numbers <= 1 + SHARE_ROUNDING), axis=1) & (sizes.min(1) > 1)
    least = 1 if np.any(numbers != np.round(numbers)) else MIX_UP_LEAST
    if within.sum() >= least and within.mean() >= OTHER_FORM_SHARE:
        height, width = sizes[int(np.argmax(within))]
        x, y, other_x, other_y = READ_AS[form].split(", ")
        raise UserError(
            f"{name}: {within.sum()} of {len(numbers)} boxes lie in [0, 1] "
            f"({_examples(within, numbers, sizes, named)}): they are shares of their pictures and have to be pixels: "
            f"multiply {x} and {other_x} by the width of the picture ({width}) and {y} and {other_y} by its height "
            f"({height})"
        )
    some = within & np.all(
        _corners(numbers, form)[:, 2:] > numbers[:, :2], axis=1
    )  # without area they are told as that
    if some.any():
        report(
            "%s: %d of %d boxes lie in [0, 1] (%s) and are taken as pixels, as the others; if they are shares of their "
            "pictures, multiply them by width and height",
            *(name, some.sum(), len(some), _examples(some, numbers, sizes, named)),
        )


def check_form(
    numbers: np.ndarray, sizes: np.ndarray, form: Literal["xywh", "xyxy"], name: str, named: Callable[[int], str]
) -> None:
    """Refuse boxes of the other form, see `check_boxes`.

    Args:
        numbers: (N, 4) float64 in pixels, 0-based.
        sizes: (N, 2) height and width of the picture of every box, pixels.
        form: what the numbers should be.
        name: of the data set, for messages.
        named: what to call the n-th box in messages.

    Raises:
        UserError: many make no sense, and nearly all do in the other form.
    """
    boxes = _corners(numbers, form)
    # Each form has its own symptom: corners added to corners lead far out, sizes may lie before the first corner.
    unfit = _beyond(boxes, sizes) if form == "xywh" else np.any(boxes[:, 2:] < boxes[:, :2], axis=1)
    if unfit.sum() < MIX_UP_LEAST or unfit.mean() <= MIX_UP_SHARE:
        return
    other = _corners(numbers, OTHER_FORM[form])
    fits = np.all(other[:, 2:] > other[:, :2], axis=1) & ~_beyond(other, sizes)
    if fits.mean() < OTHER_FORM_SHARE:
        return
    raise UserError(
        f"{name}: {unfit.sum()} of {len(numbers)} boxes make no sense as {READ_AS[form]} "
        f"({_examples(unfit, numbers, sizes, named)}), and nearly all do as {READ_AS[OTHER_FORM[form]]}: {REMEDY[form]}"
    )


def _tell_percent(
    numbers: np.ndarray, sizes: np.ndarray, form: Literal["xywh", "xyxy"], name: str, named: Callable[[int], str]
) -> None:
    """Tell if all boxes end within 100 pixels of the corner of pictures that are much larger."""
    large = sizes.min(1) >= 2 * PERCENT
    within = large & np.all(_corners(numbers, form) <= PERCENT + BEYOND, axis=1)
    if within.sum() >= PERCENT_LEAST and within.sum() >= OTHER_FORM_SHARE * large.sum():
        report(
            "%s: %d of %d boxes end within the first 100 pixels of larger pictures (%s), as boxes in percent do; they "
            "are taken as pixels. If they are percent, multiply them by a hundredth of width and height",
            *(name, within.sum(), len(within), _examples(within, numbers, sizes, named)),
        )


def _corners(numbers: np.ndarray, form: str) -> np.ndarray:
    return np.concatenate([numbers[:, :2], numbers[:, :2] + numbers[:, 2:]], 1) if form == "xywh" else numbers


def _beyond(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return (N,) bool: which boxes reach out of their picture by more than rounding."""
    return np.any(boxes[:, :2] < -BEYOND, axis=1) | np.any(boxes[:, 2:] > sizes[:, ::-1] + BEYOND, axis=1)


def _examples(which: np.ndarray, numbers: np.ndarray, sizes: np.ndarray, named: Callable[[int], str]) -> str:
    found = np.flatnonzero(which)
    shown = [
        f"{named(place)}: {[round(float(number), 2) for number in numbers[place]]} in {sizes[place][1]} x "
        f"{sizes[place][0]} pixels"
        for place in found[:SHOWN].tolist()
    ]
    return "; ".join(shown) + ("; ..." if len(found) > SHOWN else "")
