"""Fréchet distance of the features of two sets of images, with the real ones shared between several distances."""

from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from typing_extensions import override

_REAL = ("real_features_sum", "real_features_cov_sum", "real_features_num_samples")


class FrechetFeatureDistance(FrechetInceptionDistance):
    """torchmetrics' Fréchet distance of the features of any network, as it is needed here.

    It is NaN where there are fewer than two images, a process may have seen none, and the statistics of the real
    images can be kept and handed to other distances.

    Args:
        network: (B, 3, H, W) uint8 to features (B, D), with ``num_features`` D.
        kwargs: of ``torchmetrics.Metric``.

    Attributes:
        images: number of generated images behind the last ``compute``.
    """

    real_features_sum: Tensor
    real_features_cov_sum: Tensor
    real_features_num_samples: Tensor

    def __init__(self, network: nn.Module, **kwargs: Any):
        super().__init__(network, **kwargs)
        self.orig_dtype = torch.float32  # torchmetrics sets it in the first update, which a process may lack
        self.images = 0

    @override
    def compute(self) -> Tensor:
        """Return the distance, scalar, at least 0 up to rounding."""
        self.images = int(self.fake_features_num_samples)
        if min(int(self.real_features_num_samples), self.images) < 2:
            return torch.full((), torch.nan, device=self.device)
        return super().compute()

    def real_statistics(self) -> dict[str, Tensor]:
        """Return a copy of what has been summed up of the real images by this process."""
        return {name: getattr(self, name).clone() for name in _REAL}

    def take_real_statistics(self, statistics: dict[str, Tensor]) -> None:
        """Put what ``real_statistics`` has returned in place of the real images seen so far."""
        for name in _REAL:
            setattr(self, name, statistics[name].clone().to(self.device))
        self._computed = None
