import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.svm import SVC

from benchmarks.plain_gan_discovery import plain_refine
from lightning_modules.gan_discovery import refining
from lightning_modules.gan_discovery.refining import negatives, refine
from tests.lightning_modules.gan_discovery.cases import are_contiguous, blobs


def case(seed: int = 0, spread: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """Return features and labels of two known sources and three clusters; a part of each cluster is another group."""
    features, groups = blobs([40, 40, 60, 60, 60], dim=6, spread=spread, seed=seed)
    labels = groups.copy()
    rng = np.random.default_rng(seed)
    labels[rng.choice(260, 30, replace=False)] = rng.integers(2, 5, 30)
    labels[rng.random(260) < 0.1] = -1
    return features, labels


@pytest.mark.parametrize("seed", range(3))
def test_exact_mode_equals_one_svm_against_everything(seed: int) -> None:
    features, labels = case(seed)
    plain = plain_refine(features, labels, 2, 0.5, 10)
    assert (plain != labels).any()
    assert np.array_equal(refine(features, labels, 2, tau=10, max_negatives=None).labels, plain)
    assert np.array_equal(refine(features, labels, 2, tau=10, max_negatives=10_000).labels, plain)


def test_gamma_is_one_over_the_number_of_features() -> None:
    """ThunderSVM's "auto"; scikit-learn's default also divides by the variance, and keeps other members."""
    features, labels = case()
    features = 5 * features
    scale = SVC().fit(features[labels != -1], labels[labels != -1] == 2).predict(features[labels == 2])
    kept = refine(features, labels, 2, tau=1, max_negatives=None)
    assert kept.firing[0] != scale.mean()
    assert np.array_equal(kept.labels, plain_refine(features, labels, 2, 0.5, 1))


def test_members_of_other_groups_are_dropped_by_hand() -> None:
    features, groups = blobs([100, 100], dim=4, spread=0.2)
    labels = groups.copy()
    labels[:5] = 1  # five of group 0 in cluster 1
    found = refine(features, labels, 0, tau=50)
    assert (found.labels[:5] == -1).all()
    assert np.array_equal(found.labels[5:], labels[5:])
    assert found.firing.tolist() == [1, 100 / 105]


def with_shares(monkeypatch: pytest.MonkeyPatch, fires: Any) -> None:
    """Let an SVM predict positive what ``fires`` says about the first feature."""

    class Told:
        def __init__(self, **settings: Any):
            assert settings == {"C": 1.0, "kernel": "rbf", "gamma": "auto"}

        def fit(self, features: np.ndarray, targets: np.ndarray) -> "Told":
            return self

        def predict(self, features: np.ndarray) -> np.ndarray:
            return fires(features[:, 0]).astype(int)

    monkeypatch.setattr(refining, "SVC", Told)


@pytest.mark.parametrize(
    ("epsilon", "tau", "kept"), [(0.5, 1, [2]), (0.49, 1, [1, 2]), (0.5, 7, [2]), (0.5, 8, []), (0.0, 5, [1, 2])]
)
def test_dissolved_at_epsilon_and_below_tau(monkeypatch, epsilon: float, tau: int, kept: list[int]) -> None:
    """Clusters 1 and 2 of ten keep 5 and 7; a share of exactly epsilon dissolves, exactly tau members do not."""
    with_shares(monkeypatch, lambda values: values > 0)
    features = np.concatenate([np.ones(3), np.ones(5), np.zeros(5), np.ones(7), np.zeros(3)])[:, None]
    labels = np.repeat([0, 1, 2], [3, 10, 10])
    found = refine(features, labels, 1, epsilon, tau)
    assert found.firing.tolist() == [0.5, 0.7]
    expected = np.full(23, -1)
    expected[:3] = 0
    for number, label in enumerate(kept):
        expected[(labels == label) & (features[:, 0] > 0)] = 1 + number
    assert np.array_equal(found.labels, expected)


def test_only_own_members_are_predicted_and_no_source_is_refined(monkeypatch) -> None:
    seen = []
    with_shares(monkeypatch, lambda values: (seen.append(len(values)), np.ones(len(values), bool))[1])
    labels = np.repeat([-1, 0, 1, 2, 3], [5, 6, 7, 8, 9])
    found = refine(np.ones((35, 2)), labels, 2, tau=1)
    assert seen == [8, 9]
    assert np.array_equal(found.labels, labels)


@given(st.integers(0, 200), st.integers(0, 3), st.integers(1, 12))
@settings(max_examples=25, deadline=None)
def test_only_discovered_clusters_shrink(seed: int, known: int, tau: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(-1, 6, 60)
    labels[labels >= known] = known + np.unique(labels[labels >= known], return_inverse=True)[1]
    before = labels.copy()
    found, firing = refine(rng.random((60, 3)).astype(np.float32), labels, known, tau=tau, seed=seed)
    assert np.array_equal(labels, before)
    assert are_contiguous(found, known)
    fixed = (labels >= 0) & (labels < known)
    assert np.array_equal(found[fixed], labels[fixed])
    assert (found[labels == -1] == -1).all()
    assert len(firing) == len(np.unique(labels[labels >= known]))
    assert ((firing >= 0) & (firing <= 1)).all()
    left = found[found >= known]
    assert len(left) == 0 or np.bincount(left - known).min() >= tau


def test_a_small_cluster_in_the_midst_of_another_is_dissolved() -> None:
    """No class weights: predicted negative as a whole, the sign that it is impure."""
    features, labels = blobs([300, 300], dim=4, spread=0.3)
    labels[:15] = 2
    found = refine(features, labels, 1, tau=5)
    assert (found.labels[:15] == -1).all()
    assert found.firing[1] == 0


def test_a_known_source_without_images_does_not_matter() -> None:
    features, labels = case()
    empty = refine(features[labels != 1], labels[labels != 1], 2, tau=10)
    moved = refine(features[labels != 1], np.where(labels > 1, labels - 1, labels)[labels != 1], 1, tau=10)
    assert np.array_equal(empty.firing, moved.firing)
    assert np.array_equal(empty.labels >= 2, moved.labels >= 1)


def test_a_single_cluster_without_negatives_stays() -> None:
    labels = np.array([2] * 8 + [-1] * 4)
    found = refine(np.random.default_rng(0).random((12, 2)), labels, 2, tau=8)
    assert np.array_equal(found.labels, labels)
    assert found.firing.tolist() == [1]
    assert (refine(np.random.default_rng(0).random((12, 2)), labels, 2, tau=9).labels == -1).all()


@pytest.mark.parametrize("labels", [[], [-1, -1], [0, 1, 0]])
def test_nothing_to_refine(labels: list[int]) -> None:
    found = refine(np.ones((len(labels), 3), np.float32), np.array(labels, np.int64), 2)
    assert found.labels.tolist() == labels
    assert found.firing.shape == (0,)


def test_clusters_of_one_and_two_images_and_constant_features() -> None:
    labels = np.array([0] * 10 + [1, 2, 2])
    found = refine(np.ones((13, 3), np.float32), labels, 1, tau=1)
    assert found.labels.tolist() == [0] * 10 + [-1] * 3
    assert found.firing.tolist() == [0, 0]
    apart = np.r_[np.zeros(10), 9, 20, 20.5][:, None].astype(np.float32)
    assert refine(apart, labels, 1, tau=1).labels.tolist() == labels.tolist()


def test_result_depends_on_the_seed_only() -> None:
    features, labels = case(spread=1.5)
    one = refine(features, labels, 2, tau=10, max_negatives=40, seed=3)
    many = refine(features, labels, 2, tau=10, max_negatives=40, seed=3, jobs=3)
    assert np.array_equal(one.labels, many.labels)
    assert np.array_equal(one.firing, many.firing)
    seeds = [refine(features, labels, 2, tau=10, max_negatives=30, seed=seed).labels.tolist() for seed in range(4)]
    assert any(each != seeds[0] for each in seeds)


def test_several_clusters_are_fitted_at_a_time(monkeypatch) -> None:
    together = threading.Barrier(2, timeout=20)
    with_shares(monkeypatch, lambda values: (together.wait(), np.ones(len(values), bool))[1])
    labels = np.repeat([0, 1], 5)
    assert np.array_equal(refine(np.ones((10, 2)), labels, 0, tau=1, jobs=2).labels, labels)


def test_capped_negatives_decide_as_all_of_them_do() -> None:
    features, labels = blobs([250] * 6, dim=8, spread=0.4, seed=1)
    labels[::25] = np.roll(labels, 100)[::25]
    exact = refine(features, labels, 1, tau=100, max_negatives=None)
    capped = refine(features, labels, 1, tau=100, max_negatives=400)
    assert (exact.labels == -1).sum() > 20
    assert (exact.labels != capped.labels).mean() < 0.02
    assert np.abs(exact.firing - capped.firing).max() < 0.05


def test_cap_is_never_below_the_number_of_positives(monkeypatch) -> None:
    sizes = []
    fit = SVC.fit

    def spied(self: SVC, features: np.ndarray, targets: np.ndarray) -> SVC:
        sizes.append(((targets == 1).sum(), (targets == 0).sum()))
        return fit(self, features, targets)

    monkeypatch.setattr(SVC, "fit", spied)
    features, labels = blobs([30, 60, 100], dim=4)
    refine(features, labels, 0, tau=1, max_negatives=40)
    assert sizes == [(30, 40), (60, 60), (100, 90)]


@given(st.lists(st.integers(0, 30), min_size=1, max_size=8), st.integers(1, 80), st.integers(0, 9))
@settings(deadline=None)
def test_negatives_fill_their_places(sizes: list[int], limit: int, seed: int) -> None:
    """Exactly as many as fit, none twice, the nearest cluster first and every large one in."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    others = np.random.default_rng(seed).permutation(1000)[: len(labels)]
    near = np.random.default_rng(seed).permutation(len(sizes))
    chosen = negatives(others, labels, near, limit)
    assert len(chosen) == len(np.unique(chosen)) == min(limit, len(labels))
    assert np.isin(chosen, others).all()
    found = np.bincount(labels[np.isin(others, chosen)], minlength=len(sizes))
    assert found[near[0]] >= min(sizes[near[0]], limit // 2)
    if limit < len(labels):
        places, rest = limit - limit // 2, len(labels)
        for size, taken in zip(sizes, found, strict=True):
            assert taken >= min(size, size * places // rest)


def test_negatives_by_hand() -> None:
    labels = np.repeat([0, 1, 2], [4, 20, 20])
    found = negatives(np.arange(44), labels, np.array([1, 0, 2]), 12)
    assert found[found < 24].tolist() == [0, 4, 5, 6, 7, 8, 9, 12, 18]  # 6 of the nearest, then every 38/6th
    assert len(found) == 12
