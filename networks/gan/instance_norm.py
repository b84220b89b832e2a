"""Instance normalisation without parameters."""

import torch
from torch import Tensor
from torch.nn import functional as F

from visionscapes.errors import UserError


def instance_norm(x: Tensor, eps: float = 1e-5) -> Tensor:
    """Return (x - mean) / sqrt(variance + eps), mean and variance of every channel of every sample over its pixels.

    Args:
        x: (B, C, H, W).
        eps: added to the variance. LSR's official code (tensorflow_addons) has 1e-3.

    Returns:
        (B, C, H, W), in memory in the order of ``x``.

    Raises:
        UserError: the maps have one pixel, of which the norm would leave nothing.
    """
    if x.shape[-2] * x.shape[-1] == 1:
        raise UserError(
            "instance norm of feature maps of 1x1 pixels is zero everywhere: use larger images or fewer down-sampling "
            "blocks"
        )
    if x.device.type == "cpu":
        # The same numbers several times faster. On a GPU autocast would make its result float32.
        normed = F.group_norm(x.contiguous(), x.shape[1], eps=eps)
        if x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous():
            # Sums and products with maps of another order would cost more than the copy: SPADE takes a sixth less time.
            return normed.contiguous(memory_format=torch.channels_last)
        return normed
    return F.instance_norm(x, eps=eps)
