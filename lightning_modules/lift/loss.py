"""The reconstruction objective of LiFT (thesis Eq. 8.1): its three distances and two ways of shrinking an image."""

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F


def cosine_distance(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the mean over batch and positions of 1 - cosine similarity; (B, C, h, w) each (thesis 8.2.3)."""
    return 1 - F.cosine_similarity(prediction, target, dim=1).mean()


# The plain means over all elements, as in the official code; the thesis compares them in table 8.9.
DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cosine": cosine_distance,
    "l1": F.l1_loss,
    "l2": F.mse_loss,
}


def decimate(image: Tensor, factor: int) -> Tensor:
    """Keep every ``factor``-th pixel of (B, 3, H, W): no low-pass filter, as the official code does it."""
    return image[..., ::factor, ::factor]


def antialias(image: Tensor, factor: int) -> Tensor:
    """Resize (B, 3, H, W) to 1 / ``factor`` with a low-pass filter: "resized" of thesis 8.2.3 read literally."""
    size = [side // factor for side in image.shape[-2:]]
    return F.interpolate(image, size, mode="bilinear", align_corners=False, antialias=True)


DOWNSCALES: dict[str, Callable[[Tensor, int], Tensor]] = {"decimate": decimate, "antialias": antialias}
