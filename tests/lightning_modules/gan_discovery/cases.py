import numpy as np


def blobs(
    sizes: list[int], dim: int = 16, spread: float = 0.3, seed: int = 0, centre_seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Return non-negative, partly zero features (N, D) float32 around one centre a group, and the groups (N,)."""
    centres = np.maximum(np.random.default_rng(centre_seed).normal(0, 2, (len(sizes), dim)), 0)
    groups = np.repeat(np.arange(len(sizes)), sizes)
    noise = spread * np.random.default_rng((seed, 1)).normal(size=(len(groups), dim))
    return np.maximum(centres[groups] + noise, 0).astype(np.float32), groups


def are_contiguous(labels: np.ndarray, known: int) -> bool:
    """Return whether discovered labels are known, known + 1, ... without gaps."""
    found = np.unique(labels[labels >= known])
    return labels.dtype == np.int64 and found.tolist() == list(range(known, known + len(found)))
