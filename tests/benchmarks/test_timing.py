import time

import pytest
import torch

from benchmarks.timing import Case, breakdown_of, compare, interleave, peak_memory


def test_variants_take_turns():
    calls = []
    interleave({name: lambda n, name=name: calls.append((name, n)) for name in "AB"}, rounds=3)
    assert "".join(name for name, _ in calls) in ("ABBAABBA", "BAABBAAB")
    assert [n for _, n in calls] == [0, 0, 0, 0, 1, 1, 2, 2]  # the first pair is not counted


def test_ratio_is_ours_over_plain():
    case = Case(lambda _: time.sleep(0.01), lambda _: time.sleep(0.1), lambda: 0.0, reach=0.5)
    result = compare(case, rounds=3)
    assert result["ratio"] < 0.6
    assert result["reached"]


class Loop:
    def __init__(self, seconds):
        self.seconds, self.steps = seconds, 0

    def step(self):
        self.steps += 1
        time.sleep(self.seconds)


def test_a_breakdown_is_over_the_plain_loop():
    loops = {"plain": Loop(0.01), "slow": Loop(0.05)}
    found = breakdown_of(loops, 2, rounds=3)
    assert {loop.steps for loop in loops.values()} == {2 * 4}
    assert found["plain"]["ratio"] == 1
    assert found["slow"]["ratio"] > 2
    assert found["slow"]["seconds"] == pytest.approx(0.05, rel=0.5), "of one step"


def allocating(ours_mib: int, plain_mib: int) -> Case:
    def allocate(mib):
        return lambda _: torch.ones(mib, 2**20, dtype=torch.uint8)

    return Case(allocate(ours_mib), allocate(plain_mib), lambda: 0.0, reach=1.0)


@pytest.mark.slow
def test_peak_memory_sees_what_tensors_take():
    peaks = peak_memory(allocating, (50, 200))
    assert peaks["ours_mib"] == pytest.approx(50, abs=8)
    assert peaks["plain_mib"] == pytest.approx(200, abs=8)
