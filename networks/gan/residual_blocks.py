"""Residual blocks with activations in front of the convolutions (BigGAN, Brock et al. 2019, figures 15 and 16).

All layers have an equalised learning rate. The shortcut has a bias-free 1x1 convolution; it comes after a reduction and
before an enlargement of the maps, with which it commutes, for that takes a quarter of the operations.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from networks.gan.adain import AdaIN
from networks.gan.blur_pool import blur_pool
from networks.gan.equalized import EqualizedConv2d
from networks.gan.instance_norm import instance_norm

Norm = Literal["none", "instance"]
DOWN: dict[str, Callable[[Tensor], Tensor]] = {"blur": blur_pool, "average": partial(F.avg_pool2d, kernel_size=2)}


def widths(base: int, most: int, downs: int) -> list[int]:
    """Return the feature maps of the first layer and after every down block: doubled each time, at most ``most``."""
    return [min(base * 2**place, most) for place in range(downs + 1)]


def leaky_relu(x: Tensor) -> Tensor:
    """Return ``x`` where it is positive and 0.2 ``x`` elsewhere."""
    return F.leaky_relu(x, 0.2)


class ResidualBlock(nn.Module):
    """Residual block that keeps the resolution: y = shortcut(x) + conv3(a(norm(conv3(a(norm(x)))))).

    The first convolution has min(in_channels, out_channels) channels, and the shortcut is a 1x1 convolution only where
    they differ. LSR's encoders have it behind a 2x2 average pool with ReLU and no norm.

    Args:
        in_channels: of the input.
        out_channels: of the output.
        norm: before each activation: none, or instance norm without parameters.
        activation: a.
        eps: of the instance norm.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        norm: Norm = "none",
        activation: Callable[[Tensor], Tensor] = leaky_relu,
        eps: float = 1e-5,
    ):
        super().__init__()
        self.norm, self.activation = _norm(norm, eps), activation
        middle = min(in_channels, out_channels)
        self.first = EqualizedConv2d(in_channels, middle, 3)
        self.second = EqualizedConv2d(middle, out_channels, 3)
        self.shortcut = nn.Identity() if in_channels == out_channels else _shortcut(in_channels, out_channels)

    @override
    def forward(self, x: Tensor) -> Tensor:
        """Return (B, out_channels, H, W) of ``x`` (B, in_channels, H, W)."""
        inner = self.first(self.activation(self.norm(x)))
        return self.shortcut(x) + self.second(self.activation(self.norm(inner)))


class ResidualDown(nn.Module):
    """Residual block that halves the resolution: y = scale (conv1(down(x)) + down(conv3(a(norm(conv3(a(norm(x)))))))).

    BigGAN's block with blur pooling for the average (thesis 5.5.1.1). As in LSR's official code the first convolution
    keeps ``in_channels``.

    Args:
        in_channels: of the input.
        out_channels: of the output.
        norm: before each activation: none, or instance norm without parameters.
        down: "blur", see `blur_pool`, or "average" over 2x2 pixels, which leaves out the last of an odd number.
        eps: of the instance norm.
        scale: of the sum; 1 / sqrt(2) keeps its variance, as in StyleGAN2's discriminator.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        norm: Norm = "none",
        down: Literal["blur", "average"] = "blur",
        eps: float = 1e-5,
        scale: float = 1.0,
    ):
        super().__init__()
        self.norm, self.down, self.scale = _norm(norm, eps), DOWN[down], scale
        self.first = EqualizedConv2d(in_channels, in_channels, 3)
        self.second = EqualizedConv2d(in_channels, out_channels, 3)
        self.shortcut = _shortcut(in_channels, out_channels)

    @override
    def forward(self, x: Tensor) -> Tensor:
        """Return (B, out_channels, ceil(H / 2), ceil(W / 2)) of ``x`` (B, in_channels, H, W); floor by average."""
        inner = self.first(leaky_relu(self.norm(x)))
        inner = self.second(leaky_relu(self.norm(inner)))
        total = self.shortcut(self.down(x)) + self.down(inner)
        return total if self.scale == 1 else total * self.scale


class ResidualUp(nn.Module):
    """Residual block that doubles the resolution: y = up(conv1(x)) + conv3(a(AdaIN(conv3(up(a(AdaIN(x))))))).

    The block of LSR's layout predictor (thesis 6.1): BigGAN's with AdaIN for the conditional batch norm and bilinear
    enlargement.

    Args:
        in_channels: of the input.
        out_channels: of the output.
        style_dim: length of the style code.
        eps: of the instance norms.
    """

    def __init__(self, in_channels: int, out_channels: int, style_dim: int, eps: float = 1e-5):
        super().__init__()
        self.first_norm = AdaIN(in_channels, style_dim, eps)
        self.first = EqualizedConv2d(in_channels, out_channels, 3)
        self.second_norm = AdaIN(out_channels, style_dim, eps)
        self.second = EqualizedConv2d(out_channels, out_channels, 3)
        self.shortcut = _shortcut(in_channels, out_channels)

    @override
    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Return (B, out_channels, 2H, 2W) of ``x`` (B, in_channels, H, W) and ``style`` (B, style_dim)."""
        inner = self.first(upsample(leaky_relu(self.first_norm(x, style))))
        inner = self.second(leaky_relu(self.second_norm(inner, style)))
        return upsample(self.shortcut(x)) + inner


def upsample(x: Tensor) -> Tensor:
    """Return ``x`` (B, C, H, W) enlarged bilinearly to (B, C, 2H, 2W)."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def _norm(norm: Norm, eps: float) -> Callable[[Tensor], Tensor]:
    norms: dict[str, Callable[[Tensor], Tensor]] = {"none": nn.Identity(), "instance": partial(instance_norm, eps=eps)}
    return norms[norm]


def _shortcut(in_channels: int, out_channels: int) -> EqualizedConv2d:
    return EqualizedConv2d(in_channels, out_channels, 1, bias=False)
