"""Halving of feature maps behind a small low-pass filter (blur pooling, Zhang 2019)."""

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F


def blur_pool(x: Tensor) -> Tensor:
    """Return every other row and column of ``x`` filtered with [1, 2, 1] x [1, 2, 1] / 16, zero outside.

    Equal to ``timm.layers.BlurPool2d(pad_mode="constant")`` and to ``kornia.filters.blur_pool2d(x, 3)``. LSR's official
    code (TensorFlow, "SAME") starts at the second pixel of an even side instead of the first: the same network up to
    half a pixel, which matters for nothing but its weights.

    Args:
        x: (B, C, H, W), any floating type and memory format.

    Returns:
        (B, C, ceil(H / 2), ceil(W / 2)).
    """
    if x.device.type == "cpu" and x.dtype == torch.bfloat16:
        # Its backward pass takes a CPU ten times as long in bfloat16 as in float32.
        with torch.autocast("cpu", enabled=False):
            return blur_pool(x.float()).to(x.dtype)
    # In float32 on CPUs a depthwise convolution takes a third of the time of two average pools if x is channels-last,
    # and a twentieth in the other.
    return F.conv2d(x, _binomial(x.shape[1], x.dtype, x.device), stride=2, padding=1, groups=x.shape[1])


@cache
def _binomial(channels: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the filter (channels, 1, 3, 3), made once: another copy to the device in every block would stall it."""
    with torch.inference_mode(False):  # a tensor made in inference mode cannot serve training later
        row = torch.tensor([0.25, 0.5, 0.25], dtype=dtype)
        return torch.outer(row, row).to(device).repeat(channels, 1, 1, 1)
