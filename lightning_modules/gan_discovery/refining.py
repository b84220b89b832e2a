"""Refinement of clusters: a kernel SVM drops the members, and the clusters, that it does not recognise (4.2.5.2)."""

from typing import NamedTuple

import numpy as np
from joblib import Parallel, delayed
from sklearn.svm import SVC

from lightning_modules.gan_discovery.labels import centroids, contiguous

NEAREST_SHARE = 0.5  # of the negatives, for whole clusters next to the positive one


class Refined(NamedTuple):
    """Result of ``refine``.

    Attributes:
        labels: (N,) int64 with contiguous discovered labels.
        firing: (C,) float64, the share of each cluster before that its SVM predicts positive, by ascending old label.
    """

    labels: np.ndarray
    firing: np.ndarray


def refine(
    features: np.ndarray,
    labels: np.ndarray,
    known: int,
    epsilon: float = 0.5,
    tau: int = 100,
    max_negatives: int | None = 10_000,
    jobs: int = 1,
    seed: int = 0,
) -> Refined:
    """Return the labels without the members that an SVM of their own cluster against all others predicts negative.

    A cluster is dissolved when the predicted positive share is at most ``epsilon``, or fewer than ``tau`` would be
    left; its members and those dropped from other clusters get the label -1. Known sources stay as they are, as in the
    official code. The SVMs have the settings of ThunderSVM, which the authors used unchanged: C = 1 and gamma = 1/D,
    which scikit-learn calls "auto" and is not its default; no class weights, so that an impure small cluster is
    predicted negative as a whole. Negatives are the other clustered images, also those of known sources.

    All negatives for each of hundreds of clusters are hours of work. Fewer of them make an SVM more permissive. The
    cap therefore always keeps clusters next to the positive one, where the border lies, and never goes below the
    number of positives.

    Args:
        features: (N, D) finite, raw.
        labels: (N,) int64.
        known: number of known sources.
        epsilon: largest share of predicted positives at which a cluster is dissolved.
        tau: least number of members left, inclusive as in the thesis; the official code dissolves at exactly 100 too.
        max_negatives: negatives of an SVM, or as many as it has positives if those are more; None takes all, as the
            authors do.
        jobs: clusters that are fitted at the same time, in threads; the result does not depend on it.
        seed: of the draw of negatives.
    """
    groups, means = centroids(features, labels, 0)
    order = np.random.default_rng(seed).permutation(np.flatnonzero(labels >= 0))
    order = order[np.argsort(labels[order], kind="stable")]  # by cluster, at random inside each

    def fires(label: int) -> np.ndarray:
        own = np.flatnonzero(labels == label)
        others = order[labels[order] != label]
        if not len(others):
            return np.ones(len(own), bool)  # nothing speaks against them
        limit = len(others) if max_negatives is None else max(max_negatives, len(own))
        near = groups[np.argsort(((means - means[groups == label]) ** 2).sum(axis=1), kind="stable")]
        chosen = negatives(others, labels[others], near, limit)
        targets = np.repeat([1, 0], [len(own), len(chosen)])
        model = SVC(C=1.0, kernel="rbf", gamma="auto")
        return model.fit(features[np.concatenate([own, chosen])], targets).predict(features[own]) == 1

    clusters = groups[groups >= known]
    # libsvm works outside Python's lock, so that threads share the features instead of copying them.
    kept = Parallel(n_jobs=jobs, prefer="threads")(delayed(fires)(label) for label in clusters)
    result = labels.copy()
    for label, positive in zip(clusters, kept, strict=True):
        stays = positive if positive.mean() > epsilon and positive.sum() >= tau else np.zeros_like(positive)
        result[np.flatnonzero(labels == label)[~stays]] = -1
    return Refined(contiguous(result, known), np.array([positive.mean() for positive in kept]))


def negatives(others: np.ndarray, labels: np.ndarray, near: np.ndarray, limit: int) -> np.ndarray:
    """Return at most ``limit`` of the negatives: the nearest clusters, and an equal share of each of the rest.

    The nearest clusters fill up to half of the places, whole as long as they fit. The others go evenly over the rest
    in order of cluster.

    Args:
        others: (M,) indices, cluster after cluster, in random order within each.
        labels: (M,) their labels.
        near: cluster labels, nearest first.
        limit: number of places.
    """
    if len(others) <= limit:
        return others
    room = int(limit * NEAREST_SHARE)
    taken = np.zeros(len(others), bool)
    for label in near:
        members = np.flatnonzero(labels == label)[:room]
        taken[members] = True
        room -= len(members)
        if room == 0:
            break
    rest = np.flatnonzero(~taken)
    places = limit - int(taken.sum())
    taken[rest[np.arange(places) * len(rest) // places]] = True
    return others[taken]
