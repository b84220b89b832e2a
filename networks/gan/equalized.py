"""Layers with an equalised learning rate (PGGAN, Karras et al. 2018, section 4.1)."""

import math

from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override


class EqualizedConv2d(nn.Conv2d):
    """Convolution with zero "same" padding and stride 1 whose weights are scaled while it runs.

    y = conv(x, W * gain / sqrt(fan_in)) + b, where W starts as N(0, 1), b as 0, and fan_in = in_channels kernel_size^2.
    The output starts with gain^2 times the mean square of the input. Adam steps by about its learning rate whatever the
    scale of a parameter, so with all weights at one scale every layer learns at the same speed.

    Args:
        in_channels: of the input.
        out_channels: of the output.
        kernel_size: odd.
        bias: whether to add b, which is not scaled.
        gain: sqrt(2) before a rectifier, 1 for an output layer.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, bias: bool = True, gain: float = math.sqrt(2)
    ):
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size {kernel_size} is even, which leaves no centre to pad around")
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=bias)
        self.scale = gain / math.sqrt(in_channels * kernel_size**2)

    @override
    def reset_parameters(self) -> None:
        """Draw W from N(0, 1) and set b to zero."""
        _draw(self.weight, self.bias)

    @override
    def forward(self, input: Tensor) -> Tensor:
        """Return (B, out_channels, H, W) of ``input`` (B, in_channels, H, W)."""
        # Scaling W is cheaper than scaling the input, and autocast rounds it after the scaling.
        return F.conv2d(input, self.weight * self.scale, self.bias, padding=self.padding)


class EqualizedLinear(nn.Linear):
    """Fully connected layer whose weights are scaled while it runs, as those of `EqualizedConv2d`.

    Args:
        in_features: of the input; fan_in.
        out_features: of the output.
        bias: whether to add b, which is not scaled.
        gain: sqrt(2) before a rectifier, 1 for an output layer.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, gain: float = math.sqrt(2)):
        super().__init__(in_features, out_features, bias)
        self.scale = gain / math.sqrt(in_features)

    @override
    def reset_parameters(self) -> None:
        """Draw W from N(0, 1) and set b to zero."""
        _draw(self.weight, self.bias)

    @override
    def forward(self, input: Tensor) -> Tensor:
        """Return (..., out_features) of ``input`` (..., in_features)."""
        return F.linear(input, self.weight * self.scale, self.bias)


def _draw(weight: Tensor, bias: Tensor | None) -> None:
    nn.init.normal_(weight)
    if bias is not None:
        nn.init.zeros_(bias)
