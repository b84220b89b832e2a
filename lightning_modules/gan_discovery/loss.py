"""The loss of thesis 4.2.2, and the one of the official code."""

import torch
from torch import Tensor
from torch.nn import functional as F


def set_balanced_cross_entropy(logits: Tensor, labels: Tensor, discovered: Tensor, counts: tuple[int, int]) -> Tensor:
    """Return Eq. 4.1: the mean over the clustered images plus the mean over the labelled ones.

    A batch is a random part of both sets together, so each image is weighted by (n_s + n_c) / n of its own set: over
    an epoch this is Eq. 4.1 however the two are mixed. Without clustered images it is the mean over the labelled.

    Args:
        logits: (B, C).
        labels: (B,) int64 in [0, C).
        discovered: (B,) bool, whether an image is of the discovery set.
        counts: n_s, n_c: labelled and clustered images in the training set.
    """
    labelled, clustered = counts
    total = labelled + clustered
    losses = F.cross_entropy(logits, labels, reduction="none")
    weights = losses.new_tensor([total / max(labelled, 1), total / max(clustered, 1)])
    return (weights[discovered.long()] * losses).mean()  # Eq. 4.1


def class_balanced_cross_entropy(logits: Tensor, labels: Tensor, class_counts: Tensor) -> Tensor:
    """Return the official code's loss: cross-entropy in which a class weighs as the largest one has times its images.

    The official code orders the weights of discovered clusters as strings ("0", "1", "10", ...), from eleven clusters
    on those of others; here a class has its own.

    Args:
        logits: (B, C).
        labels: (B,) int64.
        class_counts: (C,) images of every class in the training set; a class without any weighs nothing.
    """
    counts = class_counts.double()
    weights = torch.where(counts > 0, counts.max() / counts.clamp(min=1), 0)
    return F.cross_entropy(logits, labels, weights.to(logits.dtype))
