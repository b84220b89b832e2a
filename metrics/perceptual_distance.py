"""How far two images are apart in the features of a network."""

from torch import Tensor
from torch.nn import functional as F


def feature_distance(features: Tensor, truth: Tensor) -> Tensor:
    """Return the mean over the cells of 1 - cosine similarity of the features of two images.

    LPIPS has this form for each layer, with a learned weight for every channel (R. Zhang et al., "The unreasonable
    effectiveness of deep features as a perceptual metric", CVPR 2018), but figures of other networks are not LPIPS.

    Args:
        features: (B, C, h, w).
        truth: (B, C, h, w).

    Returns:
        (B,) float32 in [0, 2].
    """
    return 1 - F.cosine_similarity(features.float(), truth.float(), dim=1).flatten(1).mean(1)
