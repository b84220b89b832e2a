"""Whether a SyncNet tells pictures with their own sound from pictures with the sound of another moment of the clip."""

import zlib

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat
from typing_extensions import override

from metrics.estimate import Estimate, ratio_estimate

APART = 5  # frames between the two windows of a false pair at least, so that they share none


class SyncPairs(Metric):
    """Accuracy and AUC over true and false pairs, with standard errors over clips, whose windows overlap.

    Returns:
        ``compute`` gives "accuracy", the share of pairs on their side of the threshold, and "AUC", how often a true
        pair has a higher cosine than a false one of any clip, to ``Estimate`` whose count is the clips. Errors are
        those of clustered data: N. Obuchowski, "Nonparametric analysis of clustered ROC curve data", Biometrics 1997.
    """

    full_state_update = False
    samples: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        # One flat state: torchmetrics gathers an empty float vector from a rank that has seen no clip.
        self.add_state("samples", default=[], dist_reduce_fx="cat")

    @override
    def update(self, true: Tensor, false: Tensor, threshold: Tensor | float) -> None:
        """Add the pairs of a clip.

        Args:
            true: (P,) cosines of pictures with their own sound; P = 0 adds nothing.
            false: (P,) of pictures with other sound.
            threshold: above which a cosine stands for a true pair.
        """
        if not len(true):
            return
        correct = (true > threshold).float() + (false <= threshold).float()
        first = torch.zeros_like(correct)
        first[0] = 1  # a clip begins
        self.samples.append(torch.stack([true.float(), false.float(), correct, first], dim=1).flatten())

    @override
    def compute(self) -> dict[str, Estimate]:
        """Return the two estimates."""
        samples = dim_zero_cat(self.samples) if len(self.samples) else torch.zeros(0, device=self.device)
        true, false, correct, first = samples.double().reshape(-1, 4).T
        clip = first.cumsum(0).long() - 1
        clips = int(first.sum())

        def total(values: Tensor) -> Tensor:
            return values.new_zeros(clips).index_add(0, clip, values)

        return {
            "accuracy": ratio_estimate(total(correct), total(torch.full_like(correct, 2))),
            "AUC": clustered_auc(true, false, clip),
        }


def clustered_auc(true: Tensor, false: Tensor, cluster: Tensor) -> Estimate:
    """Return the area under the ROC curve with its standard error over clusters.

    Args:
        true: (P,) float64 scores that should be high.
        false: (P,) float64 scores that should be low; row p is of the same cluster as row p of ``true``.
        cluster: (P,) int64, numbers of the clusters from 0.

    Returns:
        The area; NaN where there is no score, or one is not finite.
    """
    nan = true.new_tensor(torch.nan)
    pairs, clusters = len(true), int(cluster.max()) + 1 if len(cluster) else 0
    if not pairs:
        return Estimate(nan, nan, 0)
    if not (true.isfinite().all() and false.isfinite().all()):
        return Estimate(nan, nan, clusters)  # sorted, they would count as high
    beaten = _share_below(false, true)  # of the false scores, by each true one
    beating = 1 - _share_below(true, false)
    area = beaten.mean()
    if clusters < 2:
        return Estimate(area, nan, clusters)
    both = (beaten - area) + (beating - area)
    by_cluster = true.new_zeros(clusters).index_add(0, cluster, both)
    return Estimate(area, (by_cluster.square().sum() * clusters / (clusters - 1)).sqrt() / pairs, clusters)


def _share_below(scores: Tensor, bounds: Tensor) -> Tensor:
    """Return the share of scores below each bound; those that are equal count half."""
    ordered, bounds = scores.sort().values, bounds.contiguous()
    left, right = (torch.searchsorted(ordered, bounds, right=side) for side in (False, True))
    return (left + right).double() / (2 * len(scores))


def held_out_pairs(
    video: Tensor, audio: Tensor, known: Tensor | None = None, name: str = "", apart: int = APART
) -> tuple[Tensor, Tensor]:
    """Return the cosines of the true pairs of a clip and of as many false ones: sound fixed, pictures moved.

    Args:
        video: (V, D) embeddings of unit length.
        audio: (V, D).
        known: (V,) bool, windows that show a face throughout; all if None.
        name: of the clip, from which the false partners are drawn, so that they are the same in every run.
        apart: least number of frames between the two windows of a false pair.

    Returns:
        (P,) and (P,), of the known windows that have another one far enough away.
    """
    index = torch.arange(len(video)) if known is None else known.cpu().nonzero().flatten()
    near = torch.searchsorted(index, index - apart, right=True)  # the first that is too near, and behind the last
    behind = torch.searchsorted(index, index + apart)
    candidates = len(index) - (behind - near)
    usable = candidates > 0
    index, near, behind, candidates = (each[usable] for each in (index, near, behind, candidates))
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode(errors="surrogateescape")))
    drawn = (torch.rand(len(index), generator=generator, dtype=torch.float64) * candidates).long()
    everyone = torch.arange(len(video)) if known is None else known.cpu().nonzero().flatten()
    other = everyone[torch.where(drawn < near, drawn, drawn + behind - near)]
    own, moved = index.to(video.device), other.to(video.device)
    sound = audio[own]
    return (video[own] * sound).sum(1), (video[moved] * sound).sum(1)
