"""How evaluation protocols bring images of any shape to one size, and where their points and boxes end up."""

from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor


class Placement(NamedTuple):
    """Where an image lies on its canvas: a point (x, y) of the image is at ``scale * (x, y) + offset``.

    Attributes:
        scale: canvas pixels per image pixel, the same in x and y.
        offset_x: of the left edge, canvas pixels.
        offset_y: of the upper edge, canvas pixels.
    """

    scale: float
    offset_x: int
    offset_y: int

    def points(self, points: Tensor) -> Tensor:
        """Map points (..., 2), xy in image pixels, to canvas pixels."""
        return points * self.scale + points.new_tensor([self.offset_x, self.offset_y])


def to_tensor(image: Image.Image) -> Tensor:
    """Return an RGB image of 8 bits as (3, H, W) float32 in [0, 1]."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float() / 255


def squash(image: Image.Image, size: int, resample: Image.Resampling = Image.Resampling.BILINEAR) -> Image.Image:
    """Resize to ``size`` x ``size`` pixels, whatever the aspect ratio."""
    return image.resize((size, size), resample)


def shorter_side_to(
    image: Image.Image, size: int, multiple: int = 1, resample: Image.Resampling = Image.Resampling.BICUBIC
) -> Image.Image:
    """Resize so that the shorter side has ``size`` pixels and the longer one keeps the aspect ratio.

    Args:
        image: of any size.
        size: of the shorter side, pixels.
        multiple: the longer side is rounded down to a multiple of this many pixels.
        resample: Pillow's filter.

    Returns:
        The resized image.
    """
    width, height = image.size
    longer = max(size, int(size * max(width, height) / min(width, height)) // multiple * multiple)
    return image.resize((longer, size) if width > height else (size, longer), resample)


def at_longer_side(image: Image.Image, longer_side: int | None) -> Image.Image:
    """Return an image with its longer side of so many pixels and its aspect ratio kept; as it is if None."""
    if longer_side is None:
        return image
    scale = longer_side / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BILINEAR)


def letterbox(image: Image.Image, size: int) -> tuple[Image.Image, Placement]:
    """Resize so that the longer side has ``size`` pixels, and centre the image on a black square.

    Rounding and offset are those of the official LiFT code (from Amir et al., the protocol of thesis section 8.3.1):
    the shorter side is rounded, the offset rounded down, and points are scaled by the unrounded factor.

    Args:
        image: RGB, of any size.
        size: side of the square, pixels.

    Returns:
        The square image, and how to map points of ``image`` onto it.
    """
    width, height = image.size
    longer = max(width, height)
    # size * side / longer is exact where it lies half-way between two integers; side * (size / longer) need not be.
    new_width, new_height = max(1, round(size * width / longer)), max(1, round(size * height / longer))
    placement = Placement(size / longer, (size - new_width) // 2, (size - new_height) // 2)
    canvas = Image.new("RGB", (size, size))
    resized = image.resize((new_width, new_height), Image.Resampling.LANCZOS)
    canvas.paste(resized, (placement.offset_x, placement.offset_y))
    return canvas, placement


def squash_boxes(boxes: Tensor, width: int, height: int, size: int) -> Tensor:
    """Map boxes along with ``squash``: x and y have a factor each.

    Args:
        boxes: (N, 4) float32, xyxy in pixels of the original image.
        width: of the original image, pixels.
        height: of the original image, pixels.
        size: side of the squashed image, pixels.

    Returns:
        (N, 4) float32, xyxy in pixels of the squashed image.
    """
    return boxes * boxes.new_tensor([size / width, size / height] * 2)


def centre_square(image: Image.Image, size: int, resample: Image.Resampling = Image.Resampling.BICUBIC) -> Image.Image:
    """Resize so that the shorter side has ``size`` pixels and cut out the middle, as chapter 2 prepares its images.

    Args:
        image: of any mode and size.
        size: side of the square, pixels.
        resample: Pillow's filter.
    """
    resized = shorter_side_to(image, size, 1, resample)
    left, top = round((resized.width - size) / 2), round((resized.height - size) / 2)  # torchvision's rounding
    return resized.crop((left, top, left + size, top + size))


def centre_square_tensor(image: Image.Image, size: int) -> Tensor:
    """Return the `centre_square` of an RGB image as (3, size, size) float32 in [0, 1]."""
    return to_tensor(centre_square(image, size))
