"""Instance masks as run lengths, as COCO writes them."""

from typing import Any

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
            mask, invalid = rle.frPyObjects(segmentation, height, width), 0
        else:
            mask, invalid = {"size": [height, width], "counts": segmentation["counts"]}, 0
    else:
        polygons = [[float(number) for number in polygon] for polygon in segmentation]
        valid = [each for each in polygons if len(each) >= LEAST_NUMBERS and len(each) % 2 == 0]
        invalid = len(polygons) - len(valid)
        if not valid:
            return None, invalid
        mask = rle.merge(rle.frPyObjects(valid, height, width))
    return (mask if rle.area(mask) else None), invalid
