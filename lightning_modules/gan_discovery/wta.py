"""Winner-take-all hash: which of a few randomly chosen features is the largest (thesis 4.2.3 and 4.5.5)."""

from typing import Self

import numpy as np

from visionscapes.errors import UserError

CHUNK_BYTES = 32 * 2**20  # of the largest array that a step over a chunk of samples makes


class WTAHash:
    """Maps features to codes: for each of many random permutations, the place of the largest of the first few entries.

    A permutation is only ever looked at up to the window, so that those entries are all that is kept. The official
    code draws new permutations from an unseeded generator in every round.

    Args:
        dim: number of features.
        hashes: number of permutations, H.
        window: entries of each permutation that are compared, K; at most 255.
        seed: of the permutations.
        among: (M,) integers below ``dim``, the dimensions that are permuted; all when None.

    Attributes:
        positions: (H, K) int64, the compared dimensions of each hash; with it, ``of`` makes the same hash again.

    Raises:
        UserError: there are fewer dimensions than the window has entries.
    """

    def __init__(self, dim: int, hashes: int = 2048, window: int = 2, seed: int = 0, among: np.ndarray | None = None):
        chosen = np.arange(dim) if among is None else np.asarray(among)
        if len(chosen) < window:
            raise UserError(
                f"A hash of window {window} needs {window} features that vary, and {len(chosen)} of {dim} do. "
                "The network gives (nearly) the same features for all images: train it longer or with a lower "
                "learning rate."
            )
        drawn = np.random.default_rng(seed).random((hashes, len(chosen)))
        self.positions = chosen[np.argsort(drawn, axis=1)[:, :window]].astype(np.int64)

    @classmethod
    def fit(cls, features: np.ndarray, hashes: int = 2048, window: int = 2, seed: int = 0) -> Self:
        """Return a hash over the dimensions that vary in the reference ``features`` (N, D).

        A unit that never fires is 0 for all images. Compared with another such unit it gives all images the same
        entry of the code, which makes all distances shorter and tells nothing.
        """
        varying = np.flatnonzero(features.max(axis=0) > features.min(axis=0))
        return cls(features.shape[1], hashes, window, seed, varying)

    @classmethod
    def of(cls, positions: np.ndarray) -> Self:
        """Return the hash whose ``positions`` (H, K) were stored."""
        made = cls.__new__(cls)
        made.positions = np.asarray(positions, dtype=np.int64)
        return made

    @property
    def window(self) -> int:
        """Number K of entries that are compared; codes lie in [0, K)."""
        return self.positions.shape[1]

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Return the codes of features (N, D): (N, H) uint8 in [0, K); of equal entries the first one wins."""
        hashes, window = self.positions.shape
        codes = np.empty((len(features), hashes), np.uint8)
        for part in chunks(len(features), 2 * hashes * features.itemsize):
            columns = np.ascontiguousarray(features[part].T)  # whole rows are gathered, which is fast
            winner = np.zeros((hashes, columns.shape[1]), np.uint8)
            largest = columns[self.positions[:, 0]]
            for place in range(1, window):
                entry = columns[self.positions[:, place]]
                np.copyto(winner, place, where=entry > largest)
                np.maximum(largest, entry, out=largest)
            codes[part] = winner.T
        return codes


def chunks(count: int, row_bytes: int) -> list[slice]:
    """Return slices that cover ``count`` rows and hold at most CHUNK_BYTES each, but at least one row."""
    step = max(1, CHUNK_BYTES // row_bytes)
    return [slice(start, min(start + step, count)) for start in range(0, count, step)]


def embed(codes: np.ndarray, window: int, dtype: type = np.float32) -> np.ndarray:
    """Return vectors whose inner products are Hamming distances, see ``from_inner``.

    Args:
        codes: (N, H) uint8 in [0, window).
        window: K.
        dtype: of the result; float32 holds all inner products exactly up to H = 2^24.

    Returns:
        (N, H) of -1 and 1 for K = 2, half as wide as the one-hot codes of the official code; else (N, H K) of 0 and 1.
    """
    if window == 2:
        signs: np.ndarray = codes.astype(dtype)
        signs *= 2
        signs -= 1
        return signs
    one_hot = codes[:, :, None] == np.arange(window, dtype=np.uint8)
    return one_hot.reshape(len(codes), codes.shape[1] * window).astype(dtype)


def from_inner(inner: np.ndarray, hashes: int, window: int) -> np.ndarray:
    """Return Hamming distances, in [0, H], from inner products of embedded codes or of means of them."""
    return (hashes - inner) / 2 if window == 2 else hashes - inner


def hamming(first: np.ndarray, second: np.ndarray, window: int) -> np.ndarray:
    """Return (N, M) float32, the number of hashes in which codes (N, H) and (M, H) differ; exact."""
    return from_inner(embed(first, window) @ embed(second, window).T, first.shape[1], window)
