from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from metrics import source_discovery
from metrics.source_discovery import (
    attribution_accuracy,
    clustering_accuracy,
    majorities,
    nearest_centroids,
    scores_of_all,
    scores_of_clustered,
    source_count_error,
)

pairs = st.integers(1, 30).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(-1, 4), min_size=n, max_size=n), st.lists(st.integers(0, 3), min_size=n, max_size=n)
    )
)


def naive_majorities(labels: list[int], truth: list[int]) -> dict[int, int]:
    members = {one: [t for label, t in zip(labels, truth, strict=True) if label == one] for one in set(labels) - {-1}}
    return {one: min(own, key=lambda source: (-own.count(source), source)) for one, own in members.items()}


def test_scores_by_hand() -> None:
    labels = np.array([0, 0, 0, 5, 5, -1, -1, -1])
    truth = np.array([0, 0, 1, 2, 2, 3, 3, 1])
    scores = scores_of_clustered(labels, truth)
    assert scores.purity == pytest.approx(4 / 5)
    assert (scores.clusters, scores.clustered) == (2, 5 / 8)
    assert (scores.sources_discovered, scores.sources) == (2, 4)
    assert scores.nmi == pytest.approx(normalized_mutual_info_score(truth[:5], labels[:5]))
    assert scores.ari == pytest.approx(adjusted_rand_score(truth[:5], labels[:5]))


def test_what_is_not_clustered_is_no_cluster() -> None:
    """The official code finds source 1 here, the majority of those that are in no cluster."""
    labels, truth = np.array([0, 0, -1, -1, -1]), np.array([0, 0, 1, 1, 0])
    assert scores_of_clustered(labels, truth).sources_discovered == 1
    assert scores_of_all(labels, truth, np.eye(5, dtype=np.float32)).sources_discovered == 1


@given(pairs)
def test_sources_discovered_are_majorities(pair: tuple[list[int], list[int]]) -> None:
    labels, truth = pair
    expected = naive_majorities(labels, truth)
    names, sources, shares = majorities(np.array(labels), np.array(truth))
    assert dict(zip(names.tolist(), sources.tolist(), strict=True)) == expected
    for name, share in zip(names.tolist(), shares, strict=True):
        own = [t for label, t in pair_of(labels, truth) if label == name]
        assert share == pytest.approx(own.count(expected[name]) / len(own))
    scores = scores_of_clustered(np.array(labels), np.array(truth))
    assert scores.sources_discovered == len(set(expected.values())) <= scores.sources == len(set(truth))
    assert scores.clusters == len(expected)


def pair_of(labels: list[int], truth: list[int]) -> list[tuple[int, int]]:
    return list(zip(labels, truth, strict=True))


@given(pairs)
def test_with_all_clustered_both_scores_agree(pair: tuple[list[int], list[int]]) -> None:
    labels, truth = np.array(pair[0]) + 1, np.array(pair[1])
    features = np.random.default_rng(0).random((len(labels), 3), np.float32)
    assert scores_of_all(labels, truth, features) == scores_of_clustered(labels, truth)


def test_all_scores_count_the_nearest_cluster() -> None:
    features = np.array([[1, 0], [9, 1], [0, 1], [1, 8], [5, 1], [1, 2]], np.float32)
    labels, truth = np.array([0, 0, 3, 3, -1, -1]), np.array([0, 0, 1, 1, 0, 0])
    assert scores_of_clustered(labels, truth).purity == 1
    scores = scores_of_all(labels, truth, features)
    assert scores.purity == pytest.approx(5 / 6)
    assert scores.clustered == 4 / 6


def test_nothing_is_clustered() -> None:
    labels, truth = np.full(3, -1), np.array([0, 1, 1])
    for scores in (scores_of_clustered(labels, truth), scores_of_all(labels, truth, np.ones((3, 2), np.float32))):
        assert np.isnan([scores.purity, scores.nmi, scores.ari]).all()
        assert (scores.clusters, scores.clustered, scores.sources_discovered, scores.sources) == (0, 0, 0, 2)


def test_nearest_centroids_equal_a_naive_version(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(1)
    features = generator.random((60, 5), np.float32) ** 3
    labels = generator.integers(-1, 4, 60)
    labels[labels == 2] = 9  # labels need not be contiguous
    expected = labels.copy()
    centroids = {one: features[labels == one].mean(0) for one in np.unique(labels) if one >= 0}
    for index in np.flatnonzero(labels == -1):
        cosine = {one: features[index] @ mean / np.linalg.norm(mean) for one, mean in centroids.items()}
        expected[index] = max(cosine, key=cosine.__getitem__)
    given_labels = labels.copy()
    assert np.array_equal(nearest_centroids(labels, features), expected)
    assert np.array_equal(labels, given_labels), "the labels given are left as they are"
    monkeypatch.setattr(source_discovery, "_AT_ONCE", 9)
    assert np.array_equal(nearest_centroids(labels, features), expected)


def test_it_is_the_cosine_that_counts() -> None:
    features = np.array([[10, 0], [1, 1], [2, 0.5]], np.float32)  # the last is nearer to the second in distance
    assert nearest_centroids(np.array([0, 1, -1]), features).tolist() == [0, 1, 0]


def test_features_without_activity() -> None:
    features = np.array([[0, 0], [1, 1], [0, 0]], np.float32)
    assert nearest_centroids(np.array([4, 7, -1]), features).tolist() == [4, 7, 4]


def test_attribution_accuracy_by_hand() -> None:
    truth = np.array([0, 0, 1, 1, 2, 3, 3])
    labels = np.array([0, 1, -1, 5, -1, 4, 1])  # attributed to another known source is right, unclustered is unknown
    accuracy = attribution_accuracy(labels, truth, 2)
    assert accuracy.inside == 2 / 4
    assert accuracy.outside == 2 / 3
    assert accuracy.net == 4 / 7


def test_attribution_without_unknown_sources() -> None:
    accuracy = attribution_accuracy(np.array([0, -1]), np.array([0, 0]), 1)
    assert (accuracy.inside, accuracy.net) == (0.5, 0.5)
    assert np.isnan(accuracy.outside)


def best_assignments(labels: list[int], truth: list[int], known: int) -> set[tuple[float, ...]]:
    """Return the accuracies (all, known, novel) of every assignment that has most samples right, by trying them all."""
    clusters, sources = sorted(set(labels) - {-1}), sorted(set(truth))
    wide = [*sources, *([None] * len(clusters))]  # a cluster may stand for nothing
    best, found = -1, set()
    for chosen in set(permutations(wide, len(clusters))):
        stands_for = dict(zip(clusters, chosen, strict=True))
        right = [label != -1 and stands_for[label] == t for label, t in zip(labels, truth, strict=True)]
        if sum(right) > best:
            best, found = sum(right), set()
        if sum(right) == best:
            parts = [[r for r, t in zip(right, truth, strict=True) if t in part] for part in halves(truth, known)]
            found.add(tuple(np.mean(part) if part else -1.0 for part in parts))
    return found


def halves(truth: list[int], known: int) -> list[set[int]]:
    return [set(truth), {t for t in truth if t < known}, {t for t in truth if t >= known}]


@given(pairs)
def test_the_accuracy_is_that_of_the_best_assignment(pair: tuple[list[int], list[int]]) -> None:
    labels, truth = [min(label, 2) for label in pair[0]], [min(source, 2) for source in pair[1]]
    found = clustering_accuracy(np.array(labels), np.array(truth), 1)
    parts = tuple(np.nan_to_num([found.all, found.known, found.novel], nan=-1.0))
    assert any(np.allclose(parts, each) for each in best_assignments(labels, truth, 1))


def test_the_accuracy_by_hand() -> None:
    """Cluster 7 stands for source 0, cluster 1 for 1, 4 for 2; cluster 9 is pure and stands for nothing."""
    labels = np.array([7, 7, 7, 9, 9, 1, 1, 4, 4, -1])
    truth = np.array([0, 0, 0, 0, 0, 1, 2, 2, 2, 2])
    found = clustering_accuracy(labels, truth, 2)
    assert (found.all, found.known, found.novel) == (6 / 10, 4 / 6, 2 / 4)
    assert scores_of_clustered(labels, truth).purity == pytest.approx(8 / 9)


def test_one_assignment_serves_known_and_novel_samples() -> None:
    """Assigned apart, as the first version of Vaze et al. did it, both halves would use cluster 0 and be right."""
    found = clustering_accuracy(np.zeros(5, int), np.array([0, 0, 0, 1, 1]), 1)
    assert (found.all, found.known, found.novel) == (3 / 5, 1, 0)


def test_the_names_of_clusters_do_not_matter() -> None:
    truth = np.array([0, 0, 1, 1, 2])
    found = clustering_accuracy(np.array([1, 1, 0, 0, 5]), truth, 2)
    assert (found.all, found.known, found.novel) == (1, 1, 1)
    assert np.isnan(clustering_accuracy(truth, truth, 3).novel)
    nothing = clustering_accuracy(np.full(5, -1), truth, 2)
    assert (nothing.all, nothing.known, nothing.novel) == (0, 0, 0)


def test_the_error_of_the_number_of_sources() -> None:
    assert [source_count_error(clusters, 20) for clusters in (20, 25, 15, 60)] == [0, 0.25, 0.25, 2]
