import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from metrics.clustering import cluster, clustering_scores, purity

groups = st.integers(1, 30).flatmap(
    lambda n: st.tuples(*(st.lists(st.integers(-2, 4), min_size=n, max_size=n) for _ in range(2)))
)


def blobs(classes: int = 4, each: int = 15, spread: float = 0.05, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), each)
    centres = 5 * np.eye(classes, 6)
    return (centres[labels] + spread * generator.standard_normal((len(labels), 6))).astype(np.float32), labels


def test_purity_by_hand() -> None:
    labels = np.array(["a", "a", "b", "b", "b", "c"])
    assert purity(labels, np.array([0, 0, 0, 1, 1, 1])) == pytest.approx((2 + 2) / 6)
    assert purity(labels, np.zeros(6)) == pytest.approx(3 / 6)
    assert purity(labels, np.arange(6)) == 1


@given(groups)
def test_purity_is_the_majority_of_each_cluster(pair: tuple[list[int], list[int]]) -> None:
    labels, clusters = map(np.array, pair)
    members = [labels[clusters == one].tolist() for one in set(clusters.tolist())]
    expected = sum(max(own.count(label) for label in own) for own in members) / len(labels)
    assert purity(labels, clusters) == pytest.approx(expected)


def test_separate_groups_are_found() -> None:
    features, labels = blobs()
    assert clustering_scores([features], labels, 4).tolist() == [[1, 1, 1]]


def test_scores_equal_scikit_learn_and_do_not_depend_on_jobs() -> None:
    layers = [blobs(spread=spread, seed=seed)[0] for seed, spread in enumerate((2.0, 3.0, 20.0))]
    labels = blobs()[1]
    scores = clustering_scores(layers, labels, 5, seed=1)
    for features, (pure, mutual, rand) in zip(layers, scores, strict=True):
        found = cluster(features, 5, seed=1)
        assert pure == purity(labels, found)
        assert mutual == pytest.approx(normalized_mutual_info_score(labels, found))
        assert rand == pytest.approx(adjusted_rand_score(labels, found))
    assert (np.diff(scores[:, 0]) < 0).all()
    assert np.array_equal(scores, clustering_scores(layers, labels, 5, seed=1, jobs=3))


def test_ten_starts_are_tried() -> None:
    """One start, the default of scikit-learn since 1.4, ends in a worse optimum."""
    features = np.random.default_rng(0).random((150, 4)).astype(np.float32)

    def inertia(found: np.ndarray) -> float:
        groups = (features[found == one] for one in np.unique(found))
        return sum(float(((own - own.mean(0)) ** 2).sum()) for own in groups)

    ours = [inertia(cluster(features, 15, seed)) for seed in range(5)]
    once = [inertia(KMeans(15, n_init=1, random_state=seed).fit_predict(features)) for seed in range(5)]
    assert np.mean(ours) < 0.99 * np.mean(once)


def test_constant_features_are_one_cluster() -> None:
    labels = np.array([0, 0, 0, 1, 2])
    scores = clustering_scores([np.ones((5, 3), np.float32)], labels, 3)
    assert scores.tolist() == [[3 / 5, 0, 0]]


def test_a_class_with_a_single_sample() -> None:
    features, labels = blobs(classes=3)
    features, labels = features[:31], labels[:31]
    assert clustering_scores([features], labels, 3).tolist() == [[1, 1, 1]]


def test_more_clusters_than_samples() -> None:
    with pytest.raises(ValueError, match="n_clusters"):
        cluster(np.zeros((3, 2), np.float32), 4)
