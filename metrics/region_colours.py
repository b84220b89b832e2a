"""Whom the colours of a picture's regions name: skin, hair, clothes and what is behind."""

import torch
from torch import Tensor

# Labels of CelebAMask-HQ.
REGIONS = {"background": (0,), "skin": (1, 2, 17), "lips": (11, 12), "hair": (13,), "hat": (14,), "cloth": (18,)}
LEAST_PIXELS = 4  # of a region that has a colour


def region_colours(images: Tensor, labels: Tensor) -> Tensor:
    """Return the mean colour of every region of ``REGIONS``.

    Args:
        images: (N, 3, H, W) in [0, 1].
        labels: (N, H, W), where the regions are.

    Returns:
        (N, R, 3) float64; NaN for a region of fewer than ``LEAST_PIXELS`` pixels.
    """
    inside = torch.stack([torch.isin(labels, labels.new_tensor(numbers)) for numbers in REGIONS.values()], 1)
    weights = inside.flatten(2).double()
    pixels = weights.sum(2, keepdim=True)
    colours = weights @ images.double().flatten(2).transpose(1, 2) / pixels
    return torch.where(pixels >= LEAST_PIXELS, colours, torch.nan)


def nearest_colours(colours: Tensor, candidates: Tensor) -> Tensor:
    """Return which candidate has the most alike colours.

    The distance is the mean of the Euclidean distances over the regions that both have.

    Args:
        colours: (N, R, 3) of pictures, NaN where there is no region.
        candidates: (P, R, 3) of people, in the same way.

    Returns:
        (N,) int64, numbers of candidates; the first of equal ones.
    """
    distances = (colours[:, None] - candidates[None]).norm(dim=3).nanmean(2)
    return distances.nan_to_num(torch.inf).argmin(1)
