"""How well scores tell samples of the training distribution from others (thesis 4.5.5.2, Table 4.12; open sets)."""

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score


@dataclass(frozen=True)
class Separation:
    """How well two groups of samples are told apart; all in [0, 1], NaN where one of the groups is empty.

    Attributes:
        fpr95: false positive rate at a true positive rate of at least 95 %; lower is better.
        detection_error: least mean of false negative and false positive rate over all thresholds; lower is better,
            1/2 is chance.
        auroc: area under the receiver operating characteristic; 1/2 is chance.
        aupr_in: average precision with the samples inside as positives.
        aupr_out: average precision with the samples outside as positives.
    """

    fpr95: float
    detection_error: float
    auroc: float
    aupr_in: float
    aupr_out: float


def separation(inside: np.ndarray, outside: np.ndarray) -> Separation:
    """Return how well a score tells samples inside a distribution from those outside.

    A sample is taken for inside from a threshold on, so that samples of equal scores go together and nothing is
    interpolated: FPR at 95 % TPR is that of the highest threshold that reaches 95 %. The detection error is a minimum
    over thresholds, as the figures of Table 4.12 are, which lie below (5 % + FPR) / 2. The areas are those of
    scikit-learn.

    Args:
        inside: (N,) scores of samples inside, higher the more a sample looks inside; infinite ones are allowed.
        outside: (M,) scores of samples outside.

    Raises:
        ValueError: a score is NaN.
    """
    both = np.concatenate([np.asarray(inside), np.asarray(outside)])
    if np.isnan(both).any():
        raise ValueError("a score of out-of-distribution detection is NaN")
    if not len(inside) or not len(outside):
        return Separation(*[float("nan")] * 5)
    # Only the order of scores counts, and scikit-learn takes no infinite ones.
    distinct, ranks = np.unique(both, return_inverse=True)
    positive = np.arange(len(both)) < len(inside)
    tpr, fpr = (_taken(ranks[part], len(distinct)) for part in (positive, ~positive))
    return Separation(
        float(fpr[np.flatnonzero(tpr >= 0.95)[0]]),
        float(((1 - tpr + fpr) / 2).min()),
        float(roc_auc_score(positive, ranks)),
        aupr_in=float(average_precision_score(positive, ranks)),
        aupr_out=float(average_precision_score(~positive, -ranks)),
    )


def open_set_classification_rate(inside: np.ndarray, right: np.ndarray, outside: np.ndarray) -> float:
    """Return OSCR, how well known samples are classified while unknown ones are refused.

    The area under the curve of the correct classification rate, the share of the known samples that are classified
    rightly and score above a threshold, over the share of the unknown ones that do (Dhamija et al., "Reducing Network
    Agnostophobia", NeurIPS 2018). Equal to the share of the pairs of a known and an unknown sample in which the known
    one is classified rightly and scores higher, equal scores counting half, as the trapezoids of the curve do: at most
    the AUROC, which it equals where every known sample is classified rightly.

    Args:
        inside: (N,) scores of known samples, higher the more a sample looks known; infinite ones are allowed.
        right: (N,) bool, whether each is classified rightly among the known classes.
        outside: (M,) scores of unknown samples.

    Returns:
        In [0, 1]; NaN where one of the groups is empty.

    Raises:
        ValueError: a score is NaN.
    """
    inside, outside = np.asarray(inside), np.sort(outside)
    if np.isnan(inside).any() or np.isnan(outside).any():
        raise ValueError("a score of open-set recognition is NaN")
    if not len(inside) or not len(outside):
        return float("nan")
    below, up_to = (np.searchsorted(outside, inside, side) for side in ("left", "right"))  # type: ignore[call-overload]
    return float((right * (below + up_to)).mean() / (2 * len(outside)))


def _taken(ranks: np.ndarray, thresholds: int) -> np.ndarray:
    """Return the share taken for inside at every threshold, first at one that no sample reaches."""
    return np.concatenate([[0], np.bincount(ranks, minlength=thresholds)[::-1].cumsum()]) / len(ranks)
