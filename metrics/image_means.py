"""Means over images of several figures at once, exact under DDP."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from typing_extensions import override

from metrics.estimate import Estimate


class ImageMeans(Metric):
    """Mean over images of every named figure, with its standard error.

    Its state is three sums a figure in float64, so that it takes no memory for the images and is the same for any
    number of processes up to the order of summation.

    Args:
        names: of the figures.
        kwargs: of ``torchmetrics.Metric``.

    Returns:
        ``compute`` gives name to ``Estimate``, whose count is the images that have the figure.
    """

    full_state_update = False
    sums: Tensor

    def __init__(self, names: Sequence[str], **kwargs: Any):
        super().__init__(**kwargs)
        self.names = list(names)
        self.add_state("sums", torch.zeros(len(self.names), 3, dtype=torch.float64), dist_reduce_fx="sum")

    @override
    def update(self, figures: Mapping[str, Tensor]) -> None:
        """Add the figures of a batch.

        Args:
            figures: name to (B,), one figure an image; NaN for an image that has none.
        """
        for name, values in figures.items():
            known = values[~values.isnan()].to(self.sums)
            self.sums[self.names.index(name)] += torch.stack(
                [known.new_tensor(len(known)), known.sum(), known.square().sum()]
            )

    @override
    def compute(self) -> dict[str, Estimate]:
        """Return the estimate of every figure."""
        estimates = {}
        for name, (count, total, squares) in zip(self.names, self.sums.unbind(), strict=True):
            mean = total / count  # NaN without images
            variance = (squares - count * mean.square()).clamp(min=0) / (count - 1)
            error = (variance / count).sqrt() if count > 1 else torch.full_like(mean, torch.nan)
            estimates[name] = Estimate(mean, error, int(count))
        return estimates
