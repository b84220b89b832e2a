"""Adaptive instance normalisation: a style code sets mean and variance of every channel."""

from torch import Tensor, nn
from typing_extensions import override

from networks.gan.equalized import EqualizedLinear
from networks.gan.instance_norm import instance_norm


class AdaIN(nn.Module):
    """Instance norm scaled and shifted by a style code (Huang & Belongie 2017, Eq. 8).

    y = (1 + gamma(s)) (x - mean(x)) / sqrt(variance(x) + eps) + beta(s), with (gamma, beta) one equalised linear layer
    of the style code s, as in StyleGAN (Karras et al. 2019, Eq. 1) and LSR's official code. A style of zeros starts as
    a plain instance norm.

    Args:
        channels: C of the feature maps.
        style_dim: length of the style code.
        eps: added to the variance. LSR's official code has 1e-3.
    """

    def __init__(self, channels: int, style_dim: int, eps: float = 1e-5):
        super().__init__()
        self.eps = eps
        self.style = EqualizedLinear(style_dim, 2 * channels)

    @override
    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Return the styled feature maps.

        Args:
            x: (B, C, H, W).
            style: (B, style_dim).

        Returns:
            (B, C, H, W).
        """
        gamma, beta = self.style(style)[:, :, None, None].chunk(2, 1)
        return instance_norm(x, self.eps) * (1 + gamma) + beta
