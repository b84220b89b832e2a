"""Instance retrieval by the protocol of the revisited Oxford and Paris buildings."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

PRECISION_AT = (1, 5, 10)


class RetrievalScores(NamedTuple):
    """What ``compute_map`` finds; every figure is in [0, 1].

    Attributes:
        mean_ap: mean of ``ap`` over the queries that have positives; NaN if none has.
        mean_precision: (len(at),), mean precision among the first 1, 5 and 10.
        ap: (Q,), average precision of each query; NaN for a query without positives.
    """

    mean_ap: float
    mean_precision: np.ndarray
    ap: np.ndarray


def average_precision(ranks: np.ndarray, positives: int) -> float:
    """Return the area under the precision-recall curve by the trapezoid rule.

    Args:
        ranks: ranks from 0 at which positives were found, rising, junk not counted.
        positives: number of positives that could be found, at least 1.
    """
    found = np.arange(len(ranks))
    before = np.where(ranks == 0, 1.0, found / np.maximum(ranks, 1))
    return float(((before + (found + 1) / (ranks + 1)) / 2).sum() / positives)


def compute_map(
    ranking: np.ndarray,
    positives: Sequence[np.ndarray],
    junk: Sequence[np.ndarray],
    at: Sequence[int] = PRECISION_AT,
) -> RetrievalScores:
    """Return mean average precision and precision of rankings of a database.

    Junk is taken out of the ranking before anything is counted, and queries without positives do not take part. As
    in the official code, the precision among the first k has the rank of the last positive for its denominator where
    that is smaller than k.

    Args:
        ranking: (Q, D), positions in the database of D images, most similar first.
        positives: Q arrays of positions that have to be found.
        junk: Q arrays of positions that neither help nor harm.
        at: for which numbers of images precision is computed.

    Returns:
        See ``RetrievalScores``. F. Radenovic et al., "Revisiting Oxford and Paris", CVPR 2018, and its ``compute_map``;
        thesis 2.5.1.
    """
    ap = np.full(len(ranking), np.nan)
    precision = np.full((len(ranking), len(at)), np.nan)
    for query, order in enumerate(ranking):
        wanted = np.unique(positives[query])
        if not len(wanted):
            continue
        counted = order[~np.isin(order, junk[query])]
        ranks = np.flatnonzero(np.isin(counted, wanted))
        ap[query] = average_precision(ranks, len(wanted))
        first = [min(ranks.max(initial=0) + 1, k) for k in at]
        precision[query] = [(ranks < k).sum() / k for k in first]
    asked = ~np.isnan(ap)
    if not asked.any():
        return RetrievalScores(float("nan"), np.full(len(at), np.nan), ap)
    return RetrievalScores(float(ap[asked].mean()), precision[asked].mean(0), ap)


def medium_and_hard(
    easy: Sequence[np.ndarray], hard: Sequence[np.ndarray], junk: Sequence[np.ndarray]
) -> dict[str, tuple[list[np.ndarray], list[np.ndarray]]]:
    """Return positives and junk of the two settings that are reported, from the three kinds of the annotation.

    Medium: easy and hard ones are positives. Hard: easy ones are junk as well.

    Args:
        easy: Q arrays of positions in the database.
        hard: Q arrays.
        junk: Q arrays.

    Returns:
        "medium" and "hard" to (positives, junk), each Q arrays.
    """
    both = [np.concatenate(pair) for pair in zip(easy, hard, strict=True)]
    ignored = [np.concatenate(pair) for pair in zip(easy, junk, strict=True)]
    return {"medium": (both, list(junk)), "hard": (list(hard), ignored)}
