import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lightning_modules.gan_discovery.labels import centroids, contiguous, next_label
from tests.lightning_modules.gan_discovery.cases import are_contiguous

labelled = st.lists(st.integers(-1, 12), max_size=30).map(lambda values: np.array(values, np.int64))


def test_gaps_are_closed_by_hand() -> None:
    labels = np.array([7, -1, 1, 4, 7, 9])
    assert contiguous(labels, 3).tolist() == [4, -1, 1, 3, 4, 5]
    assert labels.tolist() == [7, -1, 1, 4, 7, 9]


@given(labelled, st.integers(0, 8))
def test_clusters_keep_their_members_and_order(labels: np.ndarray, known: int) -> None:
    found = contiguous(labels, known)
    assert are_contiguous(found, known)
    assert np.array_equal(found[labels < known], labels[labels < known])
    discovered = labels >= known
    assert np.array_equal(np.argsort(labels[discovered], kind="stable"), np.argsort(found[discovered], kind="stable"))
    assert len(np.unique(labels)) == len(np.unique(found))


def test_a_known_source_without_images_does_not_move_the_others() -> None:
    """The official code numbers known sources and clusters together: here 2 would become 1, and 3 would become 2."""
    assert contiguous(np.array([0, 2, 3, 5]), 3).tolist() == [0, 2, 3, 4]


def test_new_labels_are_never_those_of_known_sources() -> None:
    """The official code takes the largest label + 1, which here is 0 and 2: numbers of known sources."""
    assert next_label(np.full(5, -1), 4) == 4
    assert next_label(np.array([-1, 0, 1]), 4) == 4
    assert next_label(np.array([-1, 6, 1]), 4) == 7
    assert next_label(np.zeros(0, np.int64), 4) == 4


@given(labelled, st.integers(0, 8))
def test_centroids_are_means_of_members(labels: np.ndarray, first: int) -> None:
    features = np.random.default_rng(len(labels)).random((len(labels), 3)).astype(np.float32)
    groups, means = centroids(features, labels, first)
    assert groups.tolist() == sorted({label for label in labels.tolist() if label >= first})
    assert means.shape == (len(groups), 3)
    for group, mean in zip(groups, means, strict=True):
        np.testing.assert_allclose(mean, features[labels == group].mean(axis=0), rtol=1e-5)
