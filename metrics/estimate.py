"""A figure together with how well it is known."""

from typing import NamedTuple

import torch
from torch import Tensor


class Estimate(NamedTuple):
    """A figure and its standard error.

    Attributes:
        value: the figure, scalar.
        standard_error: of ``value`` over the samples, scalar; NaN for fewer than two samples.
        count: number of samples behind it.
    """

    value: Tensor
    standard_error: Tensor
    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody needs here


def mean_estimate(samples: Tensor) -> Estimate:
    """Return the mean of independent samples (N,) with its standard error, sqrt(variance / N)."""
    samples = samples.double()
    count = samples.numel()
    nan = samples.new_tensor(torch.nan)
    if count == 0:
        return Estimate(nan, nan, 0)
    return Estimate(samples.mean(), samples.std() / count**0.5 if count > 1 else nan, count)
