import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.plain_gan_discovery import plain_codes, plain_distances, plain_pairs, plain_threshold
from lightning_modules.gan_discovery import wta
from lightning_modules.gan_discovery.detectors import fit_detectors, pair_counts
from lightning_modules.gan_discovery.wta import WTAHash
from tests.lightning_modules.gan_discovery.cases import blobs


def codes_of(sizes: list[int], hashes: int = 64, window: int = 2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    features, groups = blobs(sizes, seed=seed)
    return WTAHash(16, hashes, window, seed)(features), groups


def pairwise_cosine(features: np.ndarray) -> np.ndarray:
    unit = features.astype(np.float64) / np.linalg.norm(features.astype(np.float64), axis=1, keepdims=True)
    return 1 - unit @ unit.T


def kth_largest(values: np.ndarray, percentile: float) -> float:
    """The official `quantiles`, without float16."""
    return float(np.sort(values.ravel())[-max(1, int(values.size * (1 - percentile)))])


def test_by_hand() -> None:
    codes = np.array([[0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 1], [1, 1, 1, 1]], np.uint8)
    detectors = fit_detectors(codes, np.array([5, 5, 5, -1]), [5])
    # Distances 0 1 2, 1 0 1, 2 1 0; k = int(9 * 0.1) = 0, so the largest.
    assert detectors.thresholds.tolist() == [2]
    assert detectors.distances(codes)[:, 0].tolist() == pytest.approx([1, 2 / 3, 1, 3])
    assert detectors.accepted(codes)[:, 0].tolist() == [True, True, True, False]
    assert fit_detectors(codes, np.array([5, 5, 5, -1]), [5], percentile=0.5).thresholds.tolist() == [1]  # 4th largest


@pytest.mark.parametrize("window", [2, 3])
@given(count=st.integers(1, 40), seed=st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_one_product_equals_all_members(window: int, count: int, seed: int) -> None:
    """Against one-hot codes and a product with every member, as in the official code."""
    rng = np.random.default_rng(seed)
    features, members = rng.random((30, 8), np.float32), rng.random((count, 8), np.float32)
    permutations = np.stack([rng.permutation(8) for _ in range(50)])
    hashing = WTAHash.of(permutations[:, :window])
    detectors = fit_detectors(hashing(members), np.zeros(count), [0], window=window)
    ours = detectors.distances(hashing(features))[:, 0]
    one_hot = [plain_codes(each, permutations, window) for each in (features, members)]
    np.testing.assert_allclose(ours, plain_distances(*one_hot, 50), rtol=0, atol=1e-4)
    assert detectors.thresholds[0] == plain_threshold(plain_pairs(one_hot[1], 50), 0.9)


@pytest.mark.parametrize("percentile", [0.0, 0.5, 0.7, 0.9, 0.95, 1.0])
@pytest.mark.parametrize("block", [7, 1024])
def test_threshold_is_an_exact_quantile_of_the_whole_matrix(percentile: float, block: int) -> None:
    codes, groups = codes_of([30, 31])
    own = codes[groups == 1]
    pairs = (own[:, None] != own[None]).sum(axis=2)
    assert np.array_equal(pair_counts(own, "hamming", 2, block), np.bincount(pairs.ravel(), minlength=65))
    detectors = fit_detectors(codes, groups, [0, 1], percentile)
    assert detectors.thresholds[1] == kth_largest(pairs, percentile)
    official = torch.topk(torch.tensor(pairs.ravel()), max(1, int(pairs.size * (1 - percentile))))[0][-1]
    assert detectors.thresholds[1] == official.item()


@given(st.integers(2, 300), st.sampled_from([0.5, 0.7, 0.8, 0.9, 0.95]))
def test_the_convention_is_one_or_two_places_above_inverted_cdf(members: int, percentile: float) -> None:
    ranks = np.arange(members**2)
    assert 1 <= kth_largest(ranks, percentile) - np.quantile(ranks, percentile, method="inverted_cdf") <= 2 or (
        ranks[-1] == kth_largest(ranks, percentile)
    )


def test_thresholds_above_2048_are_not_rounded() -> None:
    """As float16, the official type, odd distances above 2048 do not exist."""
    codes = np.zeros((2, 5000), np.uint8)
    codes[1, :4097] = 1
    assert fit_detectors(codes, np.zeros(2), [0]).thresholds[0] == 4097
    assert torch.tensor(4097.0).half().item() != 4097


@pytest.mark.parametrize("distance", ["hamming", "cosine"])
def test_two_images_one_image_equal_images_and_none(distance) -> None:
    features = np.array([[1, 0, 0], [0, 1, 0], [2, 1, 0], [1, 1, 1], [1, 1, 1], [1, 1, 1]], np.float32)
    labels = np.array([0, 0, 1, 2, 2, 2])
    samples = features if distance == "cosine" else WTAHash(3, 40)(features)
    detectors = fit_detectors(samples, labels, [0, 1, 2, 3], distance=distance)
    accepted, found = detectors.accepted(samples), detectors.distances(samples)
    assert detectors.counts.tolist() == [2, 1, 3, 0]
    two = (samples[0] != samples[1]).sum() if distance == "hamming" else 1
    assert detectors.thresholds.tolist() == [two, 0, 0, 0]
    assert accepted[:2, 0].all()  # the threshold is their distance, the mean half of it
    assert not accepted[:, 1:].any()
    np.testing.assert_allclose(found[2, 1], 0, atol=1e-12)
    assert np.isinf(found[:, 3]).all()
    assert np.isfinite(found[:, :3]).all()


@given(st.integers(0, 50))
@settings(max_examples=10, deadline=None)
def test_cosine_equals_the_whole_matrix(seed: int) -> None:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(60, 5)).astype(np.float32) + 1
    labels = np.repeat([0, 1, 2], 20)
    detectors = fit_detectors(features, labels, [0, 1, 2], distance="cosine")
    pairs = pairwise_cosine(features)
    for row in range(3):
        own = labels == row
        np.testing.assert_allclose(detectors.distances(features)[:, row], pairs[:, own].mean(axis=1), atol=1e-6)
        assert detectors.thresholds[row] == pytest.approx(kth_largest(pairs[np.ix_(own, own)], 0.9), abs=1.2e-6)


def test_features_of_zeros_are_at_cosine_distance_one() -> None:
    features = np.array([[0, 0], [1, 0], [1, 1]], np.float32)
    detectors = fit_detectors(features, np.array([0, 1, 1]), [0, 1], distance="cosine")
    np.testing.assert_allclose(detectors.distances(features)[0], 1)
    assert detectors.thresholds[0] == 1  # from itself too, and the mean is not below that
    assert not detectors.accepted(features)[:, 0].any()


def test_seen_groups_are_accepted_and_others_are_not() -> None:
    features, groups = blobs([80, 80, 80, 80], spread=0.2)
    hashing = WTAHash.fit(features[groups < 3], 512)
    detectors = fit_detectors(hashing(features), groups, [0, 1, 2])
    accepted = detectors.accepted(hashing(blobs([80, 80, 80, 80], spread=0.2, seed=9)[0]))
    assert accepted[np.arange(320), np.minimum(groups, 2)][groups < 3].mean() > 0.95
    assert accepted[groups == 3].mean() < 0.05


def test_capped_members_keep_the_mean_and_nearly_the_threshold() -> None:
    codes, groups = codes_of([400, 300], hashes=256)
    exact = fit_detectors(codes, groups, [0, 1], members=None)
    capped = fit_detectors(codes, groups, [0, 1], members=150)
    assert np.array_equal(exact.distances(codes), capped.distances(codes))
    assert np.abs(exact.thresholds / capped.thresholds - 1).max() < 0.05
    assert (exact.thresholds != capped.thresholds).any()
    assert np.array_equal(capped.thresholds, fit_detectors(codes, groups, [0, 1], members=150).thresholds)
    assert capped.thresholds[1] == fit_detectors(codes, groups, [1], members=150).thresholds[0]  # a draw of its own
    drawn = {float(fit_detectors(codes, groups, [1], members=50, seed=seed).thresholds[0]) for seed in range(5)}
    assert len(drawn) > 1
    assert np.array_equal(fit_detectors(codes, groups, [0, 1], members=400).thresholds, exact.thresholds)


def test_distances_do_not_depend_on_chunks_nor_on_the_order_of_members(monkeypatch: pytest.MonkeyPatch) -> None:
    codes, groups = codes_of([50, 61])
    whole = fit_detectors(codes, groups, [0, 1])
    order = np.random.default_rng(0).permutation(len(codes))
    mixed = fit_detectors(codes[order], groups[order], [0, 1])
    expected, inside = whole.distances(codes), whole.accepted(codes)
    assert np.array_equal(inside, expected < whole.thresholds)
    assert np.array_equal(mixed.distances(codes), expected)
    monkeypatch.setattr(wta, "CHUNK_BYTES", 3000)
    assert np.array_equal(whole.distances(codes), expected)
    assert np.array_equal(whole.accepted(codes), inside)
    assert np.array_equal(fit_detectors(codes, groups, [0, 1]).sums, whole.sums)


def test_memory_is_bounded_by_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wta, "CHUNK_BYTES", 2**20)
    codes = np.random.default_rng(0).integers(0, 2, (4000, 64)).astype(np.uint8)
    tracemalloc.start()
    detectors = fit_detectors(codes, np.zeros(4000), [0], members=None)
    distances = detectors.distances(codes)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak - distances.nbytes < 24 * 2**20  # a few blocks of 1024 x 1024; all pairs as float32 take 61 MB


def test_no_samples_and_no_classes() -> None:
    codes, groups = codes_of([20])
    assert fit_detectors(codes, groups, [0]).distances(codes[:0]).shape == (0, 1)
    none = fit_detectors(codes, groups, [])
    assert none.distances(codes).shape == (20, 0)
    assert not none.accepted(codes).any(axis=1).any()
    for window in (2, 3):
        empty = fit_detectors(codes[:0], groups[:0], [0, 1], window=window)
        assert not empty.accepted(codes).any()
