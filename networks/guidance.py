"""What samples of a diffusion model are drawn towards while they are made: the interface of guides (thesis 9.1.1)."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from networks.inpainting import options_of
from visionscapes.checks import NonNegativeFloat, PositiveFloat, PositiveInt, check_options


@dataclass(frozen=True)
class Guidance:
    """How samples are drawn towards a higher loss of a frozen detector (9.1.1).

    Args:
        scale: length of a step along the gradient, as a share of that of the noised picture within the boxes (after
            Askari-Hemmat et al., "Feedback-guided data synthesis", 2023); none at 0.
        every: k, of whose sampling steps one is guided; never the last, so that every pixel comes out of the network.
        ceiling: loss above which an object is not made harder: what no detector can tell is no longer what its
            annotation says. None for no ceiling.
        near: weight of the squared distance, pixels in [0, 1], from what the sampling without a guide estimates at the
            same step, which is drawn down: pictures are to stay as good as they were.

    Raises:
        UserError: an option is out of its bounds.
    """

    scale: NonNegativeFloat = 0.1
    every: PositiveInt = 1
    ceiling: PositiveFloat | None = 1.5
    near: NonNegativeFloat = 10.0

    def __post_init__(self) -> None:
        check_options(Guidance, vars(self))

    def objective(self, losses: Tensor, image: Tensor, unguided: Tensor) -> Tensor:
        """Return what is drawn up: the mean loss of the objects below the ceiling, less the weighted distance.

        Args:
            losses: (N,), of the objects of a picture.
            image: (3, P), the pixels within its boxes in [0, 1].
            unguided: (3, P), the same without a guide.
        """
        raised = losses if self.ceiling is None else losses.clamp(max=self.ceiling)
        return raised.mean() - self.near * (image - unguided).square().mean()


class Guide(nn.Module, ABC):
    """Base of what says how hard the objects of a picture are.

    A subclass keeps its options in attributes of their names.

    Attributes:
        guidance: how samples follow it.
    """

    guidance: Guidance

    @property
    def options(self) -> dict[str, Any]:
        """The options that it was made with, as plain values."""
        return options_of(self)

    @abstractmethod
    def forward(self, image: Tensor, boxes: Tensor, names: tuple[str, ...]) -> Tensor:
        """Return the loss (N,) of each object, with a gradient to the picture.

        Args:
            image: (3, H, W) float32 RGB in [0, 1].
            boxes: (N, 4) xyxy pixels.
            names: N names of classes.
        """


def pushed(noised: Tensor, gradient: Tensor, scale: float) -> Tensor:
    """Return a noised picture a step of ``scale`` times its own length along a gradient; as it is if that is 0.

    Args:
        noised: of any shape.
        gradient: of the same shape.
        scale: see `Guidance`.
    """
    length = gradient.norm()
    factor = torch.where(length > 0, scale * noised.norm() / length.clamp(min=torch.finfo(length.dtype).tiny), 0)
    return noised + factor * gradient
