"""Instance masks as run lengths, as COCO writes them."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

FURTHEST = 16  # sides of the picture that a corner may lie away: pycocotools takes memory by the length of edges
LEAST_NUMBERS = 6  # of a polygon: three corners. pycocotools takes four numbers for a box, or raises


def compressed(segmentation: Any, height: int, width: int) -> tuple[dict[str, Any] | None, int]:
    """Return an instance as compressed RLE, and the number of its polygons that were passed over.

    Args:
        segmentation: polygons, lists x, y, x, y, ... in pixels, or the RLE of a crowd, {"size", "counts"}.
        height: of the picture, pixels.
        width: of the picture, pixels.

    Returns:
        The RLE, None if it has no pixel, and how many polygons had fewer than three corners.

    Raises:
        ValueError, TypeError, KeyError: it is neither.
    """
    from pycocotools import mask as rle

    if isinstance(segmentation, dict):
        if [int(side) for side in segmentation["size"]] != [height, width]:
            raise ValueError(f"a mask of {segmentation['size']} in a picture of {[height, width]}")
        if isinstance(segmentation["counts"], list):
            _check_counts(segmentation["counts"], height * width)
            mask, invalid = rle.frPyObjects(segmentation, height, width), 0
        else:
            mask, invalid = {"size": [height, width], "counts": segmentation["counts"]}, 0
            _check_counts(_counts_of(segmentation["counts"]), height * width)
    else:
        polygons = [[float(number) for number in polygon] for polygon in segmentation]
        _check_reach(polygons, max(height, width))
        valid = [each for each in polygons if len(each) >= LEAST_NUMBERS and len(each) % 2 == 0]
        invalid = len(polygons) - len(valid)
        if not valid:
            return None, invalid
        mask = rle.merge(rle.frPyObjects(valid, height, width))
    return (mask if rle.area(mask) else None), invalid


def _check_reach(polygons: list[list[float]], side: int) -> None:
    """Check that no corner lies where pycocotools would need all memory to reach it, or nowhere."""
    for number in chain.from_iterable(polygons):
        if not abs(number) <= FURTHEST * side:  # NaN is not
            raise ValueError(f"a polygon with the coordinate {number} in a picture of {side} pixels")


def _check_counts(counts: Sequence[Any], pixels: int) -> None:
    """Check that runs fill the picture: pycocotools leaves what they do not fill as it finds it in memory."""
    if any(int(count) != count or count < 0 for count in counts):
        raise ValueError("run lengths that are no whole numbers from 0 on")
    if sum(counts) != pixels:
        raise ValueError(f"run lengths of {sum(counts)} pixels together in a picture of {pixels}")


def _counts_of(text: str | bytes) -> list[int]:
    """Return the run lengths of COCO's compressed form: five bits a character, from the third on as differences."""
    counts: list[int] = []
    code = text.encode("ascii") if isinstance(text, str) else text
    place = 0
    while place < len(code):
        value, shift, more = 0, 0, True
        while more:
            if place >= len(code):
                raise ValueError("run lengths that are cut off")
            bits = code[place] - 48
            value |= (bits & 0x1F) << shift
            more, place, shift = bool(bits & 0x20), place + 1, shift + 5
            if not more and bits & 0x10:
                value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
    return counts
