"""The PatchGAN of Eq. 6.12, which sees the five frames of a window at once."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from lightning_modules.diff2lip.loss import sequences
from lightning_modules.diff2lip.masks import Mask
from networks.audio import WINDOW_FRAMES
from networks.gan.patch_discriminator import MultiScaleDiscriminator, Norm
from visionscapes.checks import PositiveInt, check_options

COLOURS = 3


@dataclass(frozen=True)
class SequenceDiscriminatorOptions:
    """What the discriminator of sequences is made of.

    Args:
        base: channels of its first layer.
        layers: its convolutions of stride 2; with 3 it judges patches of 70 pixels.
        scales: how many of it there are, each but the first at half the resolution of the one before.
        norm: "instance" or "spectral", see ``networks.gan.patch_discriminator``.
        judged: "mask" for the generated part alone, or "region" for all of what the network sees.

    Raises:
        UserError: an option out of its bounds.
    """

    base: PositiveInt = 64
    layers: PositiveInt = 3
    scales: PositiveInt = 1
    norm: Norm = "instance"
    judged: Literal["mask", "region"] = "mask"

    def __post_init__(self) -> None:
        check_options(SequenceDiscriminatorOptions, vars(self))

    def build(self) -> MultiScaleDiscriminator:
        """Return the discriminator of `sequences`."""
        channels = WINDOW_FRAMES * COLOURS
        return MultiScaleDiscriminator(channels, self.base, self.layers, scales=self.scales, norm=self.norm)

    def seen(self, frames: Tensor, mask: Tensor, kind: Mask) -> Tensor:
        """Return what it sees of windows (N, 5, 3, h, w), side by side as channels: (N, 15, h or h / 2, w).

        Args:
            frames: the windows, true outside the mask.
            mask: (N, 5, 1, h, w), 1 where they are generated.
            kind: of the mask. Of a lower half the rest is cut away, of others it is black.
        """
        if self.judged == "mask":
            frames = frames[..., -(frames.shape[-2] // 2) :, :] if kind == "lower" else frames * mask
        return sequences(frames)
