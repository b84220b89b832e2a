"""How well discovered clusters of images agree with the sources of the images (thesis 4.3.1)."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from metrics.clustering import purity

UNCLUSTERED = -1
_AT_ONCE = 2**23  # similarities at once: bounds the memory of the attribution to the nearest centroids


@dataclass(frozen=True)
class SourceDiscoveryScores:
    """How good clusters are.

    Attributes:
        purity: average purity in (0, 1], of the samples that were scored; NaN if no sample is clustered.
        nmi: normalised mutual information in [0, 1] (arithmetic mean of the entropies), or NaN likewise.
        ari: adjusted Rand index, at most 1, or NaN likewise.
        clusters: number of clusters with members, known sources included.
        clustered: share of the samples that are in a cluster.
        sources_discovered: number of sources that are the majority of at least one cluster.
        sources: number of sources that there are samples of.
    """

    purity: float
    nmi: float
    ari: float
    clusters: int
    clustered: float
    sources_discovered: int
    sources: int


@dataclass(frozen=True)
class AttributionAccuracy:
    """Share of the samples that are rightly taken for known or for unknown (Table 4.13); NaN where there are none.

    Attributes:
        inside: of the samples of known sources.
        outside: of the samples of unknown sources.
        net: of all samples.
    """

    inside: float
    outside: float
    net: float


@dataclass(frozen=True)
class ClusteringAccuracy:
    """Share of the samples whose cluster is the one that stands for their source; NaN where there are none.

    Attributes:
        all: of all samples.
        known: of the samples of known sources ("old" in generalised category discovery).
        novel: of the samples of unknown sources ("new").
    """

    all: float
    known: float
    novel: float


def scores_of_clustered(labels: np.ndarray, truth: np.ndarray) -> SourceDiscoveryScores:
    """Return the scores of the clustered samples alone: "Refine (Discovered)" of Table 4.3.

    Args:
        labels: (N,) integers, -1 for samples that are not clustered; N >= 1.
        truth: (N,) integers, the source of each sample.
    """
    return _scores(labels, truth, labels)


def scores_of_all(labels: np.ndarray, truth: np.ndarray, features: np.ndarray) -> SourceDiscoveryScores:
    """Return the scores of all samples, those not clustered attributed to their nearest clusters (4.3.1).

    The attribution counts for purity, NMI and ARI alone. The clustered share and the sources discovered are those of
    the clusters as they were found.

    Args:
        labels: (N,) integers, -1 for samples that are not clustered; N >= 1.
        truth: (N,) integers, the source of each sample.
        features: (N, d) raw, see ``nearest_centroids``.
    """
    return _scores(labels, truth, nearest_centroids(labels, features))


def _scores(labels: np.ndarray, truth: np.ndarray, scored: np.ndarray) -> SourceDiscoveryScores:
    counted, clustered = scored != UNCLUSTERED, labels != UNCLUSTERED
    found, true = scored[counted], truth[counted]
    pure = mutual = rand = float("nan")
    if len(found):
        pure, rand = purity(true, found), float(adjusted_rand_score(true, found))
        mutual = float(normalized_mutual_info_score(true, found, average_method="arithmetic"))
    return SourceDiscoveryScores(
        pure,
        mutual,
        rand,
        clusters=len(np.unique(labels[clustered])),
        clustered=float(clustered.mean()),
        sources_discovered=len(np.unique(majorities(labels, truth)[1])),
        sources=len(np.unique(truth)),
    )


def majorities(labels: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the clusters, the most frequent source of each, and its share of the members.

    The samples that are not clustered are no cluster, although the official code counts them as one, which can add a
    source to those discovered.

    Args:
        labels: (N,) integers, -1 for samples that are not clustered.
        truth: (N,) integers, the source of each sample.

    Returns:
        (C,) labels in ascending order, (C,) sources, the lowest of those equally frequent, (C,) float64 in (0, 1].
    """
    clustered = labels != UNCLUSTERED
    names, cluster = np.unique(labels[clustered], return_inverse=True)
    sources, source = np.unique(truth[clustered], return_inverse=True)
    counts = np.zeros((len(names), len(sources)), np.int64)
    np.add.at(counts, (cluster, source), 1)
    if not len(names):
        return names, sources, np.zeros(0)
    return names, sources[counts.argmax(1)], counts.max(1) / counts.sum(1)


def nearest_centroids(labels: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Return labels in which every sample is clustered, those that were not in the cluster of the nearest centroid.

    The centroid is the mean of a cluster's features, near means a high cosine, as in the official code; the thesis
    says only "nearest" (4.3.1). Clusters of known sources count too. A sample without any active feature is as near
    to one centroid as to another and goes to the lowest label.

    Args:
        labels: (N,) integers, -1 for samples that are not clustered; left as they are (the official code changes
            them, and what comes after it).
        features: (N, d) raw, not standardised.

    Returns:
        (N,) labels; those given if no sample is clustered.
    """
    completed, clustered = labels.copy(), labels != UNCLUSTERED
    names, cluster = np.unique(labels[clustered], return_inverse=True)
    if not len(names):
        return completed
    sums = np.zeros((len(names), features.shape[1]))
    np.add.at(sums, cluster, features[clustered])
    # Neither the number of members nor a sample's own length changes which cosine is the highest.
    centroids = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    rows, left = max(1, _AT_ONCE // len(names)), np.flatnonzero(~clustered)
    for start in range(0, len(left), rows):
        some = left[start : start + rows]
        completed[some] = names[(features[some].astype(np.float64) @ centroids.T).argmax(1)]
    return completed


def attribution_accuracy(labels: np.ndarray, truth: np.ndarray, known: int) -> AttributionAccuracy:
    """Return how well known sources are told from unknown ones (Table 4.13).

    Which known source a sample is attributed to does not matter here, and a sample that is not clustered counts as
    one of an unknown source.

    Args:
        labels: (N,) integers, -1 for samples that are not clustered.
        truth: (N,) integers, the source of each sample.
        known: number of known sources, which are 0 to ``known`` - 1.
    """
    inside, taken_for_inside = truth < known, (labels >= 0) & (labels < known)
    right = inside == taken_for_inside
    return AttributionAccuracy(*(_share(right[part]) for part in (inside, ~inside, np.ones_like(inside))))


def clustering_accuracy(labels: np.ndarray, truth: np.ndarray, known: int) -> ClusteringAccuracy:
    """Return the accuracy when clusters stand for sources, one for one, so that most samples are right.

    One assignment over all samples, by the Hungarian algorithm, of which the shares of known and novel samples follow
    (Vaze et al., "Generalized Category Discovery", CVPR 2022, section 4.1). A cluster too many stands for nothing and
    all its samples are wrong, whatever its purity; so are samples that are not clustered. That a label below ``known``
    is the number of a source does not matter.

    Args:
        labels: (N,) integers, -1 for samples that are not clustered.
        truth: (N,) integers, the source of each sample.
        known: number of known sources, which are 0 to ``known`` - 1.
    """
    clustered = labels != UNCLUSTERED
    right = np.zeros(len(labels), bool)
    names, cluster = np.unique(labels[clustered], return_inverse=True)
    sources, source = np.unique(truth[clustered], return_inverse=True)
    counts = np.zeros((len(names), len(sources)), np.int64)
    np.add.at(counts, (cluster, source), 1)
    stands_for = np.full(len(names), -1)
    assigned, to = linear_sum_assignment(counts, maximize=True)
    stands_for[assigned] = to
    right[clustered] = stands_for[cluster] == source
    inside = truth < known
    return ClusteringAccuracy(*(_share(right[part]) for part in (np.ones_like(inside), inside, ~inside)))


def source_count_error(clusters: int, sources: int) -> float:
    """Return by which share of the number of sources their estimate, the number of clusters, is off; 0 is exact.

    The error of the estimated number of classes of Vaze et al. (see `clustering_accuracy`), who print it in per cent.

    Args:
        clusters: number of clusters, known sources included.
        sources: number of sources, known ones included; at least 1.
    """
    return abs(clusters - sources) / sources


def _share(right: np.ndarray) -> float:
    return float(right.mean()) if len(right) else float("nan")
