import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_modules.gan_discovery import wta
from lightning_modules.gan_discovery.wta import WTAHash, chunks, embed, from_inner, hamming
from tests.lightning_modules.gan_discovery.cases import blobs
from visionscapes.errors import UserError


def test_codes_by_hand() -> None:
    features = np.array([[1, 5, 3], [2, 2, 2], [0, 1, 9]], np.float32)
    codes = WTAHash.of(np.array([[0, 1], [1, 0], [1, 2], [2, 0]]))(features)
    assert codes.tolist() == [[1, 0, 0, 0], [0, 0, 0, 0], [1, 0, 1, 0]]  # of equal entries the first wins
    assert codes.dtype == np.uint8
    assert WTAHash.of(np.array([[0, 1, 2], [2, 0, 1]]))(features).tolist() == [[1, 2], [0, 0], [2, 0]]


@given(st.integers(2, 5), st.integers(1, 12), st.integers(0, 5))
@settings(max_examples=25, deadline=None)
def test_codes_are_the_argmax_of_the_first_entries(window: int, count: int, seed: int) -> None:
    features = np.random.default_rng(seed).integers(0, 4, (count, 6)).astype(np.float32)
    hashing = WTAHash(6, 32, window, seed)
    assert np.array_equal(hashing(features), features[:, hashing.positions].argmax(axis=2))


def test_positions_are_those_of_random_permutations() -> None:
    """Distinct within a hash, and each dimension as often as the others at each place."""
    positions = WTAHash(8, 4000, 3).positions
    assert positions.shape == (4000, 3)
    assert (np.diff(np.sort(positions, axis=1), axis=1) > 0).all()
    for place in range(3):
        assert np.abs(np.bincount(positions[:, place], minlength=8) - 500).max() < 100


def test_a_seed_always_gives_the_same_hash() -> None:
    """The official permutations come from an unseeded generator."""
    np.random.seed(0)
    first = WTAHash(16, 64, seed=3)
    np.random.seed(1)
    assert np.array_equal(first.positions, WTAHash(16, 64, seed=3).positions)
    assert not np.array_equal(first.positions, WTAHash(16, 64, seed=4).positions)


def test_a_stored_hash_gives_the_same_codes() -> None:
    features, _ = blobs([20, 20])
    hashing = WTAHash.fit(features, 64, seed=1)
    assert np.array_equal(WTAHash.of(hashing.positions)(features), hashing(features))


def test_units_that_never_fire_are_left_out() -> None:
    """Compared with each other they give every sample the same code, which brings everything nearer."""
    features, groups = blobs([30, 30], dim=8, seed=2)
    padded = np.concatenate([features, np.zeros((60, 56), np.float32)], axis=1)
    assert WTAHash.fit(padded, 256).positions.max() < 8
    fitted, drawn = (hashing(padded) for hashing in (WTAHash.fit(padded, 256), WTAHash(64, 256)))

    def between(codes: np.ndarray) -> float:
        return float(hamming(codes[groups == 0], codes[groups == 1], 2).mean())

    assert between(fitted) > 2 * between(drawn)


def test_constant_features_are_an_error_with_a_remedy() -> None:
    with pytest.raises(UserError, match=r"0 of 4 do.*learning rate"):
        WTAHash.fit(np.ones((10, 4), np.float32))
    with pytest.raises(UserError, match="needs 3 features that vary, and 2 of 2 do"):
        WTAHash(2, 8, window=3)


def test_codes_do_not_depend_on_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    features, _ = blobs([25, 26])
    hashing = WTAHash(16, 32)
    whole = hashing(features)
    monkeypatch.setattr(wta, "CHUNK_BYTES", 1000)
    assert np.array_equal(hashing(features), whole)
    assert hashing(features[:0]).shape == (0, 32)


def test_memory_is_bounded_by_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wta, "CHUNK_BYTES", 2**18)
    hashing, features = WTAHash(16, 512), np.random.default_rng(0).random((4000, 16), np.float32)
    tracemalloc.start()
    codes = hashing(features)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak - codes.nbytes < 4 * 2**18  # codes themselves are 2 MB, both entries of each hash 16 MB


@given(st.integers(0, 50), st.integers(1, 2**26))
def test_chunks_cover_all_rows_once(count: int, row: int) -> None:
    parts = chunks(count, row)
    assert [index for part in parts for index in range(count)[part]] == list(range(count))
    assert all(first.stop == second.start for first, second in pairwise(parts))
    assert all((part.stop - part.start) * row <= wta.CHUNK_BYTES or part.stop - part.start == 1 for part in parts)


@pytest.mark.parametrize("window", [2, 3, 5])
def test_hamming_counts_differing_hashes(window: int) -> None:
    rng = np.random.default_rng(window)
    first, second = (rng.integers(0, window, (n, 37)).astype(np.uint8) for n in (6, 9))
    expected = (first[:, None] != second[None]).sum(axis=2)
    assert np.array_equal(hamming(first, second, window), expected)
    means = embed(second, window, np.float64).mean(axis=0)
    found = from_inner(embed(first, window, np.float64) @ means, 37, window)
    np.testing.assert_allclose(found, expected.mean(axis=1))
