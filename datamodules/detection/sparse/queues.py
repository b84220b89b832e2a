"""Random queues, the one step that all sparse splits consist of."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Units:
    """What is removed as a whole, U of them: an annotation, or all annotations of a class in an image.

    Attributes:
        images: (U,) int64, which image.
        labels: (U,) int64, which class.
        keys: (U,) float64 uniform in [0, 1), its order in the queue.
        chances: (U,) float64 uniform in [0, 1), for "random" rounding.
        weights: (U,) int64, what it counts for the percentage.
    """

    images: NDArray[np.int64]
    labels: NDArray[np.int64]
    keys: NDArray[np.float64]
    chances: NDArray[np.float64]
    weights: NDArray[np.int64]


@dataclass(frozen=True)
class Queues:
    """The units of every group in a random order.

    Attributes:
        before: (U,) int64, the weight of the units ahead in the same queue.
        total: (U,) int64, the weight of the whole queue.
        turn: (U,) float64, the weight from which on a unit is removed; with "ceil", above which.
        rounding: see `SplitOptions`.
    """

    before: NDArray[np.int64]
    total: NDArray[np.int64]
    turn: NDArray[np.float64]
    rounding: str

    def due(self, percent: float) -> NDArray[np.bool_]:
        """Return (U,) bool: the front of every queue, ``percent`` of its weight."""
        return self.before <= self.room(percent)

    def room(self, percent: float) -> NDArray[np.float64]:
        """Return (U,) float64: how much weight may go before a unit so that it still belongs to ``percent``."""
        share = np.round(percent * self.total / 100, 9)  # 33.3% of 1,000 are 333, not 332.99999999999994
        return np.ceil(share) - 1 if self.rounding == "ceil" else share - (self.turn - self.before)

    def all_but_one(self) -> NDArray[np.bool_]:
        """Return (U,) bool: everything but the end of each queue, for units of weight 1."""
        return self.before < self.total - 1


def by_pair(units: Units, by_count: bool = False) -> tuple[Units, NDArray[np.int64]]:
    """Return the classes of each image as units, and (U,) int64, which of them every annotation belongs to.

    A pair draws the numbers of its annotation of lowest id, so that they do not hang on how classes are numbered, and
    weighs 1, or as much as it has annotations if ``by_count``.
    """
    pair = units.images * (units.labels.max() + 1) + units.labels
    _, first, pair_of, counts = np.unique(pair, return_index=True, return_inverse=True, return_counts=True)
    weights = counts if by_count else np.ones_like(counts)
    return Units(
        units.images[first], units.labels[first], units.keys[first], chances=units.chances[first], weights=weights
    ), pair_of


def queues(units: Units, groups: NDArray[np.int64], rounding: str) -> Queues:
    """Return one queue for each group, of which ``groups``, (U,) int64, says who is in it."""
    order = np.lexsort((units.keys, groups))
    weights = units.weights[order]
    starts = np.flatnonzero(np.append(True, np.diff(groups[order]) > 0))
    sizes = np.diff(np.append(starts, len(order)))
    ahead = np.cumsum(weights) - weights
    before, total, chance = np.empty_like(groups), np.empty_like(groups), np.empty(len(groups))
    before[order] = ahead - np.repeat(ahead[starts], sizes)
    total[order] = np.repeat(np.add.reduceat(weights, starts), sizes)
    chance[order] = np.repeat(units.chances[order][starts], sizes)
    part = {"floor": np.ones(1), "round": np.full(1, 0.5), "ceil": np.zeros(1), "random": 1 - chance}[rounding]
    return Queues(before, total, before + part * units.weights, rounding=rounding)
