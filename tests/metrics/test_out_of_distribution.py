from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from metrics.out_of_distribution import open_set_classification_rate, separation

scores = st.lists(st.integers(0, 6), min_size=1, max_size=25)  # few values, so that there are many ties


def naive(inside: list[float], outside: list[float]) -> tuple[float, float]:
    """Return FPR at 95 % TPR and detection error."""
    rates = []
    for threshold in [*sorted({*inside, *outside}, reverse=True), -np.inf, np.inf]:
        tpr = sum(score >= threshold for score in inside) / len(inside)
        rates.append((tpr, sum(score >= threshold for score in outside) / len(outside)))
    return min(fpr for tpr, fpr in rates if tpr >= 0.95), min((1 - tpr + fpr) / 2 for tpr, fpr in rates)


@given(scores, scores)
def test_equals_scikit_learn_and_a_naive_version(inside: list[int], outside: list[int]) -> None:
    found = separation(np.array(inside), np.array(outside))
    truth, both = [1] * len(inside) + [0] * len(outside), np.array(inside + outside)
    assert (found.fpr95, found.detection_error) == pytest.approx(naive(inside, outside))
    assert found.auroc == pytest.approx(roc_auc_score(truth, both))
    assert found.aupr_in == pytest.approx(average_precision_score(truth, both))
    assert found.aupr_out == pytest.approx(average_precision_score(1 - np.array(truth), -both))
    fpr, tpr, _ = roc_curve(truth, both, drop_intermediate=False)
    assert found.fpr95 == pytest.approx(fpr[tpr >= 0.95].min())


@given(scores, scores)
def test_only_the_order_counts(inside: list[int], outside: list[int]) -> None:
    first, second = (np.array(part, float) for part in (inside, outside))
    assert separation(first, second) == separation(np.exp(first) - 5, np.exp(second) - 5)


def test_by_hand() -> None:
    inside, outside = np.arange(1, 21), np.array([0.5, 1.5, 2.5, 30])
    found = separation(inside, outside)
    assert found.fpr95 == 2 / 4  # from 2 on: 19 of 20 inside
    assert found.detection_error == pytest.approx((2 / 20 + 1 / 4) / 2)
    assert found.auroc == pytest.approx((20 + 19 + 18 + 0) / 80)


def test_perfect_reversed_and_equal_scores() -> None:
    low, high = np.array([0.1, 0.2]), np.array([0.8, 0.9])
    assert astuple(separation(high, low)) == pytest.approx((0, 0, 1, 1, 1))
    reverse = separation(low, high)
    assert (reverse.fpr95, reverse.detection_error, reverse.auroc) == pytest.approx((1, 0.5, 0))
    same = separation(np.ones(3), np.ones(1))
    assert astuple(same) == pytest.approx((1, 0.5, 0.5, 0.75, 0.25))


def test_infinite_scores_have_an_order() -> None:
    assert separation(np.array([np.inf, 1]), np.array([-np.inf, 0])).auroc == 1


def test_the_detection_error_is_a_minimum() -> None:
    """(5 % + FPR) / 2 would be another figure, larger than those of Table 4.12."""
    generator = np.random.default_rng(0)
    found = separation(generator.normal(1, 1, 500), generator.normal(0, 1, 500))
    assert found.detection_error < (0.05 + found.fpr95) / 2 - 0.05


def test_an_empty_group() -> None:
    for pair in ((np.zeros(0), np.ones(2)), (np.ones(2), np.zeros(0))):
        assert np.isnan(astuple(separation(*pair))).all()


def test_not_a_number() -> None:
    with pytest.raises(ValueError, match="NaN"):
        separation(np.array([1.0, np.nan]), np.ones(2))


def naive_oscr(inside: list[int], right: list[bool], outside: list[int]) -> float:
    """Return the area under the curve of Dhamija et al., drawn threshold by threshold."""
    points = [(0.0, 0.0)]
    for threshold in sorted({*inside, *outside}, reverse=True):
        kept = sum(ok and score >= threshold for score, ok in zip(inside, right, strict=True)) / len(inside)
        points.append((sum(score >= threshold for score in outside) / len(outside), kept))
    (x, y) = zip(*points, strict=True)
    return float(np.trapezoid(y, x))


known_samples = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=25)


@given(known_samples, scores)
def test_oscr_is_the_area_under_the_curve(known: list[tuple[int, bool]], outside: list[int]) -> None:
    inside, right = [score for score, _ in known], [ok for _, ok in known]
    found = open_set_classification_rate(np.array(inside), np.array(right), np.array(outside))
    assert found == pytest.approx(naive_oscr(inside, right, outside))
    auroc = separation(np.array(inside), np.array(outside)).auroc
    assert found <= min(auroc, np.mean(right)) + 1e-12
    everything = open_set_classification_rate(np.array(inside), np.ones(len(inside), bool), np.array(outside))
    assert everything == pytest.approx(auroc)


def test_oscr_by_hand() -> None:
    """Of four known samples one is classified wrongly; above both unknown ones lie two, one of them wrong."""
    inside, right = np.array([0.9, 0.8, 0.5, 0.1]), np.array([True, False, True, True])
    assert open_set_classification_rate(inside, right, np.array([0.6, 0.3])) == pytest.approx((2 + 1) / 8)
    assert open_set_classification_rate(inside, right, np.array([0.5])) == pytest.approx((1 + 0.5) / 4)


def test_oscr_of_nothing_and_of_what_is_no_number() -> None:
    one, true = np.ones(1), np.ones(1, bool)
    assert np.isnan(open_set_classification_rate(one[:0], true[:0], one))
    assert np.isnan(open_set_classification_rate(one, true, one[:0]))
    assert open_set_classification_rate(np.array([np.inf]), true, np.array([-np.inf])) == 1
    for pair in ((np.array([np.nan]), one), (one, np.array([np.nan]))):
        with pytest.raises(ValueError, match="NaN"):
            open_set_classification_rate(pair[0], true, pair[1])
