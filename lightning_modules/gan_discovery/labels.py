"""Labels of the discovery set: -1 is not clustered, 0..known-1 are known sources, discovered clusters follow."""

import numpy as np


def contiguous(labels: np.ndarray, known: int) -> np.ndarray:
    """Return the labels with the discovered clusters numbered from ``known`` on without gaps, in their old order.

    Known sources keep their numbers, also where no image carries some of them. The official code renumbers known
    sources and clusters together after k-means, so that a source without images moves all that follow.

    Args:
        labels: (N,) int64, at least -1.
        known: number of known sources.

    Returns:
        (N,) int64, a copy.
    """
    result = labels.copy()
    discovered = labels >= known
    result[discovered] = known + np.unique(labels[discovered], return_inverse=True)[1]
    return result


def next_label(labels: np.ndarray, known: int) -> int:
    """Return the label that the next new cluster gets: above all labels (N,), and never that of a known source."""
    return max(known, int(labels.max(initial=-1)) + 1)


def centroids(features: np.ndarray, labels: np.ndarray, first: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the groups of samples with a label of at least ``first``, and the mean features of each.

    Args:
        features: (N, D) finite.
        labels: (N,) int64.
        first: smallest label that counts.

    Returns:
        (C,) int64 labels, ascending, and (C, D) float64 means.
    """
    chosen = labels >= first
    groups, member = np.unique(labels[chosen], return_inverse=True)
    sums = np.empty((len(groups), features.shape[1]))
    for dimension in range(features.shape[1]):  # one column after another: no float64 copy of all features
        sums[:, dimension] = np.bincount(member, features[chosen, dimension], len(groups))
    return groups, sums / np.bincount(member, minlength=len(groups))[:, None]
