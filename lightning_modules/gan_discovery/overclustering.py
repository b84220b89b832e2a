"""Overclustering of the images that no detector accepts (thesis 4.2.4)."""

import warnings

import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from lightning_modules.gan_discovery.labels import next_label


def over_cluster(
    features: np.ndarray,
    labels: np.ndarray,
    k: int,
    known: int,
    seed: int = 0,
) -> np.ndarray:
    """Return the labels with all images that are not clustered in new clusters by k-means.

    New clusters are numbered from ``labels.next_label`` on without gaps; there are fewer than k where fewer than k
    images differ. With at most k images nothing is done and they stay at -1, as in the official code. That code seeds
    k-means by distances instead of squared distances, always runs 300 iterations and starts again when clusters are
    empty; this is scikit-learn's k-means++ with one start. It numbers from the largest label + 1 on, which is the
    number of a known source as long as no image carries a larger label; ours never does.

    Args:
        features: (N, D) finite.
        labels: (N,) int64.
        k: number of clusters.
        known: number of known sources.
        seed: of the start.

    Returns:
        (N,) int64, a copy.
    """
    result, first = labels.copy(), next_label(labels, known)
    left = labels == -1
    if left.sum() <= k:
        return result
    # With several threads sums are added up in the order in which they finish, and two runs differ.
    with threadpool_limits(1, user_api="openmp"), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer than k samples differ
        found = KMeans(n_clusters=k, n_init=1, max_iter=300, random_state=seed).fit_predict(features[left])
    result[left] = first + np.unique(found, return_inverse=True)[1]
    return result
