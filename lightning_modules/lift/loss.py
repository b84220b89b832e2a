"""The reconstruction objective of LiFT (thesis Eq. 8.1): its three distances and two ways of shrinking an image."""

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F


def cosine_distance(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the mean over batch and positions of 1 - cosine similarity; (B, C, h, w) each (thesis 8.2.3)."""
    return 1 - F.cosine_similarity(prediction.float(), target.float(), dim=1).mean()


def l1_distance(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the mean absolute difference of all elements of (B, C, h, w) (table 8.9)."""
    return F.l1_loss(prediction.float(), target.float())


def l2_distance(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the mean squared difference of all elements of (B, C, h, w) (table 8.9)."""
    return F.mse_loss(prediction.float(), target.float())


# Plain means, as in the official code. In float32 under autocast too: a cosine near 1 has two digits in bfloat16.
DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cosine": cosine_distance,
    "l1": l1_distance,
    "l2": l2_distance,
}


def decimate(image: Tensor, factor: int) -> Tensor:
    """Keep every ``factor``-th pixel of (B, 3, H, W): no low-pass filter, as the official code does it."""
    return image[..., ::factor, ::factor]


def antialias(image: Tensor, factor: int) -> Tensor:
    """Resize (B, 3, H, W) to 1 / ``factor`` with a low-pass filter: "resized" of thesis 8.2.3 read literally."""
    size = [side // factor for side in image.shape[-2:]]
    return F.interpolate(image, size, mode="bilinear", align_corners=False, antialias=True)


DOWNSCALES: dict[str, Callable[[Tensor, int], Tensor]] = {"decimate": decimate, "antialias": antialias}
