"""Structural similarity with either of the two windows in use."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Window = Literal["gaussian", "uniform"]
# What rows of results call them, because the two give different figures.
NAMES: dict[str, str] = {"gaussian": "SSIM (gaussian 11)", "uniform": "SSIM (uniform 7)"}
_SIDE = 7


def structural_similarity(images: Tensor, truth: Tensor, window: Window = "gaussian") -> Tensor:
    """Return the structural similarity (SSIM) of every image, the mean over pixels and channels.

    Args:
        images: (B, C, H, W) in [0, 1].
        truth: (B, C, H, W) in [0, 1].
        window: "gaussian" with sigma 1.5 as Wang et al. proposed, every pixel counted with reflected borders
            (torchmetrics); "uniform", 7x7 with the sample covariance, windows inside the image alone, as
            ``skimage.metrics.structural_similarity`` has it by default and the evaluation of LSR computes it. The
            thesis does not say which one its tables use.

    Returns:
        (B,) float64, at most 1. Z. Wang et al., "Image quality assessment: from error visibility to structural
        similarity", IEEE Transactions on Image Processing 2004, with K1 = 0.01 and K2 = 0.03.
    """
    if window == "gaussian":
        from torchmetrics.functional.image import structural_similarity_index_measure

        # In float32: in float64 its grouped convolution is fourteen times slower on a CPU, and 1e-7 apart.
        result = structural_similarity_index_measure(images.float(), truth.float(), data_range=1.0, reduction="none")
        assert isinstance(result, Tensor)
        return result.double().reshape(len(images))
    return _uniform(images.double(), truth.double())  # variances are differences of nearly equal numbers


def _uniform(x: Tensor, y: Tensor) -> Tensor:
    luminance, contrast = 0.01**2, 0.03**2
    mean_x, mean_y, xx, yy, xy = (F.avg_pool2d(each, _SIDE, stride=1) for each in (x, y, x * x, y * y, x * y))
    sample = _SIDE**2 / (_SIDE**2 - 1)
    variance_x, variance_y = sample * (xx - mean_x * mean_x), sample * (yy - mean_y * mean_y)
    covariance = sample * (xy - mean_x * mean_y)
    similarity = (2 * mean_x * mean_y + luminance) * (2 * covariance + contrast)
    similarity = similarity / ((mean_x**2 + mean_y**2 + luminance) * (variance_x + variance_y + contrast))
    return torch.flatten(similarity, 1).mean(1)
