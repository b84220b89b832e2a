"""Queues against the same written with lists, one group at a time."""

import math

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from datamodules.detection.sparse.queues import Units, by_pair, queues

PERCENTS = [0, 12.5, 33.3, 50, 100]


def units(n: int, seed: int, most: int = 1) -> Units:
    """Return ``n`` units of up to five images and three classes, that weigh 1 to ``most``."""
    rng = np.random.default_rng(seed)
    return Units(
        rng.integers(0, 5, n), rng.integers(0, 3, n), rng.random(n), rng.random(n), rng.integers(1, most + 1, n)
    )


def queue_of(chosen: Units, groups: np.ndarray, group: int) -> list[int]:
    """Return who is in the queue of a group, in its order."""
    return sorted(np.flatnonzero(groups == group).tolist(), key=lambda each: chosen.keys[each])


@hypothesis.settings(deadline=None)
@hypothesis.given(st.integers(1, 30), st.integers(0, 2**32 - 1), st.sampled_from([1, 4]))
def test_a_unit_knows_what_stands_before_it_and_how_long_its_queue_is(n, seed, most):
    chosen = units(n, seed, most)
    found = queues(chosen, chosen.images, "floor")
    last = set()
    for group in set(chosen.images.tolist()):
        order = queue_of(chosen, chosen.images, group)
        for place, unit in enumerate(order):
            assert found.before[unit] == sum(chosen.weights[other] for other in order[:place])
            assert found.total[unit] == sum(chosen.weights[other] for other in order)
        last.add(order[-1])
    if most == 1:
        assert set(np.flatnonzero(~found.all_but_one()).tolist()) == last


@pytest.mark.parametrize("rounding", ["floor", "round", "ceil", "random"])
@hypothesis.settings(deadline=None, max_examples=30)
@hypothesis.given(st.integers(1, 30), st.integers(0, 2**32 - 1), st.sampled_from(PERCENTS))
def test_the_front_of_a_queue_is_due_up_to_a_rounded_number(rounding, n, seed, percent):
    chosen = units(n, seed)
    due = queues(chosen, chosen.labels, rounding).due(percent)
    for group in set(chosen.labels.tolist()):
        order = queue_of(chosen, chosen.labels, group)
        share = round(percent * len(order) / 100, 9)
        chance = chosen.chances[order[0]]  # one for the whole queue, that of its head
        number = {
            "floor": math.floor(share),
            "round": math.floor(share + 0.5),
            "ceil": math.ceil(share),
            "random": math.floor(share + chance),
        }[rounding]
        assert due[order].tolist() == [True] * number + [False] * (len(order) - number)


def test_half_a_heavy_unit_is_enough_where_numbers_are_rounded():
    """Weights 3 and 2, of which 50 % are 2.5: the first goes if that is nearer than leaving it."""
    chosen = Units(np.zeros(2, int), np.zeros(2, int), np.array([0.1, 0.9]), np.zeros(2), np.array([3, 2]))
    expected = {"floor": [False, False], "round": [True, False], "ceil": [True, False]}
    found = {rounding: queues(chosen, chosen.images, rounding).due(50).tolist() for rounding in expected}
    assert found == expected


@pytest.mark.parametrize("by_count", [False, True])
@hypothesis.settings(deadline=None)
@hypothesis.given(st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_a_pair_is_a_class_in_an_image_with_the_numbers_of_its_first_annotation(by_count, n, seed):
    chosen = units(n, seed)
    pairs, pair_of = by_pair(chosen, by_count)
    members: dict[tuple[int, int], list[int]] = {}
    for annotation, pair in enumerate(zip(chosen.images.tolist(), chosen.labels.tolist(), strict=True)):
        members.setdefault(pair, []).append(annotation)
    assert sorted(zip(pairs.images.tolist(), pairs.labels.tolist(), strict=True)) == sorted(members)
    for place, pair in enumerate(zip(pairs.images.tolist(), pairs.labels.tolist(), strict=True)):
        own = members[pair]
        assert np.flatnonzero(pair_of == place).tolist() == own
        assert (pairs.keys[place], pairs.chances[place]) == (chosen.keys[own[0]], chosen.chances[own[0]])
        assert pairs.weights[place] == (len(own) if by_count else 1)
