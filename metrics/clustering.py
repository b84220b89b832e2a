"""How well clusters of features agree with labels: purity, normalised mutual information, adjusted Rand index."""

import warnings
from collections.abc import Sequence

import numpy as np
from joblib import Parallel, delayed
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix
from threadpoolctl import threadpool_limits

SCORES = ("purity", "NMI", "ARI")


def purity(labels: np.ndarray, clusters: np.ndarray) -> float:
    """Return the share of samples that carry the most frequent label of their cluster.

    Args:
        labels: (N,) of any kind; N >= 1.
        clusters: (N,) of any kind.

    Returns:
        In (0, 1]; 1 as soon as every sample has a cluster of its own, so compare it at an equal number of clusters.
        Thesis 2.4.2.
    """
    return float(contingency_matrix(labels, clusters).max(axis=0).sum() / len(labels))


def cluster(features: np.ndarray, k: int, seed: int = 0) -> np.ndarray:
    """Return the cluster of each sample by k-means, the best of ten starts.

    The official code of chapter 2 is of 2022, when ten starts were what scikit-learn did unasked; since 1.4 it does
    one. Features are clustered as they are, neither standardised nor brought to length one. One OpenMP thread: with
    several, sums are added up in the order in which the threads finish, and two runs differ.

    Args:
        features: (N, C), finite.
        k: number of clusters, at most N; where fewer than k samples differ, some clusters stay empty.
        seed: of the starts.

    Returns:
        (N,) integers in [0, k).

    Raises:
        ValueError: more clusters than samples.
    """
    # "openmp" counts threads for the calling thread only, so concurrent calls leave each other's setting alone.
    with threadpool_limits(1, user_api="openmp"), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer than k samples differ
        return KMeans(n_clusters=k, n_init=10, random_state=seed).fit_predict(features)


def clustering_scores(
    features: Sequence[np.ndarray], labels: np.ndarray, k: int, seed: int = 0, jobs: int = 1
) -> np.ndarray:
    """Return how well the clusters of each of L features agree with the labels of the same samples.

    Args:
        features: L arrays (N, C), finite.
        labels: (N,).
        k: number of clusters.
        seed: of k-means.
        jobs: features that are clustered at the same time, each on one thread; the result does not depend on it.

    Returns:
        (L, 3) float64: purity, NMI (arithmetic mean of the entropies) and ARI, as in thesis 2.7.5.5.
    """

    def scores(one: np.ndarray) -> tuple[float, float, float]:
        found = cluster(one, k, seed)
        mutual = normalized_mutual_info_score(labels, found, average_method="arithmetic")
        return purity(labels, found), float(mutual), float(adjusted_rand_score(labels, found))

    # k-means sets the threads of BLAS to one and back; concurrent calls would put back each other's one for good.
    with threadpool_limits(1, user_api="blas"):
        return np.array(Parallel(n_jobs=jobs, prefer="threads")(delayed(scores)(one) for one in features))
