"""The objectives of a SyncNet: one pair at a time, or one moment among several of a clip."""

import torch
from torch import Tensor
from torch.nn import functional as F

from networks.sync_network import precise


def pair_loss(logits: Tensor, together: Tensor) -> Tensor:
    """Return the binary cross-entropy of pairs of picture and sound, the loss of Wav2Lip's expert.

    With the cosine as the probability it is -log cos for pairs that belong together and -log(1 - cos) for others. At
    ln 2 = 0.693 nothing is known yet.

    Args:
        logits: (P,) of the probability that they belong together.
        together: (P,) whether they do.
    """
    with torch.autocast(logits.device.type, enabled=False):  # a cosine near 1 has two digits in bfloat16
        return F.binary_cross_entropy_with_logits(precise(logits), together.to(precise(logits)))


def balanced_pair_loss(logits: Tensor) -> Tensor:
    """Return the pair loss over all pairs of each clip's moments, true and false ones counting half each.

    Args:
        logits: (B, W, W), W at least 2, of the probability that picture w and sound v belong together, which they do
            where w = v.
    """
    with torch.autocast(logits.device.type, enabled=False):
        clips, moments = logits.shape[:2]
        together = torch.eye(moments, device=logits.device)
        weight = together / moments + (1 - together) / (moments * (moments - 1))
        every = together.expand_as(logits)
        return F.binary_cross_entropy_with_logits(logits.float(), every, weight, reduction="sum") / (2 * clips)


def contrastive_loss(video: Tensor, audio: Tensor, temperature: Tensor) -> Tensor:
    """Return the cross-entropy of finding each window's sound among those of its clip, and its picture likewise.

    The symmetric InfoNCE (van den Oord et al., "Representation learning with contrastive predictive coding", 2018)
    among the windows of one clip, where person and voice are the same and only the moment differs.

    Args:
        video: (B, W, D) embeddings of unit length of W windows of B clips.
        audio: (B, W, D) of their sound.
        temperature: scalar.
    """
    with torch.autocast(video.device.type, enabled=False):
        logits = precise(video) @ precise(audio).transpose(1, 2) / precise(temperature)
        own = torch.arange(logits.shape[1], device=logits.device).repeat(len(logits))
        # Flat, because on a GPU the loss of (B, W, W) adds up in an order that varies.
        return (F.cross_entropy(logits.flatten(0, 1), own) + F.cross_entropy(logits.mT.flatten(0, 1), own)) / 2
