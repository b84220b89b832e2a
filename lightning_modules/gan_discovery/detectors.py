"""Detectors of what is in distribution: one for each known source and discovered cluster (thesis 4.2.3, Eq. 4.2)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lightning_modules.gan_discovery.wta import chunks, embed, from_inner

Distance = Literal["hamming", "cosine"]
COSINE_BINS = 2**20  # of [0, 2] when thresholds are counted


@dataclass(frozen=True)
class Detectors:
    """One detector a class: it accepts what is nearer to the class, on average over its members, than a threshold.

    The mean distance to all members is linear in them, because both distances are inner products of embedded samples.
    One product with the sum of the members does the work of one with each of them. For codes all sums are integers,
    so that distances do not depend on the order of addition.

    Attributes:
        classes: (C,) int64 labels.
        sums: (C, E) float64 sums of the embedded members.
        counts: (C,) int64 members. A class without any is at infinite distance from everything.
        thresholds: (C,) float64 distances.
        distance: "hamming" between codes, "cosine" between features.
        window: K of the codes.
    """

    classes: np.ndarray
    sums: np.ndarray
    counts: np.ndarray
    thresholds: np.ndarray
    distance: Distance = "hamming"
    window: int = 2

    def distances(self, samples: np.ndarray) -> np.ndarray:
        """Return the mean distance of each sample to each class, Eq. 4.2.

        Args:
            samples: (N, H) uint8 codes in [0, window), or (N, D) features for the cosine distance.

        Returns:
            (N, C) float64; the Hamming distance in differing hashes, from 0 to H.
        """
        found = np.empty((len(samples), len(self.classes)))
        members = np.maximum(self.counts, 1)
        for part in chunks(len(samples), 8 * max(self.sums.shape)):
            inner = embedded(samples[part], self.distance, self.window, np.float64) @ self.sums.T
            found[part] = apart(inner / members, self.distance, samples.shape[1], self.window)  # Eq. 4.2
        found[:, self.counts == 0] = np.inf
        return found

    def accepted(self, samples: np.ndarray) -> np.ndarray:
        """Return (N, C) bool, whether each class takes each sample for its own: mean distance < threshold."""
        inside = np.empty((len(samples), len(self.classes)), bool)
        for part in chunks(len(samples), 8 * max(self.sums.shape)):  # distances of all are eight times as large
            inside[part] = self.distances(samples[part]) < self.thresholds
        return inside


def fit_detectors(
    samples: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[int],
    percentile: float = 0.9,
    members: int | None = 4000,
    distance: Distance = "hamming",
    window: int = 2,
    seed: int = 0,
) -> Detectors:
    """Return a detector for each class with a threshold from the distances between its own members.

    The threshold lies among all n^2 distances of ordered pairs, each sample with itself among them. It is the k-th
    largest with k = max(1, int(n^2 (1 - percentile))), which is what the official code takes by `torch.topk`: one place
    above numpy's "inverted_cdf", or two where n^2 (1 - percentile) is rounded to below a whole number. The official
    code ranks distances as float16, which rounds those above 2048. Here they are counted by value, block by block, so
    that memory does not grow with n^2. Hamming distances are integers and nothing is lost; cosine distances are rounded
    to 2^20 steps of [0, 2], at most 10^-6 off.

    The threshold is a distance between pairs, the statistic a mean of distances, which varies less: far fewer than
    1 - percentile of a class are refused. A class with one image, or of equal ones, has the threshold 0 and accepts
    nothing, as in the official code; with two images it is the distance between them.

    Args:
        samples: (N, H) uint8 codes, or (N, D) features for the cosine distance.
        labels: (N,) int64; samples with a label outside ``classes`` play no part.
        classes: C labels.
        percentile: beta of table 4.17, in (0, 1).
        members: the most members of a class that its threshold is taken from, drawn at random; None takes all, as the
            official code does, in time quadratic in them. The mean distance is always to all members.
        distance: see ``Detectors``.
        window: K of the codes.
        seed: of the draw of members; a class' own draw does not depend on the other classes.
    """
    width = embedded(samples[:1], distance, window, np.float64).shape[1]
    sums, counts = np.zeros((len(classes), width)), np.zeros(len(classes), np.int64)
    thresholds = np.zeros(len(classes))
    for row, label in enumerate(classes):
        own = np.flatnonzero(labels == label)
        counts[row] = len(own)
        for part in chunks(len(own), 8 * width):
            sums[row] += embedded(samples[own[part]], distance, window, np.float64).sum(axis=0)
        if members is not None and len(own) > members:
            own = np.sort(np.random.default_rng((seed, label)).choice(own, members, replace=False))
        if len(own):
            thresholds[row] = threshold(samples[own], percentile, distance, window)
    return Detectors(
        np.asarray(classes, np.int64), sums, counts, thresholds=thresholds, distance=distance, window=window
    )


def threshold(samples: np.ndarray, percentile: float, distance: Distance, window: int) -> float:
    """Return the threshold of one class from the samples (n, H or D) of it, n >= 1; see ``fit_detectors``."""
    counts = pair_counts(samples, distance, window)
    values = np.arange(len(counts)) * (1.0 if distance == "hamming" else 2 / COSINE_BINS)
    pairs = len(samples) ** 2
    rank = max(1, int(pairs * (1 - percentile)))
    return float(values[np.searchsorted(counts.cumsum(), pairs - rank, side="right")])


def pair_counts(samples: np.ndarray, distance: Distance, window: int, block: int = 1024) -> np.ndarray:
    """Return how many of the n^2 ordered pairs of samples have each distance, (B,) int64.

    Bins are whole numbers of hashes from 0 to H, or COSINE_BINS steps of [0, 2]. Only one half of the pairs is
    computed: a block above the diagonal counts twice.
    """
    columns = samples.shape[1]
    scale, bins = (1.0, columns + 1) if distance == "hamming" else (COSINE_BINS / 2, COSINE_BINS + 1)
    counts = np.zeros(bins, np.int64)
    for start in range(0, len(samples), block):
        first = embedded(samples[start : start + block], distance, window)
        for other in range(start, len(samples), block):
            second = first if other == start else embedded(samples[other : other + block], distance, window)
            found = apart(first @ second.T, distance, columns, window)
            found *= scale
            np.rint(found, out=found)
            counts += np.bincount(found.ravel().astype(np.int64), minlength=bins) * (1 if other == start else 2)
    return counts


def embedded(samples: np.ndarray, distance: Distance, window: int, dtype: type = np.float32) -> np.ndarray:
    """Return (N, E) vectors whose inner products give the distance: embedded codes, or features of length one."""
    if distance == "hamming":
        return embed(samples, window, dtype)
    lengths = np.linalg.norm(samples.astype(dtype), axis=1, keepdims=True)
    return samples.astype(dtype) / np.where(lengths > 0, lengths, 1)  # zeros are at distance 1 from everything


def apart(inner: np.ndarray, distance: Distance, columns: int, window: int) -> np.ndarray:
    """Return distances from inner products of embedded samples; rounding never takes a cosine out of [0, 2]."""
    return from_inner(inner, columns, window) if distance == "hamming" else np.clip(1 - inner, 0, 2)
