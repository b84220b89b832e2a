"""The losses of LSR beside the adversarial one, which stands in ``networks.gan.losses``."""

from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from networks.sync_network import precise

LatentPenalty = Literal["mean", "norm"]


def segmentation_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return X-ent of Eq. 6.2: the cross-entropy of a predicted layout and the oracle's, mean over pixels and batch.

    Args:
        logits: (B, C, S, S) of the labels.
        labels: (B, S, S) integers of 0 to C - 1, the oracle's label map of the target.
    """
    pixels = (
        precise(logits).movedim(1, -1).flatten(0, -2)
    )  # of which a GPU takes the mean in a fixed order, of maps not
    return F.cross_entropy(pixels, labels.long().flatten())


def latent_penalty(code: Tensor, kind: LatentPenalty = "mean") -> Tensor:
    """Return the L2 term of Eq. 6.4 for averaged latent codes (B, D), mean over the batch.

    Args:
        code: z^l or z^s.
        kind: "norm" for ||z||^2 as in Eq. 6.4, or "mean" for its D-th part as in the official code.
    """
    squared = precise(code).square()
    return squared.mean() if kind == "mean" else squared.sum(1).mean()


def pixel_loss(image: Tensor, truth: Tensor) -> Tensor:
    """Return the L1 part of L_rec in Eq. 6.4: the mean absolute difference of images (B, 3, S, S) in [-1, 1]."""
    return F.l1_loss(precise(image), precise(truth))
