"""How well, and at which offset, the pictures and the sound of a clip fit, by the embeddings of a SyncNet."""

from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat
from typing_extensions import override

from metrics.estimate import Estimate, mean_estimate

REACH = 15  # frames: 0.6 s
# Confidence from which on an offset means something. With weights/syncnet.safetensors the true offsets of drawn people
# with espeak-ng's voices had 0.12 or more; other speech, noise, music and silence 0.065 at most (2026-11-30).
SURE = 0.1
LEAST_WINDOWS = 5  # that an offset is judged by
LEAST_OFFSETS = 3  # among which one can stand out
_AT_ONCE = 4096  # windows


class SyncScore(NamedTuple):
    """What a SyncNet says of a clip.

    Attributes:
        offset: k in frames at which picture and sound fit best: the video's window s fits the sound's window s + k, so
            above 0 the sound is late. None if the clip is too short to say, or its embeddings are not finite.
        confidence: Sync_c, the median over offsets of their mean distances less the smallest; NaN without an offset.
        distance: Sync_d, the smallest mean distance; NaN without an offset.
    """

    offset: int | None
    confidence: float
    distance: float


def sync_scores(video: Tensor, audio: Tensor, reach: int = REACH, known: Tensor | None = None) -> SyncScore:
    """Return offset, confidence and distance of a clip, the Sync_c and Sync_d of thesis 6.2.2.1.

    Args:
        video: (V, D) embeddings of the windows that start at frames 0 to V - 1, of unit length.
        audio: (V, D) of their sound.
        reach: the largest offset tried, in frames. Of short clips fewer are tried, see ``offset_distances``.
        known: (V,) bool, windows that show a face throughout; all if None.

    Returns:
        The score. Distances are Euclidean, in [0, 2]; those of Chung and Zisserman's own network, whose embeddings have
        other lengths, are on another scale.

    J. S. Chung, A. Zisserman, "Out of time: automated lip sync in the wild", ACCV workshops 2016.
    """
    offsets, distances = offset_distances(video, audio, reach, known)
    if len(offsets) < LEAST_OFFSETS or not distances.isfinite().all():
        return SyncScore(None, float("nan"), float("nan"))
    best = int(distances.argmin())
    confidence = distances.quantile(0.5) - distances[best]
    return SyncScore(int(offsets[best]), float(confidence), float(distances[best]))


def offset_distances(
    video: Tensor, audio: Tensor, reach: int = REACH, known: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the offsets that can be judged, and the mean distance of picture and sound at each.

    An offset k pairs the video's window s with the sound's window s + k wherever there are both, and is judged by at
    least 5 such pairs. SyncNet's own evaluation pads the sound with zeros instead, whose distances say nothing.

    Args:
        video: (V, D).
        audio: (V, D).
        reach: the largest offset.
        known: (V,) bool, windows of the video that count; all if None.

    Returns:
        (K,) int64 in rising order, and (K,) float64, on the CPU.
    """
    windows = len(video)
    known = torch.ones(windows, dtype=torch.bool) if known is None else known.cpu()
    offsets, distances = [], []
    for offset in range(-min(reach, windows), min(reach, windows) + 1):
        first, last = max(0, -offset), min(windows, windows - offset)
        paired = known[first:last]
        if int(paired.sum()) < LEAST_WINDOWS:
            continue
        total = 0.0
        for start in range(first, last, _AT_ONCE):
            stop = min(start + _AT_ONCE, last)
            apart = (video[start:stop].double() - audio[start + offset : stop + offset].double()).norm(dim=1)
            total += float(apart.cpu()[known[start:stop]].sum())
        offsets.append(offset)
        distances.append(total / int(paired.sum()))
    return torch.tensor(offsets, dtype=torch.int64), torch.tensor(distances, dtype=torch.float64)


class LipSync(Metric):
    """Offsets, Sync_c and Sync_d over clips.

    Args:
        reach: the largest offset tried, in frames.

    Returns:
        ``compute`` gives "Sync_c", "Sync_d", "offset" the mean absolute one in frames, and "within 1 frame" the share
        of clips whose offset is at most 1, to ``Estimate`` over clips. Clips that are too short do not count.
    """

    full_state_update = False
    samples: list[Tensor]

    def __init__(self, reach: int = REACH):
        super().__init__()
        self.reach = reach
        # One flat state: torchmetrics gathers an empty float vector from a rank that has seen no clip.
        self.add_state("samples", default=[], dist_reduce_fx="cat")

    @override
    def update(self, video: Tensor, audio: Tensor, known: Tensor | None = None) -> None:
        """Add a clip; see ``sync_scores``."""
        score = sync_scores(video, audio, self.reach, known)
        if score.offset is not None:
            row = [float(score.offset), score.confidence, score.distance]
            self.samples.append(torch.tensor(row, device=self.device))

    def rows(self) -> Tensor:
        """Return (N, 3) float64: offset, Sync_c and Sync_d of every clip; after ``compute`` those of all processes."""
        samples = dim_zero_cat(self.samples) if len(self.samples) else torch.zeros(0, device=self.device)
        return samples.double().reshape(-1, 3)

    @override
    def compute(self) -> dict[str, Estimate]:
        """Return the four estimates."""
        offset, confidence, distance = self.rows().T
        return {
            "Sync_c": mean_estimate(confidence),
            "Sync_d": mean_estimate(distance),
            "offset": mean_estimate(offset.abs()),
            "within 1 frame": mean_estimate((offset.abs() <= 1).double()),
        }

    def histogram(self) -> Tensor:
        """Return the number of clips (2 reach + 1,) int64 at every offset from -reach to reach, of all processes.

        Collective where there are several.
        """
        with self.sync_context():
            offsets = self.rows()[:, 0].long().cpu()
            return torch.bincount(offsets + self.reach, minlength=2 * self.reach + 1)
