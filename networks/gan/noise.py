"""Spatial noise of StyleGAN: what a generator needs to vary details without spending capacity on random numbers."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from typing_extensions import override


class NoiseInjection(nn.Module):
    """Adds one map of Gaussian noise to all channels, each with a learned strength (StyleGAN, Karras et al. 2019).

    y_c = x_c + w_c n with n ~ N(0, 1) for every sample and pixel (thesis 5.2.3). w starts at zero, so that a network
    starts without noise; a loss on every pixel keeps it there (thesis table 5.4), which makes |w| worth watching.

    Args:
        channels: C of the feature maps.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels))

    @override
    def forward(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """Return feature maps with noise.

        Args:
            x: (B, C, H, W).
            noise: (B, 1, H, W), or (1, 1, H, W) for all samples alike; by default fresh noise out of torch's own
                generator, in evaluation too.

        Returns:
            (B, C, H, W) of the type of ``x``.
        """
        if noise is None:
            # Drawn in float32: bfloat16 has no more than a few hundred values in reach of a standard normal.
            noise = torch.randn(x.shape[0], 1, *x.shape[2:], device=x.device)
        return x + self.weight.to(x.dtype)[:, None, None] * noise.to(x.dtype)


def draw_noise(
    shapes: Iterable[tuple[int, int]],
    batch: int,
    generator: torch.Generator | None = None,
    device: torch.device | str = "cpu",
) -> list[Tensor]:
    """Return noise for all noise layers of a generator, to be used again or to be the same in every run.

    Args:
        shapes: height and width in pixels of the layers' feature maps, in their order.
        batch: number of samples B.
        generator: where the numbers come from, of any device: a CPU generator gives the same noise on every device.
            Torch's own generator of ``device`` if None.
        device: where the noise is wanted.

    Returns:
        A float32 tensor (B, 1, H, W) from N(0, 1) for every layer.
    """
    source = device if generator is None else generator.device
    return [torch.randn(batch, 1, *shape, generator=generator, device=source).to(device) for shape in shapes]
