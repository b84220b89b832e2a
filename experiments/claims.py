"""From figures to a verdict: what a claim compares, how large the effect is, and whether it is there.

A claim is a set of comparisons, each a weighted sum of table cells that is positive where the claim is right ("LiFT
minus base at 64 px"). All cells of a comparison come from runs with the same seed, so that what a seed does to both
sides cancels (a paired design). Over the seeds the effect is the mean of these sums with its two-sided 95 % t-interval:
the comparison holds if the interval lies above zero, fails if it lies below, and is undecided otherwise and with fewer
than three seeds. Nothing is corrected for the number of comparisons: a claim about every cell holds only if all of them
hold, which keeps its error rate at that of one, while "fails" needs a single failure and is to be read with its effect.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from statistics import fmean, stdev

Contrast = Mapping[tuple[str, str], float]  # (row, column) -> weight
CONSTANT = ("", "")  # stands for a cell that is 1 in every run, so that a figure can be compared with a number
MINIMUM_SEEDS = 3


class Verdict(StrEnum):
    """What the seeds say about a claim."""

    HOLDS = "holds"
    FAILS = "fails"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Effect:
    """Size of one comparison over the seeds, in the unit of the table.

    Args:
        mean: average over seeds; NaN without seeds.
        low: lower end of the 95 % t-interval; minus infinity for fewer than two seeds.
        high: its upper end.
        seeds: number of seeds behind it.
    """

    mean: float
    low: float
    high: float
    seeds: int

    @property
    def verdict(self) -> Verdict:
        """Whether the effect is there, is the other way round, or cannot be told from none."""
        if self.seeds < MINIMUM_SEEDS or not self.low <= self.high:
            return Verdict.UNDECIDED
        return Verdict.HOLDS if self.low > 0 else Verdict.FAILS if self.high < 0 else Verdict.UNDECIDED


def effect_of(samples: Sequence[float]) -> Effect:
    """Return mean and two-sided 95 % t-interval of one value a seed.

    Args:
        samples: the comparison's value for each seed.
    """
    count = len(samples)
    if count < 2:
        return Effect(samples[0] if samples else math.nan, -math.inf, math.inf, seeds=count)
    from scipy.special import stdtrit  # only where figures exist: scipy doubles the start-up time

    mean = fmean(samples)
    half_width = float(stdtrit(count - 1, 0.975)) * stdev(samples) / math.sqrt(count)
    return Effect(mean, mean - half_width, mean + half_width, seeds=count)


def value_of(contrast: Contrast, figure: Callable[[str, str], float | None]) -> float | None:
    """Return the weighted sum of cells, or None where one of them is missing.

    Args:
        contrast: weight of each (row, column).
        figure: gives the figure of (row, column), None if it is missing.
    """
    total = 0.0
    for (row, column), weight in contrast.items():
        value = 1.0 if (row, column) == CONSTANT else figure(row, column)
        if value is None or math.isnan(value):
            return None
        total += weight * value
    return total


def average(contrasts: Sequence[Contrast]) -> Contrast:
    """Return the one comparison that is the mean of several."""
    mean: dict[tuple[str, str], float] = {}
    for contrast in contrasts:
        for cell, weight in contrast.items():
            mean[cell] = mean.get(cell, 0.0) + weight / len(contrasts)
    return mean


def overall(verdicts: Iterable[Verdict], across: str) -> Verdict:
    """Return the verdict of a claim from those of its comparisons.

    Args:
        verdicts: one for each comparison.
        across: "every" holds if all hold and fails if one fails; "most" holds if more than half hold and fails if at
            least half fail.
    """
    verdicts = list(verdicts)
    held, failed = verdicts.count(Verdict.HOLDS), verdicts.count(Verdict.FAILS)
    if across == "most":
        holds, fails = 2 * held > len(verdicts), 2 * failed >= len(verdicts) > 0
    else:
        holds, fails = held == len(verdicts) > 0, failed > 0
    return Verdict.HOLDS if holds else Verdict.FAILS if fails else Verdict.UNDECIDED


@dataclass(frozen=True)
class Finding:
    """What was found about a claim.

    Args:
        effects: one for each comparison.
        across: how they combine, see ``overall``.
    """

    effects: tuple[Effect, ...]
    across: str

    @property
    def verdict(self) -> Verdict:
        """The verdict of the claim."""
        return overall((effect.verdict for effect in self.effects), self.across)

    @property
    def decisive(self) -> Effect | None:
        """The smallest effect among the comparisons that fail, else are undecided, else hold; None without figures."""
        order = (Verdict.FAILS, Verdict.UNDECIDED, Verdict.HOLDS)
        known = [effect for effect in self.effects if effect.seeds]
        return min(known, key=lambda effect: (order.index(effect.verdict), effect.mean), default=None)

    @property
    def held(self) -> int:
        """Number of comparisons that hold."""
        return sum(effect.verdict is Verdict.HOLDS for effect in self.effects)


def examine(
    contrasts: Sequence[Contrast],
    figure: Callable[[str, str, int], float | None],
    seeds: Iterable[int],
    across: str = "every",
) -> Finding:
    """Examine a claim on the figures of several seeds.

    Args:
        contrasts: its comparisons, positive where the claim is right.
        figure: gives the figure of (row, column, seed), None if it is missing.
        seeds: those that may have figures; a seed without all cells of a comparison does not count for it.
        across: "every", "most" (see ``overall``) or "mean": the comparisons are averaged into one first.
    """
    if across == "mean":
        contrasts = [average(contrasts)]
    seeds = sorted(set(seeds))
    effects = []
    for contrast in contrasts:
        values = (value_of(contrast, partial(_of_seed, figure, seed)) for seed in seeds)
        effects.append(effect_of([value for value in values if value is not None]))
    return Finding(tuple(effects), across)


def _of_seed(figure: Callable[[str, str, int], float | None], seed: int, row: str, column: str) -> float | None:
    return figure(row, column, seed)
