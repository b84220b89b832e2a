"""What a generator of images hands to those that evaluate it."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor


class Generated(NamedTuple):
    """Generated images and what they are the sum of.

    Attributes:
        image: (B, 3, H, W) in units in which [-1, 1] are the colours that can be shown; not clamped.
        parts: name to (B, 3, H, W) in the same units, such as "reconstruction" and "residual" (thesis Eq. 5.1); empty
            for a generator that has none.
    """

    image: Tensor
    parts: dict[str, Tensor]


@runtime_checkable
class Generates(Protocol):
    """A module that makes an image out of every sample of a batch."""

    def generate(self, batch: dict[str, Any], noise: torch.Generator | None = None) -> Generated:
        """Return the images of a batch, with spatial noise out of ``noise``, or out of torch's own generator."""
        ...


def to_unit_range(images: Tensor) -> Tensor:
    """Return images of [-1, 1] as the colours in [0, 1] that are shown and measured, clamped."""
    return ((images.float() + 1) / 2).clamp(0, 1)
