"""Merging of clusters whose centroids are nearest to each other (thesis 4.2.5.1)."""

from typing import Literal

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import cdist

from lightning_modules.gan_discovery.labels import centroids, contiguous
from lightning_modules.gan_discovery.wta import WTAHash, hamming

Components = Literal["strong", "weak"]


def merge(
    features: np.ndarray,
    labels: np.ndarray,
    known: int,
    first_new: int,
    distance: WTAHash | Literal["cosine", "euclidean"],
    components: Components = "strong",
) -> np.ndarray:
    """Return the labels after the two stages of merging: of the new clusters, then of all discovered ones.

    Known sources are never merged, as in the official code; the thesis speaks of the whole clustered set.

    Args:
        features: (N, D) finite, raw.
        labels: (N,) int64.
        known: number of known sources.
        first_new: label from which on clusters are new; `labels.next_label` before k-means.
        distance: between centroids, see ``merge_once``.
        components: see ``merge_once``.

    Returns:
        (N,) int64, a copy with contiguous discovered labels.
    """
    merged = merge_once(features, labels, first_new, distance, components)
    return merge_once(features, merged, known, distance, components)


def merge_once(
    features: np.ndarray,
    labels: np.ndarray,
    first: int,
    distance: WTAHash | Literal["cosine", "euclidean"],
    components: Components = "strong",
) -> np.ndarray:
    """Return the labels with clusters from ``first`` on joined along the 1-nearest-neighbour graph of their centroids.

    Each cluster points to its nearest other one, of equally near ones to that with the smallest number. With that
    rule and a symmetric distance the strongly connected components are the pairs of clusters that point to each other
    and single clusters, so that at least half of the clusters are left; weak components leave at most half. Two
    clusters or fewer are left alone, as in the official code.

    Args:
        features: (N, D) finite, raw.
        labels: (N,) int64.
        first: smallest label that is merged.
        distance: a hash for the Hamming distance between hashed centroids, as the thesis says; "euclidean" is the
            official default. The official code's hash option is neither: it averages the codes of all members and
            takes Euclidean distances.
        components: "strong" is both the thesis and the official default; "weak" is the first partition of FINCH.

    Returns:
        (N,) int64, a copy, in which labels from ``first`` on are contiguous, in the order of the smallest old label.
    """
    result = contiguous(labels, first)
    _, means = centroids(features, result, first)
    if len(means) <= 2:
        return result
    nearest = distances(means, distance).argmin(axis=1)
    count = len(nearest)
    graph = csr_array((np.ones(count, np.int8), (np.arange(count), nearest)), shape=(count, count))
    _, component = connected_components(graph, directed=True, connection=components)
    _, smallest, member = np.unique(component, return_index=True, return_inverse=True)
    target = first + smallest.argsort().argsort()[member]
    chosen = result >= first
    result[chosen] = target[result[chosen] - first]
    return result


def distances(means: np.ndarray, distance: WTAHash | Literal["cosine", "euclidean"]) -> np.ndarray:
    """Return the distances (C, C) between centroids (C, D), symmetric, infinite on the diagonal.

    The diagonal keeps a centroid from being its own neighbour. The official code drops the first of two neighbours
    instead, which is another cluster where two centroids are equal.
    """
    if isinstance(distance, WTAHash):
        codes = distance(means)
        apart = hamming(codes, codes, distance.window).astype(np.float64)
    elif distance == "cosine":
        norms = np.linalg.norm(means, axis=1, keepdims=True)
        unit = means / np.where(norms > 0, norms, 1)  # a centroid of zeros is at distance 1 from all
        apart = 1 - unit @ unit.T
    else:
        apart = cdist(means, means)
    np.fill_diagonal(apart, np.inf)
    return apart
