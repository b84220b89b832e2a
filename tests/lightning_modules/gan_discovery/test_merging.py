from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_modules.gan_discovery.merging import distances, merge, merge_once
from lightning_modules.gan_discovery.wta import WTAHash
from tests.lightning_modules.gan_discovery.cases import are_contiguous

DISTANCES: list[Any] = [WTAHash(4, 8, seed=1), "cosine", "euclidean"]  # eight hashes: many ties


def points(*values: float) -> np.ndarray:
    return np.array([[value, 1.0] for value in values], np.float32)


@pytest.mark.parametrize("components", ["strong", "weak"])
@pytest.mark.parametrize("distance", DISTANCES, ids=["wta", "cosine", "euclidean"])
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_clusters_only_ever_join(distance, components, data) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    known, clusters = data.draw(st.integers(0, 3)), data.draw(st.integers(0, 14))
    count = 4 * (clusters + known)
    features = rng.integers(0, 3, (count, 4)).astype(np.float32)  # ties and equal centroids
    labels = rng.integers(-1, known + clusters, count) if count else np.zeros(0, np.int64)
    labels[labels >= known] = known + np.unique(labels[labels >= known], return_inverse=True)[1]
    before = labels.copy()
    found = merge_once(features, labels, known, distance, components)
    assert np.array_equal(labels, before)
    assert are_contiguous(found, known)
    assert np.array_equal(found[labels < known], labels[labels < known])
    pairs = {*zip(labels.tolist(), found.tolist(), strict=True)}
    assert len(pairs) == len(np.unique(labels))  # whole clusters move
    smallest = [min(before for before, after in pairs if after == label) for label in np.unique(found[found >= known])]
    assert smallest == sorted(smallest)
    old, new = (len(np.unique(each[each >= known])) for each in (labels, found))
    if old <= 2:
        assert np.array_equal(found, labels)
    elif components == "strong":
        assert (old + 1) // 2 <= new <= old
        sizes = np.bincount([after for _, after in pairs if after >= known])
        assert sizes.max() <= 2  # pairs of mutual neighbours and single clusters
    else:
        assert 1 <= new <= old // 2


def test_strong_joins_mutual_neighbours_and_weak_whole_chains_by_hand() -> None:
    features = points(0, 1, 2.5, 10, 11)  # 0 <-> 1 <- 2.5, 10 <-> 11
    labels = np.arange(5)
    assert merge_once(features, labels, 0, "euclidean").tolist() == [0, 0, 1, 2, 2]
    assert merge_once(features, labels, 0, "euclidean", "weak").tolist() == [0, 0, 0, 1, 1]


def test_ties_go_to_the_smaller_number() -> None:
    """Four clusters in a row at equal distances: 1 and 2 both prefer what is before them."""
    features = points(0, 1, 2, 3)
    assert merge_once(features, np.arange(4), 0, "euclidean").tolist() == [0, 0, 1, 2]
    square = np.array([[0, 0], [0, 1], [1, 1], [1, 0]], np.float32)
    assert merge_once(square, np.arange(4), 0, "euclidean").tolist() == [0, 0, 1, 2]


def test_equal_centroids_are_neighbours() -> None:
    """The official code drops the first of the two nearest as if it were the cluster itself; here it may be another."""
    features = points(5, 5, 5, 0, 1)
    apart = distances(features.astype(np.float64), "euclidean")
    assert np.isinf(apart.diagonal()).all()
    assert apart.argmin(axis=1).tolist() == [1, 0, 0, 4, 3]
    assert merge_once(features, np.arange(5), 0, "euclidean").tolist() == [0, 0, 1, 2, 2]
    assert merge_once(features, np.arange(5), 0, "euclidean", "weak").tolist() == [0, 0, 0, 1, 1]


def test_hash_is_of_the_centroids() -> None:
    """The official option averages the members' codes; here those averages are nearest for another pair."""
    hashing = WTAHash.of(np.array([[0, 1], [2, 3], [4, 5]]))
    a = np.array([[9, 0, 1, 0, 1, 0], [0, 1, 1, 0, 1, 0], [0, 1, 1, 0, 1, 0]])  # centroid: 3 > 2/3, most members: 0 < 1
    b = np.array([[0, 1, 1, 0, 1, 0]] * 3)  # the majority of a
    c = np.array([[1, 0, 1, 0, 1, 0]] * 3)  # the centroid of a
    d = np.array([[0, 1, 0, 1, 0, 1]] * 3)
    features, labels = np.concatenate([a, b, c, d]).astype(np.float32), np.repeat(np.arange(4), 3)
    means = np.stack([features[labels == label].mean(axis=0) for label in range(4)])
    assert distances(means, hashing)[0].tolist() == [np.inf, 1, 0, 3]
    averaged = np.stack([hashing(features[labels == label]).mean(axis=0) for label in range(4)])
    assert np.abs(averaged[0] - averaged[1]).sum() < np.abs(averaged[0] - averaged[2]).sum()
    assert merge_once(features, labels, 0, hashing)[::3].tolist() == [0, 1, 0, 2]


def test_centroids_of_zeros_are_at_cosine_distance_one() -> None:
    apart = distances(np.array([[0.0, 0], [1, 0], [1, 1]]), "cosine")
    np.testing.assert_allclose(apart[0], [np.inf, 1, 1])
    np.testing.assert_allclose(apart[1, 2], 1 - np.sqrt(0.5))


@pytest.mark.parametrize("components", ["strong", "weak"])
def test_two_stages_new_clusters_first_by_hand(components) -> None:
    """An old cluster at 1.1 is the nearest to the new one at 1, which has joined that at 0 by then."""
    features = points(50, 1.1, 0, 1, 20, 40)
    labels = np.array([0, 1, 2, 3, 4, 5])
    found = merge(features, labels, known=1, first_new=2, distance="euclidean", components=components)
    assert found[2] == found[3]
    first = merge_once(features, labels, 2, "euclidean", components)
    assert np.array_equal(found, merge_once(features, first, 1, "euclidean", components))
    once = merge_once(features, labels, 1, "euclidean", "strong")
    assert once[1] == once[3] != once[2]
    assert found[0] == 0


def test_known_sources_are_never_merged() -> None:
    features = points(0, 0, 0, 5, 9, 20)
    labels = np.array([0, 1, 2, 3, 4, 5])
    found = merge(features, labels, known=3, first_new=3, distance="euclidean")
    assert found[:3].tolist() == [0, 1, 2]
    assert are_contiguous(found, 3)


def test_a_known_source_without_images_is_no_centroid() -> None:
    """Source 1 has none; the official centroids would be shifted by one from there on."""
    found = merge(points(0, 3, 4, 9), np.array([0, 3, 4, 5]), known=3, first_new=3, distance="euclidean")
    assert found[0] == 0
    assert are_contiguous(found, 3)
    assert found[1] == found[2] != found[3]


@pytest.mark.parametrize("labels", [[], [-1, -1, -1], [0, 1, -1], [2, 3, -1]])
def test_nothing_to_merge(labels: list[int]) -> None:
    given_labels = np.array(labels, np.int64)
    features = np.ones((len(labels), 4), np.float32)
    for distance in DISTANCES:
        found = merge(features, given_labels, known=2, first_new=4, distance=distance)
        assert np.array_equal(found, given_labels)
