"""Pictures, conditions and label maps of a pair as the tensors that networks see."""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from datamodules.common.label_maps import resize_labels
from datamodules.common.resizing import squash, to_tensor


class Window(NamedTuple):
    """Where a picture lies on the square that a network sees, xyxy in pixels of the square.

    Attributes:
        left: of the first column.
        top: of the first row.
        right: of the first column behind it.
        bottom: of the first row below it.
    """

    left: int
    top: int
    right: int
    bottom: int


def window_of(width: int, height: int, size: int, keep_aspect: bool) -> Window:
    """Return where a picture lies on a square of ``size`` pixels.

    Args:
        width: of the picture, pixels.
        height: of the picture, pixels.
        size: side of the square, pixels.
        keep_aspect: whether its longer side fills the square, and it lies in the middle; else it fills all of it.
    """
    longer = max(width, height) if keep_aspect else 0
    wide, high = (max(1, round(size * side / longer)) if keep_aspect else size for side in (width, height))
    left, top = (size - wide) // 2, (size - high) // 2
    return Window(left, top, right=left + wide, bottom=top + high)


def placed(width: int, height: int, size: int, keep_aspect: bool) -> dict[str, Tensor]:
    """Return what brings an image of the square to the size of the picture that it is made of.

    Args:
        width: see `window_of`; so are the others.
        height: of the picture.
        size: of the square.
        keep_aspect: whether the picture is not squashed.

    Returns:
        "size" (2,) int64, height and width in pixels, and "window" (4,) int64, see `Window`.
    """
    return {"size": torch.tensor([height, width]), "window": torch.tensor(window_of(width, height, size, keep_aspect))}


def image_tensor(image: Image.Image, size: int) -> Tensor:
    """Return an RGB image, squashed to a square, as (3, size, size) float32 in [0, 1]; bicubic and antialiased."""
    return to_tensor(squash(image, size, Image.Resampling.BICUBIC))


def condition_tensor(image: Image.Image, size: int, channels: int, keep_aspect: bool = False) -> Tensor:
    """Return an RGB image on a square as (channels, size, size) float32 in [0, 1]; 1 channel is its luma.

    Args:
        image: of any size.
        size: of the square.
        channels: 1 or 3.
        keep_aspect: whether it is scaled to fit, its edges repeated around it; else squashed.
    """
    window = window_of(*image.size, size, keep_aspect)
    picture = image if channels == 3 else image.convert("L")
    resized = np.array(picture.resize(_extent(window), Image.Resampling.BICUBIC)).reshape(*_extent(window)[::-1], -1)
    return torch.from_numpy(_surrounded(resized, window, size)).permute(2, 0, 1).contiguous().float() / 255


def labels_tensor(labels: NDArray[np.uint8], size: int, keep_aspect: bool = False) -> Tensor:
    """Return a label map (H, W) on a square as (size, size) uint8; nearest neighbours.

    Args:
        labels: of any height and width.
        size: of the square.
        keep_aspect: whether it is scaled to fit, its edges repeated around it; else squashed.
    """
    window = window_of(labels.shape[1], labels.shape[0], size, keep_aspect)
    return torch.from_numpy(_surrounded(resize_labels(labels, _extent(window)), window, size))


def _extent(window: Window) -> tuple[int, int]:
    """Return width and height."""
    return window.right - window.left, window.bottom - window.top


def _surrounded(picture: NDArray[Any], window: Window, size: int) -> NDArray[Any]:
    """Return a picture (h, w, ...) at its place on a square, its outermost pixels repeated around it."""
    around = [(window.top, size - window.bottom), (window.left, size - window.right)]
    return (
        np.pad(picture, around + [(0, 0)] * (picture.ndim - 2), mode="edge")
        if _extent(window) != (size, size)
        else picture
    )
