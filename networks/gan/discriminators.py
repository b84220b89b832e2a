"""Discriminators that give an image one logit: StyleGAN's and the residual one of StyleGAN2 and LSR."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from torch import Tensor, nn
from typing_extensions import override

from networks.gan.blur_pool import blur_pool
from networks.gan.equalized import EqualizedConv2d, EqualizedLinear
from networks.gan.minibatch_stddev import MinibatchStddev
from networks.gan.residual_blocks import ResidualDown, leaky_relu
from visionscapes.checks import PositiveInt, check_options
from visionscapes.errors import UserError


class StyleGANDiscriminator(nn.Module):
    """The discriminator of PGGAN and StyleGAN (Karras et al. 2018, 2019), GRIT's model for its own (thesis 5.5.1.1).

    A 1x1 convolution, then at every resolution from S to 8 two 3x3 convolutions of which the second leads to half the
    resolution, and at 4x4 the mini-batch standard deviation, a 3x3 convolution and two linear layers; equalised, with
    LeakyReLU(0.2). A condition is concatenated to the image as further channels.

    The second convolution's output is blur-pooled before its activation. The official code blurs its input and
    averages its output over 2x2 pixels instead.

    Args:
        in_channels: of image and condition together.
        image_size: S in pixels: 4, 8, 16, 32, ...
        base: layers at resolution R have min(base // R, most) channels.
        most: see ``base``.
        group: of the mini-batch standard deviation, see `MinibatchStddev`; None leaves it out.

    Raises:
        UserError: ``image_size`` is not 4 times a power of two, or ``base`` is smaller.
    """

    def __init__(self, in_channels: int, image_size: int, base: int = 16384, most: int = 512, group: int | None = 4):
        super().__init__()
        if image_size < 4 or image_size & (image_size - 1):
            raise UserError(
                f"StyleGAN's discriminator halves images down to 4x4, which {image_size}x{image_size} pixels do not "
                "allow: use a power of two from 4, such as 256, or the residual discriminator"
            )
        self.image_size = image_size
        sizes = _sizes(image_size)
        widths = _widths(sizes, base, most)
        self.from_image = EqualizedConv2d(in_channels, widths[0], 1)
        self.same = nn.ModuleList(EqualizedConv2d(width, width, 3) for width in widths[:-1])
        self.down = nn.ModuleList(EqualizedConv2d(*pair, 3) for pair in pairwise(widths))
        self.head = _Head(widths[-1], sizes[-1], group)

    @override
    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B,), high for real images, of ``x`` (B, in_channels, S, S).

        Raises:
            UserError: the images have another size.
        """
        _check_size(x, self.image_size)
        x = leaky_relu(self.from_image(x))
        for same, down in zip(self.same, self.down, strict=True):
            x = leaky_relu(same(x))
            x = leaky_relu(blur_pool(down(x)))
        return self.head(x)


class ResidualDiscriminator(nn.Module):
    """The residual discriminator of StyleGAN2 (Karras et al. 2020, figure 7c) in LSR's form (thesis 6.1).

    A 1x1 convolution, residual blocks that halve the resolution until it is at most 4 and whose sums are divided by
    sqrt(2), a 3x3 convolution and two linear layers; equalised, with LeakyReLU(0.2). LSR's official code, which this
    follows, puts the activations of a block before its convolutions, StyleGAN2 behind them.

    Args:
        in_channels: of image and condition together.
        image_size: S in pixels, at least 4; an odd resolution is rounded up when halved.
        base: layers at resolution R have min(base // R, most) channels; LSR has 7168, that is 32 at 224.
        most: see ``base``.
        group: of the mini-batch standard deviation before the last convolution; without it if None, as in LSR.

    Raises:
        UserError: ``image_size`` is below 4, or ``base`` below ``image_size``.
    """

    def __init__(self, in_channels: int, image_size: int, base: int = 16384, most: int = 512, group: int | None = None):
        super().__init__()
        if image_size < 4:
            raise UserError(f"a residual discriminator of {image_size}x{image_size} pixels: use images of 4 or more")
        self.image_size = image_size
        sizes = _sizes(image_size)
        widths = _widths(sizes, base, most)
        self.from_image = EqualizedConv2d(in_channels, widths[0], 1)
        self.blocks = nn.Sequential(*(ResidualDown(*pair, scale=math.sqrt(0.5)) for pair in pairwise(widths)))
        self.head = _Head(widths[-1], sizes[-1], group)

    @override
    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B,), high for real images, of ``x`` (B, in_channels, S, S).

        Raises:
            UserError: the images have another size.
        """
        _check_size(x, self.image_size)
        return self.head(leaky_relu(self.blocks(leaky_relu(self.from_image(x)))))


@dataclass(frozen=True)
class DiscriminatorOptions:
    """What a discriminator of one logit is made of.

    Args:
        architecture: "stylegan", StyleGAN's (thesis 5.5.1.1), or "residual", StyleGAN2's, as in LSR's code.
        base: feature maps at resolution r are ``base`` / r, up to a maximum.
        stddev_group: images that the minibatch standard deviation compares; None for none (LSR's code).

    Raises:
        UserError: a value that makes no sense.
    """

    architecture: Literal["stylegan", "residual"] = "stylegan"
    base: PositiveInt = 16384
    stddev_group: PositiveInt | None = 4

    def __post_init__(self) -> None:
        check_options(DiscriminatorOptions, vars(self))

    def build(self, in_channels: int, image_size: int, most: int) -> nn.Module:
        """Return the discriminator.

        Args:
            in_channels: of image and condition together.
            image_size: S in pixels.
            most: feature maps at most.

        Raises:
            UserError: an ``image_size`` that the architecture does not allow.
        """
        kind = StyleGANDiscriminator if self.architecture == "stylegan" else ResidualDiscriminator
        return kind(in_channels, image_size, base=self.base, most=most, group=self.stddev_group)


class _Head(nn.Module):
    """Feature maps of ``size`` x ``size`` pixels to one logit."""

    def __init__(self, width: int, size: int, group: int | None):
        super().__init__()
        self.stddev = None if group is None else MinibatchStddev(group)
        self.convolution = EqualizedConv2d(width + (group is not None), width, 3)
        self.hidden = EqualizedLinear(width * size**2, width)
        self.logit = EqualizedLinear(width, 1, gain=1)

    @override
    def forward(self, x: Tensor) -> Tensor:
        if self.stddev is not None:
            x = self.stddev(x)
        x = leaky_relu(self.convolution(x)).flatten(1)
        return self.logit(leaky_relu(self.hidden(x))).squeeze(1)


def _sizes(image_size: int) -> list[int]:
    """Return the resolutions from ``image_size``, halved and rounded up, to the first of at most 4."""
    sizes = [image_size]
    while sizes[-1] > 4:
        sizes.append((sizes[-1] + 1) // 2)
    return sizes


def _widths(sizes: list[int], base: int, most: int) -> list[int]:
    if base < sizes[0] or most < 1:
        raise UserError(
            f"a discriminator with base {base} and most {most} has no channels at {sizes[0]}x{sizes[0]} pixels: base "
            "has to be at least the image size, most at least 1"
        )
    return [min(base // size, most) for size in sizes]


def _check_size(x: Tensor, image_size: int) -> None:
    if x.shape[-2:] != (image_size, image_size):
        raise UserError(
            f"the discriminator is built for {image_size}x{image_size} pixels and got images of "
            f"{x.shape[-2]}x{x.shape[-1]}: set its image_size to that of the data"
        )
