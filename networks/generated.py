"""What a generator of images or videos hands to those that evaluate it."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional as F


class Generated(NamedTuple):
    """Generated images or videos, and what they are the sum of.

    Attributes:
        image: (B, 3, H, W), of a generator of videos (B, T, 3, H, W), in units in which [-1, 1] are the colours that
            can be shown; not clamped.
        parts: name to a tensor of the same shape and units, such as "reconstruction" and "residual", which is the GAN
            residual (thesis Eq. 5.1); empty for a generator that has none.
    """

    image: Tensor
    parts: dict[str, Tensor]

    @property
    def times(self) -> int | None:
        """Number T of frames of a video, None for images."""
        return self.image.shape[1] if self.image.ndim == 5 else None

    def frames(self) -> "Generated":
        """Return the frames of all videos as a batch of images, see ``frames_of``; images as they are."""
        return Generated(frames_of(self.image), {name: frames_of(part) for name, part in self.parts.items()})


def frames_of(videos: Tensor) -> Tensor:
    """Return the frames of videos as images (B * T, 3, H, W), those of a video beside each other.

    Args:
        videos: (B, T, 3, H, W), or images (B, 3, H, W), which are returned as they are.
    """
    return videos.flatten(0, 1) if videos.ndim == 5 else videos


@runtime_checkable
class Generates(Protocol):
    """A module that makes an image, or a video, out of every sample of a batch."""

    def generate(self, batch: dict[str, Any], noise: torch.Generator | None = None) -> Generated:
        """Return the images or videos of a batch; the spatial noise is out of ``noise``, or torch's own generator."""
        ...


def repeated(batch: Mapping[str, Any], index: int, times: int) -> dict[str, Any]:
    """Return a batch that has one sample of another batch so many times; what is not of samples stays as it is."""
    size = len(batch["name"])

    def repeat(value: Any) -> Any:
        if isinstance(value, Tensor) and value.ndim and len(value) == size:
            return value[index : index + 1].expand(times, *value.shape[1:])
        return [value[index]] * times if isinstance(value, list | tuple) and len(value) == size else value

    return {key: repeat(value) for key, value in batch.items()}


def at_size(image: Tensor, size: Sequence[int], window: Sequence[int], smooth: bool = True) -> Tensor:
    """Return an image of a network's own size in the size of the picture that it was made of.

    Args:
        image: (C, S, S) floats, of any range.
        size: H and W, pixels.
        window: what shows the picture, xyxy in pixels of ``image``.
        smooth: bicubic, and antialiased where it shrinks; else nearest neighbours.

    Returns:
        (C, H, W) float32, the window alone; as it is where it has this size.
    """
    left, top, right, bottom = window
    image = image.float()[:, top:bottom, left:right]
    if tuple(image.shape[1:]) == tuple(size):
        return image
    how: dict[str, Any] = {"mode": "bicubic", "antialias": True} if smooth else {"mode": "nearest-exact"}
    return F.interpolate(image[None], tuple(size), **how)[0]


def in_size_of(batch: Mapping[str, Any], index: int, image: Tensor, smooth: bool = True) -> Tensor:
    """Return an image (C, S, S) of a sample `at_size`, if the batch says one by "size" (B, 2) and "window" (B, 4)."""
    if "size" not in batch:
        return image.float()
    return at_size(image, batch["size"][index].tolist(), batch["window"][index].tolist(), smooth)


def to_unit_range(images: Tensor) -> Tensor:
    """Return images of [-1, 1] as the colours in [0, 1] that are shown and measured, clamped."""
    return ((images.float() + 1) / 2).clamp(0, 1)
