"""Percentage of correct keypoints."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat
from typing_extensions import override

from metrics.estimate import Estimate, mean_estimate


class PercentageOfCorrectKeypoints(Metric):
    """Share in [0, 1] of the keypoints predicted within alpha times the object's size, with its standard error.

    Args:
        alphas: fractions of the object's size.
        aggregation: "category": keypoints are pooled within a category, then categories are averaged (official code of
            LiFT and of chapter 2); "pair": share per pair, averaged over the pairs (authors of SPair-71k).
        comparison: "<" (official LiFT) or "<=" (authors of SPair-71k).
        variants: ways of predicting that are compared on the same pairs; each name is appended to its figures' names.

    Returns:
        ``compute`` gives "PCK@<alpha><variant>" to ``Estimate`` whose count is the pairs with a keypoint. Pairs are the
        independent samples. For "pair" the error is the usual one of a mean; for "category" pairs are clusters in
        strata: the linearised error of each category's ratio, averaged in squares over the categories. A category
        with a single pair shows no spread and takes the mean variance of one pair in the other categories.

    Thesis section 8.3.1 gives the thresholds and leaves aggregation and comparison to the code.
    """

    full_state_update = False
    samples: list[Tensor]

    def __init__(
        self,
        alphas: Sequence[float] = (0.1, 0.05, 0.01),
        aggregation: Literal["category", "pair"] = "category",
        comparison: Literal["<", "<="] = "<",
        variants: Sequence[str] = ("",),
    ):
        super().__init__()
        self.alphas, self.variants = list(alphas), list(variants)
        self.aggregation, self.comparison = aggregation, comparison
        # One flat state: torchmetrics gathers an empty float vector from a rank that has seen no pair.
        self.add_state("samples", default=[], dist_reduce_fx="cat")

    @override
    def update(self, predicted: Tensor, target: Tensor, box_size: Tensor | float, category: Tensor | int) -> None:
        """Add one pair of images.

        Args:
            predicted: (K, 2), or (variants, K, 2), predicted keypoints, xy in pixels.
            target: (K, 2), annotated keypoints, xy in pixels; K = 0 leaves the pair out.
            box_size: size of the object in pixels that the thresholds are fractions of.
            category: number of the pair's category.
        """
        if not len(target):
            return
        predicted = predicted.reshape(len(self.variants), *target.shape)
        distance = (predicted.double() - target.double()).norm(dim=-1)
        threshold = torch.as_tensor(self.alphas, dtype=torch.float64).to(target.device)[:, None, None] * box_size
        correct = distance < threshold if self.comparison == "<" else distance <= threshold
        row = correct.sum(-1).T.flatten().float()  # variants x alphas; counts are exact in float32
        self.samples.append(torch.cat([row.new_tensor([float(category), len(target)]), row]))

    @override
    def compute(self) -> dict[str, Estimate]:
        """Return the estimate of every alpha and variant."""
        samples = dim_zero_cat(self.samples) if len(self.samples) else torch.zeros(0, device=self.device)
        samples = samples.double().reshape(-1, 2 + len(self.variants) * len(self.alphas))
        category, keypoints = samples[:, 0], samples[:, 1]
        names = [f"PCK@{alpha:g}{variant}" for variant in self.variants for alpha in self.alphas]
        return {
            name: mean_estimate(correct / keypoints)
            if self.aggregation == "pair"
            else category_estimate(correct, keypoints, category)
            for name, correct in zip(names, samples[:, 2:].T, strict=True)
        }


def category_estimate(correct: Tensor, keypoints: Tensor, category: Tensor) -> Estimate:
    """Return the mean over categories of the share of correct keypoints pooled within each.

    Args:
        correct: (N,) correct keypoints of each pair.
        keypoints: (N,) keypoints of each pair, at least 1.
        category: (N,) category of each pair.

    Returns:
        The figure with its standard error over pairs; see ``PercentageOfCorrectKeypoints``.
    """
    nan = correct.new_tensor(torch.nan)
    if not len(correct):
        return Estimate(nan, nan, 0)
    _, index = category.unique(return_inverse=True)

    def total(values: Tensor) -> Tensor:
        return values.new_zeros(int(index.max()) + 1).index_add(0, index, values)

    pairs, points = total(torch.ones_like(correct)), total(keypoints)
    share = total(correct) / points
    residual = (correct - share[index] * keypoints) * (pairs / points)[index]
    one_pair = total(residual**2) / (pairs - 1)  # variance of a single pair's say in its category
    measured = pairs > 1
    one_pair = torch.where(measured, one_pair, one_pair[measured].mean())
    return Estimate(share.mean(), (one_pair / pairs).sum().sqrt() / len(share), len(correct))
