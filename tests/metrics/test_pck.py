import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics.pck import PercentageOfCorrectKeypoints

# Each pair: (category, distances of its keypoints in pixels); every box is 100 pixels.
PAIRS = [(0, [5.0, 20.0, 20.0, 20.0]), (0, [5.0, 5.0]), (3, [20.0]), (3, [5.0])]


def add(metric: PercentageOfCorrectKeypoints, category: int, distances: list[float], box: float = 100.0) -> None:
    target = torch.rand(len(distances), 2) * 50
    # A 3-4-5 triangle, so that the distance is not along one axis.
    metric.update(target + torch.tensor(distances)[:, None] * torch.tensor([0.6, 0.8]), target, box, category)


def measured(pairs: list[tuple[int, list[float]]], **options) -> tuple[float, float, int]:
    metric = PercentageOfCorrectKeypoints([0.1], **options)
    for pair in pairs:
        add(metric, *pair)
    value, error, count = metric.compute()["PCK@0.1"]
    return float(value), float(error), count


def test_keypoints_are_pooled_in_a_category_and_categories_averaged() -> None:
    value, error, count = measured(PAIRS)
    assert value == pytest.approx((3 / 6 + 1 / 2) / 2)
    assert count == 4
    # Linearised by hand: residuals x - p n are (1 - 2, 2 - 1) and (-.5, .5); Var = m / (m - 1) * sum r^2 / n^2.
    assert error == pytest.approx(math.sqrt(2 * 2 / 36 + 2 * 0.5 / 4) / 2)


def test_pairs_can_be_averaged_instead() -> None:
    value, error, _ = measured(PAIRS, aggregation="pair")
    shares = torch.tensor([0.25, 1.0, 0.0, 1.0])
    assert value == pytest.approx(float(shares.mean()))
    assert error == pytest.approx(float(shares.std() / 2))


@pytest.mark.parametrize(("comparison", "share"), [("<", 0.0), ("<=", 1.0)])
def test_a_distance_equal_to_the_threshold(comparison: str, share: float) -> None:
    metric = PercentageOfCorrectKeypoints([0.5], comparison=comparison)
    metric.update(torch.tensor([[8.0, 0.0]]), torch.tensor([[0.0, 0.0]]), 16.0, 0)
    assert metric.compute()["PCK@0.5"].value == share


def test_threshold_grows_with_the_box_of_the_target() -> None:
    metric = PercentageOfCorrectKeypoints([0.1, 0.05, 0.01])
    add(metric, 0, [2.0], box=30.0)
    add(metric, 0, [2.0], box=300.0)
    assert {name: float(figure.value) for name, figure in metric.compute().items()} == {
        "PCK@0.1": 1.0,
        "PCK@0.05": 0.5,
        "PCK@0.01": 0.5,
    }


def test_variants_are_scored_apart() -> None:
    metric = PercentageOfCorrectKeypoints([0.1, 0.01], variants=["", " (other)"])
    target = torch.rand(5, 2)
    metric.update(torch.stack([target, target + 5]), target, 100.0, 0)
    figures = {name: float(figure.value) for name, figure in metric.compute().items()}
    assert figures == {"PCK@0.1": 1.0, "PCK@0.01": 1.0, "PCK@0.1 (other)": 1.0, "PCK@0.01 (other)": 0.0}


def test_pairs_without_keypoints_do_not_count() -> None:
    assert measured([*PAIRS, (7, [])]) == measured(PAIRS)


def test_a_category_with_one_pair_borrows_the_variance_of_a_pair() -> None:
    several = measured([(0, [5.0]), (0, [20.0])])
    with_single = measured([(0, [5.0]), (0, [20.0]), (1, [5.0])])
    pair_variance = several[1] ** 2 * 2
    assert with_single[1] == pytest.approx(math.sqrt(pair_variance / 2 + pair_variance) / 2)


@pytest.mark.filterwarnings("ignore:The ``compute`` method:UserWarning")
@pytest.mark.parametrize("aggregation", ["category", "pair"])
@pytest.mark.parametrize("pairs", [[], [(0, [5.0])]])
def test_too_few_pairs_have_no_error(pairs: list, aggregation: str) -> None:
    value, error, count = measured(pairs, aggregation=aggregation)
    assert count == len(pairs)
    assert math.isnan(error)
    assert math.isnan(value) == (not pairs)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.lists(st.floats(0, 40), min_size=1, max_size=4)), min_size=1))
def test_agrees_with_plain_loops_in_any_order(pairs: list) -> None:
    pooled: dict[int, list[bool]] = {}
    for category, distances in pairs:
        pooled.setdefault(category, []).extend(d < 10 for d in distances if abs(d - 10) > 1e-3)
    near = [(category, [d for d in distances if abs(d - 10) > 1e-3]) for category, distances in pairs]
    pooled = {category: hits for category, hits in pooled.items() if hits}
    value, _, count = measured(near[::-1])
    assert count == sum(bool(distances) for _, distances in near)
    if pooled:
        assert value == pytest.approx(sum(sum(hits) / len(hits) for hits in pooled.values()) / len(pooled))


def test_standard_error_is_the_spread_over_repeated_draws() -> None:
    generator = torch.Generator().manual_seed(0)
    values, errors = [], []
    for _ in range(200):
        metric = PercentageOfCorrectKeypoints([0.1])
        for pair in range(40):
            keypoints = int(torch.randint(1, 8, (), generator=generator))
            quality = torch.rand((), generator=generator)  # keypoints of one pair succeed together
            wrong = torch.rand(keypoints, generator=generator) > quality
            metric.update(wrong[:, None] * torch.full((1, 2), 50.0), torch.zeros(keypoints, 2), 100.0, pair % 4)
        figure = metric.compute()["PCK@0.1"]
        values.append(figure.value)
        errors.append(figure.standard_error)
    assert float(torch.stack(errors).mean()) == pytest.approx(float(torch.stack(values).std()), rel=0.15)
