"""The terms of Eq. 5.2 beside the adversarial one, which stands in ``networks.gan.losses``."""

from torch import Tensor
from torch.nn import functional as F


def pixel_loss(reconstruction: Tensor, truth: Tensor) -> Tensor:
    """Return L_rec of Eq. 5.2: the mean absolute difference of images (B, 3, S, S)."""
    return F.l1_loss(reconstruction, truth)


def code_penalty(code: Tensor) -> Tensor:
    """Return the mean square of style codes (B, D), which keeps them near the origin (5.5.1.2)."""
    return code.square().mean()
