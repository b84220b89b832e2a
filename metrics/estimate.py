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


def ratio_estimate(parts: Tensor, wholes: Tensor) -> Estimate:
    """Return the ratio of two sums over independent samples with its linearised standard error.

    Args:
        parts: (N,) numerators, such as the correct answers in each clip.
        wholes: (N,) denominators, such as the questions; samples with 0 do not count.
    """
    counted = wholes > 0
    parts, wholes = parts[counted].double(), wholes[counted].double()
    nan, count = parts.new_tensor(torch.nan), parts.numel()
    if count == 0:
        return Estimate(nan, nan, 0)
    ratio = parts.sum() / wholes.sum()
    spread = (parts - ratio * wholes).square().sum() * count / (count - 1) if count > 1 else nan
    return Estimate(ratio, spread.sqrt() / wholes.sum(), count)
