"""What a generator of images or videos hands to those that evaluate it."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor


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


def to_unit_range(images: Tensor) -> Tensor:
    """Return images of [-1, 1] as the colours in [0, 1] that are shown and measured, clamped."""
    return ((images.float() + 1) / 2).clamp(0, 1)
