import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from experiments.claims import CONSTANT, Verdict, effect_of, examine, overall, value_of

HOLDS, FAILS, UNDECIDED = Verdict.HOLDS, Verdict.FAILS, Verdict.UNDECIDED
finite = st.floats(-100, 100).map(lambda value: round(value, 6))


@given(st.lists(finite, min_size=2, max_size=8).filter(lambda values: max(values) - min(values) > 1e-3))
def test_interval_is_that_of_the_one_sample_t_test(samples):
    effect = effect_of(samples)
    low, high = stats.ttest_1samp(samples, 0).confidence_interval(0.95)
    assert effect.low == pytest.approx(low, rel=1e-6, abs=1e-6)
    assert effect.high == pytest.approx(high, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(
    ("samples", "verdict"),
    [
        ([1.0, 1.1, 0.9], HOLDS),  # mean 1, half width 4.303 * 0.1 / sqrt(3) = 0.248
        ([-1.0, -1.1, -0.9], FAILS),
        ([1.0, 0.1, 1.9], UNDECIDED),  # the same mean, half width 2.24
        ([1.0, 1.1], UNDECIDED),  # too few seeds, however clear
        ([5.0], UNDECIDED),
        ([], UNDECIDED),
        ([2.0, 2.0, 2.0], HOLDS),  # what does not depend on the seed, such as a cost
        ([0.0, 0.0, 0.0], UNDECIDED),
    ],
)
def test_verdict_of_one_comparison(samples, verdict):
    assert effect_of(samples).verdict is verdict


@given(st.lists(finite, min_size=3, max_size=6))
def test_verdict_turns_round_with_the_sign(samples):
    opposite = {HOLDS: FAILS, FAILS: HOLDS, UNDECIDED: UNDECIDED}
    assert effect_of([-sample for sample in samples]).verdict is opposite[effect_of(samples).verdict]


@pytest.mark.parametrize(
    ("verdicts", "every", "most"),
    [
        ([HOLDS, HOLDS, HOLDS], HOLDS, HOLDS),
        ([HOLDS, HOLDS, FAILS], FAILS, HOLDS),
        ([HOLDS, HOLDS, UNDECIDED], UNDECIDED, HOLDS),
        ([HOLDS, UNDECIDED, UNDECIDED], UNDECIDED, UNDECIDED),
        ([HOLDS, FAILS], FAILS, FAILS),  # half is not most
        ([FAILS, UNDECIDED, UNDECIDED], FAILS, UNDECIDED),
        ([], UNDECIDED, UNDECIDED),
    ],
)
def test_verdict_of_several_comparisons(verdicts, every, most):
    assert overall(verdicts, "every") is every
    assert overall(verdicts, "most") is most


FIGURES = {  # seeds differ far more than methods do
    ("LiFT", "32"): [10.0, 30.0, 50.0],
    ("base", "32"): [9.0, 28.9, 49.1],
    ("LiFT", "64"): [20.0, 40.0, 60.0],
    ("base", "64"): [20.5, 39.0, 60.1],
}
BETTER = [{("LiFT", column): 1.0, ("base", column): -1.0} for column in ("32", "64")]


def figure(row, column, seed):
    values = FIGURES.get((row, column), [])
    return values[seed] if seed < len(values) else None


def test_seeds_are_paired():
    finding = examine(BETTER, figure, range(3))
    assert [effect.verdict for effect in finding.effects] == [HOLDS, UNDECIDED]
    assert finding.effects[0].mean == pytest.approx(1.0)
    assert (finding.verdict, finding.held) == (UNDECIDED, 1)
    assert finding.decisive == finding.effects[1]


def test_mean_over_comparisons_is_one_comparison():
    finding = examine(BETTER, figure, range(3), across="mean")
    differences = [(1.0 - 0.5) / 2, (1.1 + 1.0) / 2, (0.9 - 0.1) / 2]
    assert len(finding.effects) == 1
    assert finding.effects[0].mean == pytest.approx(sum(differences) / 3)


def test_seed_without_all_cells_does_not_count():
    finding = examine(BETTER, lambda row, column, seed: None if seed == 1 else figure(row, column, seed), range(3))
    assert {effect.seeds for effect in finding.effects} == {2}
    assert finding.verdict is UNDECIDED


def test_without_figures_nothing_is_decided():
    finding = examine(BETTER, lambda *_: None, [])
    assert (finding.verdict, finding.decisive, finding.held) == (UNDECIDED, None, 0)


def test_weighted_sum_of_cells():
    figures = {("a", "x"): 3.0, ("b", "x"): 1.0, ("c", "x"): math.nan}
    assert value_of({("a", "x"): 1.0, ("b", "x"): -2.0}, lambda *cell: figures.get(cell)) == 1.0
    assert value_of({("a", "x"): 1.0, ("c", "x"): -2.0}, lambda *cell: figures.get(cell)) is None
    assert value_of({("a", "x"): 1.0, ("d", "x"): -2.0}, lambda *cell: figures.get(cell)) is None


def test_figure_is_compared_with_a_number():
    above = [{("LiFT", "32"): 1.0, CONSTANT: -9.5}]
    finding = examine(above, lambda row, column, seed: figure(row, column, seed) and 10.0 + 0.1 * seed, range(3))
    assert finding.effects[0].mean == pytest.approx(0.6)
    assert finding.verdict is HOLDS
    assert value_of({("b", "x"): 1.0, CONSTANT: 2.0}, lambda *_: None) is None
    mean = examine([*above, {("LiFT", "32"): -1.0, CONSTANT: 9.5}], figure, range(3), across="mean")
    assert mean.effects[0].mean == pytest.approx(0)


def test_more_seeds_narrow_the_interval():
    widths = [effect_of([0.9, 1.1] * count) for count in (1, 2, 4)]
    assert all(after.high - after.low < before.high - before.low for before, after in pairwise(widths))
