"""The standard deviation within a batch as a feature, which shows a discriminator that a generator lacks variety."""

import torch
from torch import Tensor, nn
from typing_extensions import override


class MinibatchStddev(nn.Module):
    """Appends a map with the mean standard deviation over a group of samples (PGGAN, Karras et al. 2018, section 3).

    s = mean over (c, h, w) of sqrt(1/G sum over the group of (x_chw - mean)^2 + 1e-8), the same number for all samples
    and pixels of a group of G samples. In a batch of M groups the samples i, i + M, i + 2M, ... form a group, as in
    the official code.

    Args:
        group: largest number of samples in a group. A batch that it does not divide has groups of the largest divisor
            of the batch below it; the official code refuses such batches. Groups of one sample have a deviation of 0.
    """

    def __init__(self, group: int = 4):
        super().__init__()
        if group < 1:
            raise ValueError(f"a group of {group} samples: it has to be at least 1")
        self.group = group

    @override
    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C + 1, H, W) of ``x`` (B, C, H, W)."""
        batch, _, height, width = x.shape
        size = next(size for size in range(min(self.group, batch), 0, -1) if batch % size == 0)
        if size == 1:
            return torch.cat([x, x.new_zeros(batch, 1, height, width)], 1)
        groups = x.to(torch.promote_types(x.dtype, torch.float32)).unflatten(0, (size, batch // size))
        variance = (groups - groups.mean(0)).square().mean(0)  # (M, C, H, W)
        deviation = (variance + 1e-8).sqrt().mean((1, 2, 3)).to(x.dtype)
        return torch.cat([x, deviation.repeat(size)[:, None, None, None].expand(-1, -1, height, width)], 1)
