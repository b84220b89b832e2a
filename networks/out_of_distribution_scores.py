"""Scores of out-of-distribution detection that the hash of chapter 4 is compared with; higher is more inside."""

from collections.abc import Callable

import torch
from torch import Tensor

_AT_ONCE = 2**25  # similarities at once: bounds the memory of the nearest neighbours


def max_softmax(logits: Tensor) -> Tensor:
    """Return the probability of the likeliest class.

    Args:
        logits: (N, C).

    Returns:
        (N,) in [1/C, 1]. Hendrycks and Gimpel, ICLR 2017.
    """
    return logits.softmax(1).amax(1)


def energy(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Return the negative free energy, T log sum exp(logits / T).

    Args:
        logits: (N, C).
        temperature: T > 0; 1 as its authors advise.

    Returns:
        (N,). Liu et al., NeurIPS 2020, Eq. 4, with the sign of their score.
    """
    return temperature * (logits / temperature).logsumexp(1)


def odin(
    model: Callable[[Tensor], Tensor], images: Tensor, temperature: float = 1000.0, epsilon: float = 0.0014
) -> Tensor:
    """Return ODIN's score: the likeliest class of images that were changed so that it becomes likelier.

    Args:
        model: images to logits (N, C), differentiable with respect to images, in evaluation mode.
        images: (N, 3, H, W), in the range that ``epsilon`` refers to; they may leave it by ``epsilon``.
        temperature: of the softmax; 1000 as its authors found.
        epsilon: by how much every value is changed; 0.0014 is its authors' for images in [0, 1], found on samples
            outside the distribution. 0 leaves the images as they are.

    Returns:
        (N,) in [1/C, 1]. Liang et al., ICLR 2018, Eqs. 1 and 2.
    """
    with torch.enable_grad():
        changed = images.detach().clone().requires_grad_()
        # The log turns Eq. 2 into one sign: images move up the gradient of the likeliest class.
        log_probability = (model(changed) / temperature).log_softmax(1).amax(1)
        (gradient,) = torch.autograd.grad(log_probability.sum(), changed)
    with torch.no_grad():
        return max_softmax(model(images + epsilon * gradient.sign()) / temperature)


def nearest_neighbours(features: Tensor, reference: Tensor, k: int = 50) -> Tensor:
    """Return the negative Euclidean distance to the k-th nearest reference, all features brought to length one.

    Args:
        features: (N, d).
        reference: (M, d) of the training samples, none of them among ``features``.
        k: from 1 on; the farthest of fewer references. Its authors take 50 for ten classes.

    Returns:
        (N,) in [-2, 0]. Sun et al., ICML 2022.

    Raises:
        ValueError: no reference, or k below 1.
    """
    if not len(reference) or k < 1:
        raise ValueError(f"nearest neighbours need references ({len(reference)}) and k >= 1 ({k})")
    features, reference = (torch.nn.functional.normalize(each, dim=1) for each in (features, reference))
    rows, k = max(1, _AT_ONCE // len(reference)), min(k, len(reference))
    nearest = [(some @ reference.T).topk(k, 1).values[:, -1] for some in features.split(rows)]
    similarity = torch.cat(nearest) if nearest else features.new_zeros(0)
    return -(2 - 2 * similarity).clamp(min=0).sqrt()
