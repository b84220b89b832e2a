"""Masks of annotations in COCO's format, drawn when they are needed, and which annotations have none."""

from collections.abc import Callable
from typing import Any

import numpy as np

from datamodules.common.reports import report
from datamodules.common.run_length import compressed
from datamodules.detection.coco_json import CocoAnnotations
from visionscapes.errors import UserError, in_words


def mask_of(coco: CocoAnnotations, place: int, size: tuple[int, int]) -> dict[str, Any]:
    """Return the compressed RLE of an annotation, empty where it has no pixel.

    Args:
        coco: the annotations, read with masks.
        place: of the annotation.
        size: height and width of its picture, pixels.

    Raises:
        UserError: what the file says is no mask.
    """
    assert coco.segmentations is not None
    segmentation = coco.segmentations[place]
    if segmentation is None:
        return empty_mask(size)
    try:
        mask, _ = compressed(segmentation, *size)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise UserError(
            f"annotation {coco.ids[place]} in {coco.path} has no mask in COCO's format ({in_words(error)}): correct it,"
            " or do without masks, --data.init_args.with_masks=false"
        ) from error
    return empty_mask(size) if mask is None else mask


def tell_without_mask(
    coco: CocoAnnotations, kept: np.ndarray, name: str, named: Callable[[int], str], *, evaluated: bool
) -> None:
    """Tell how many annotations have no mask, and how many have one without any pixel; nothing if masks are not read.

    Of all masks only those are drawn that begin outside of their picture, or whose area is less than a pixel.

    Args:
        coco: the annotations.
        kept: (A,) bool, which of them are taken.
        name: of the data set.
        named: what to call the n-th annotation.
        evaluated: they are evaluated on, not trained on.
    """
    if coco.segmentations is None:
        return
    effect = "they are misses of the masks" if evaluated else "their boxes are learnt, and no masks"
    single = kept & ~coco.ignored
    absent = coco.segmentations.absent & single
    why = "null, empty, or polygons of fewer than three corners or an odd number of coordinates"
    _told(absent, kept, f"have no mask ({why})", name, named, effect=effect)
    sizes, corners = coco.sizes[coco.images], coco.segmentations.corners
    outside = np.any((corners <= 0) | (corners >= sizes[:, ::-1]), axis=1)
    empty = single & ~absent & (outside | (coco.areas < 1))
    for place in np.flatnonzero(empty).tolist():
        empty[place] = _has_no_pixel(coco, place, (int(sizes[place, 0]), int(sizes[place, 1])))
    _told(
        empty, kept, "have a mask without any pixel (outside of their picture, or too thin)", name, named, effect=effect
    )


def empty_mask(size: tuple[int, int]) -> dict[str, Any]:
    """Return the compressed RLE of a mask without any pixel; ``size`` is height and width."""
    from pycocotools import mask as rle

    return rle.encode(np.zeros(size, np.uint8, order="F"))


def _told(
    which: np.ndarray, kept: np.ndarray, what: str, name: str, named: Callable[[int], str], *, effect: str
) -> None:
    found = np.flatnonzero(which)
    if len(found):
        report("%s: %d of %d annotations %s, such as %s: %s", name, len(found), kept.sum(), what,
               named(int(found[0])), effect)  # fmt: skip


def _has_no_pixel(coco: CocoAnnotations, place: int, size: tuple[int, int]) -> bool:
    assert coco.segmentations is not None
    try:
        return compressed(coco.segmentations[place], *size)[0] is None
    except (KeyError, TypeError, ValueError, IndexError):  # which is told when it is drawn
        return False
