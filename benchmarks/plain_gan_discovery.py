"""The plain way of discovery's stages, as the official code does it: what benchmarks/gan_discovery.py compares with."""

import numpy as np
from sklearn.svm import SVC


def plain_codes(features: np.ndarray, permutations: np.ndarray, window: int) -> np.ndarray:
    """Return one-hot codes (N, H window) float32 from whole permutations (H, D), one after another."""
    codes = np.stack([features[:, order][:, :window].argmax(axis=1) for order in permutations], axis=1)
    return np.eye(window, dtype=np.float32)[codes].reshape(len(features), -1)


def plain_pairs(one_hot: np.ndarray, hashes: int) -> np.ndarray:
    """Return all pairwise Hamming distances (n, n) within a class of one-hot codes."""
    return hashes - one_hot @ one_hot.T


def plain_threshold(pairs: np.ndarray, percentile: float) -> float:
    """Return the smallest of the top 1 - percentile of all pairwise distances."""
    rank = max(1, int(pairs.size * (1 - percentile)))
    return float(np.partition(pairs.ravel(), -rank)[-rank])


def plain_distances(one_hot: np.ndarray, members: np.ndarray, hashes: int, batch: int = 1000) -> np.ndarray:
    """Return mean distances (N,) of samples to the members of one class, from the distances to each of them."""
    total = np.zeros(len(one_hot), np.float32)
    for start in range(0, len(members), batch):
        total += (hashes - members[start : start + batch] @ one_hot.T).sum(axis=0)
    return total / len(members)


def plain_refine(features: np.ndarray, labels: np.ndarray, known: int, epsilon: float, tau: int) -> np.ndarray:
    """Return labels after one SVM a cluster against all other clustered samples, predicting every sample.

    With the thesis' "fewer than tau" instead of "at most tau".
    """
    result, counter, clustered = labels.copy(), known, labels != -1
    for label in np.unique(labels[labels >= known]):
        model = SVC(C=1.0, kernel="rbf", gamma=1 / features.shape[1])
        predicted = model.fit(features[clustered], labels[clustered] == label).predict(features)
        own = labels == label
        fired = own & predicted
        result[own] = -1
        if fired.sum() / own.sum() > epsilon and fired.sum() >= tau:
            result[fired] = counter
            counter += 1
    return result
