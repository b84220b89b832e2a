import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from lightning_modules.gan_discovery.overclustering import over_cluster
from metrics.clustering import purity
from tests.lightning_modules.gan_discovery.cases import are_contiguous, blobs


@given(st.integers(0, 60), st.integers(1, 8), st.integers(0, 4), st.integers(0, 20))
@settings(max_examples=25, deadline=None)
def test_everything_left_gets_new_contiguous_labels(count: int, k: int, known: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    features = rng.random((count, 3)).astype(np.float32)
    labels = rng.integers(-1, known + 2, count)
    labels[labels >= known] = known if (labels >= known).any() else -1
    before, left = labels.copy(), labels == -1
    found = over_cluster(features, labels, k, known, seed=seed)
    assert np.array_equal(labels, before)
    assert np.array_equal(found[~left], labels[~left])
    assert are_contiguous(found, known)
    if left.sum() > k:
        assert found[left].min() >= known
        assert len(np.unique(found[left])) == k
        assert not np.isin(found[left], labels[~left]).any()
    else:
        assert (found[left] == -1).all()


def test_new_clusters_never_get_the_number_of_a_known_source() -> None:
    """The official code counts on from the largest label, here 0: the new clusters would be known sources 1 and 2."""
    features, groups = blobs([10, 10, 10])
    assert set(over_cluster(features, np.where(groups == 0, 0, -1), 2, 4).tolist()) == {0, 4, 5}
    assert over_cluster(features, np.full(30, -1), 3, 4).min() == 4


@pytest.mark.parametrize("count", [0, 1, 4, 5])
def test_at_most_k_images_stay_as_they_are(count: int) -> None:
    labels = np.r_[np.zeros(6, np.int64), np.full(count, -1)]
    found = over_cluster(np.random.default_rng(0).random((6 + count, 2)), labels, 5, 1)
    assert np.array_equal(found, labels)
    assert found is not labels


def test_nothing_left() -> None:
    labels = np.array([0, 2, 3, 2])
    assert np.array_equal(over_cluster(np.ones((4, 2), np.float32), labels, 2, 2), labels)


def test_constant_features_end_in_one_cluster() -> None:
    """The official code starts k-means again as long as it finds a single cluster, here for ever."""
    assert over_cluster(np.ones((20, 3), np.float32), np.full(20, -1), 4, 2).tolist() == [2] * 20


def test_fewer_different_images_than_clusters_leave_no_gaps() -> None:
    """In the official code empty clusters get centroids that are not numbers, and an assertion fails."""
    features = np.repeat(np.eye(3, dtype=np.float32), 5, axis=0)
    found = over_cluster(features, np.full(15, -1), 8, 0)
    assert are_contiguous(found, 0)
    assert np.array_equal(np.unique(found, return_counts=True)[1], [5, 5, 5])


def test_empty_clusters_get_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KMeans, "fit_predict", lambda self, features: np.array([4, 0, 4, 0, 2, 2, 2]))
    assert over_cluster(np.ones((7, 2)), np.full(7, -1), 5, 3).tolist() == [5, 3, 5, 3, 4, 4, 4]


def test_equals_scikit_learn_with_one_start_and_is_pure() -> None:
    features, groups = blobs([40, 50, 60], dim=6, spread=0.2)
    found = over_cluster(features, np.full(150, -1), 9, 1, seed=4)
    assert np.array_equal(found, over_cluster(features, np.full(150, -1), 9, 1, seed=4))
    plain = KMeans(9, n_init=1, init="k-means++", random_state=4).fit_predict(features)
    assert len({*zip(found.tolist(), plain.tolist(), strict=True)}) == 9
    assert purity(groups, found) == 1
