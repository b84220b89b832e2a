"""Spatially-adaptive normalisation: a label map sets mean and variance at every pixel (SPADE, Park et al. 2019)."""

from functools import partial
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm
from typing_extensions import override

from networks.batch_norm import GlobalBatchNorm
from networks.gan.equalized import EqualizedConv2d
from networks.gan.instance_norm import instance_norm
from networks.gan.residual_blocks import leaky_relu

Norm = Literal["instance", "batch"]
Resize = Literal["nearest", "area"]


class SPADENorm(nn.Module):
    """Normalisation without parameters, scaled and shifted by a convolutional network of the condition.

    y = (1 + gamma(m)) norm(x) + beta(m) (Park et al. 2019, Eq. 1), with gamma and beta the halves of the output of
    conv3(ReLU(conv3(m))) and m the condition at the resolution of x.

    Args:
        channels: C of the feature maps.
        condition_channels: of the condition, such as the number of labels.
        hidden: channels between the two convolutions; 128 in SPADE, 64 in LSR.
        norm: over the pixels of a sample ("instance", as LSR), or over those of the batch of all processes ("batch", as
            SPADE's official code).
        eps: added to the variance. LSR's official code has 1e-3.
        equalized: whether the convolutions have an equalised learning rate, as in LSR.
        resize: of the condition: "nearest" keeps one-hot labels (SPADE), "area" averages soft labels (LSR).
    """

    def __init__(
        self,
        channels: int,
        condition_channels: int,
        hidden: int = 128,
        norm: Norm = "instance",
        eps: float = 1e-5,
        equalized: bool = False,
        resize: Resize = "nearest",
    ):
        super().__init__()
        convolution = EqualizedConv2d if equalized else _PlainConv2d
        self.norm = GlobalBatchNorm(channels, eps, affine=False) if norm == "batch" else partial(instance_norm, eps=eps)
        self.hidden = convolution(condition_channels, hidden, 3)
        self.modulation = convolution(hidden, 2 * channels, 3)
        self.resize = resize

    @override
    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Return the modulated feature maps.

        Args:
            x: (B, C, H, W).
            condition: (B, condition_channels, H', W') of any size.

        Returns:
            (B, C, H, W).
        """
        gamma, beta = self.modulation(F.relu(self.hidden(self.resized(condition, x)))).chunk(2, 1)
        return self.norm(x) * (1 + gamma) + beta

    def resized(self, condition: Tensor, x: Tensor) -> Tensor:
        """Return a condition in the size of feature maps."""
        if condition.shape[-2:] == x.shape[-2:]:
            return condition
        times, rest = divmod(condition.shape[-1], x.shape[-1])
        if self.resize == "area" and not rest and condition.shape[-2] == times * x.shape[-2]:
            return F.avg_pool2d(condition, times)  # the same, and on a GPU its gradient is summed in a fixed order
        return F.interpolate(condition, x.shape[-2:], mode=self.resize)


class SPADEResidualBlock(nn.Module):
    """SPADE's residual block: y = shortcut(x) + conv3(a(norm(conv3(a(norm(x)))))), a = LeakyReLU(0.2).

    The shortcut is SPADE and a bias-free 1x1 convolution where the numbers of channels differ, and x elsewhere
    (Park et al. 2019, figure 4, and the official code). The first convolution has the smaller number of channels.

    Args:
        in_channels: of the input.
        out_channels: of the output.
        condition_channels: of the condition.
        hidden: see `SPADENorm`.
        norm: see `SPADENorm`.
        spectral: whether the block's own convolutions are divided by their spectral norm, as in SPADE; those inside
            `SPADENorm` are not, as in the official code.
        equalized: whether all convolutions have an equalised learning rate, as in LSR.
        resize: see `SPADENorm`.
        eps: see `SPADENorm`.

    Raises:
        ValueError: both ``spectral`` and ``equalized``: the spectral norm would undo the scale.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        condition_channels: int,
        hidden: int = 128,
        norm: Norm = "instance",
        spectral: bool = False,
        equalized: bool = False,
        resize: Resize = "nearest",
        eps: float = 1e-5,
    ):
        super().__init__()
        if spectral and equalized:
            raise ValueError("a convolution has either a spectral norm or an equalised learning rate, not both")
        middle = min(in_channels, out_channels)

        def spade(channels: int) -> SPADENorm:
            return SPADENorm(
                channels, condition_channels, hidden, norm=norm, eps=eps, equalized=equalized, resize=resize
            )

        def convolution(inner: int, outer: int, kernel: int, bias: bool = True) -> nn.Module:
            layer = (EqualizedConv2d if equalized else _PlainConv2d)(inner, outer, kernel, bias=bias)
            return spectral_norm(layer) if spectral else layer

        self.first_norm, self.first = spade(in_channels), convolution(in_channels, middle, 3)
        self.second_norm, self.second = spade(middle), convolution(middle, out_channels, 3)
        self.learned_shortcut = in_channels != out_channels
        if self.learned_shortcut:
            self.shortcut_norm = spade(in_channels)
            self.shortcut = convolution(in_channels, out_channels, 1, bias=False)

    @override
    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Return (B, out_channels, H, W) of ``x`` (B, in_channels, H, W) and a condition as `SPADENorm` takes it."""
        condition = self.first_norm.resized(condition, x)  # once for all norms
        inner = self.first(leaky_relu(self.first_norm(x, condition)))
        inner = self.second(leaky_relu(self.second_norm(inner, condition)))
        return inner + (self.shortcut(self.shortcut_norm(x, condition)) if self.learned_shortcut else x)


class _PlainConv2d(nn.Conv2d):
    """``nn.Conv2d`` with zero "same" padding, called like `EqualizedConv2d`."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, bias: bool = True):
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=bias)
