import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_modules.gan_discovery.attributing import attribute

NOT = -1


def cases() -> tuple[np.ndarray, np.ndarray]:
    """Return which of three detectors accept, and logits that choose class 1 (known) or 2 (discovered)."""
    accepted = np.array([[1, 0, 0], [0, 0, 1], [0, 0, 0], [1, 0, 0], [0, 0, 1], [0, 0, 0]], bool)
    return accepted, np.array([[0, 5, 1]] * 3 + [[0, 1, 5]] * 3, np.float32)


def test_thesis_any_detector_accepts_by_hand() -> None:
    accepted, logits = cases()
    assert attribute(np.full(6, NOT), accepted, logits, 2).tolist() == [1, 1, NOT, 2, 2, NOT]


def test_official_rule_wants_the_detector_of_the_same_group_by_hand() -> None:
    accepted, logits = cases()
    assert attribute(np.full(6, NOT), accepted, logits, 2, "official").tolist() == [1, NOT, NOT, NOT, 2, NOT]


@pytest.mark.parametrize("rule", ["thesis", "official"])
def test_all_or_none(rule) -> None:
    logits = np.random.default_rng(0).normal(size=(20, 5))
    labels = np.full(20, NOT)
    assert np.array_equal(attribute(labels, np.ones((20, 5), bool), logits, 3, rule), logits.argmax(axis=1))
    assert np.array_equal(attribute(labels, np.zeros((20, 5), bool), logits, 3, rule), labels)
    assert attribute(labels[:0], np.ones((0, 5), bool), logits[:0], 3, rule).shape == (0,)


@pytest.mark.parametrize("rule", ["thesis", "official"])
@given(data=st.data())
def test_only_images_that_are_not_clustered_change(rule, data) -> None:
    count, known, classes = data.draw(st.integers(0, 12)), data.draw(st.integers(1, 3)), 4
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    labels = rng.integers(-1, classes, count)
    before = labels.copy()
    accepted, logits = rng.random((count, classes)) < 0.3, rng.normal(size=(count, classes))
    found = attribute(labels, accepted, logits, known, rule)
    assert np.array_equal(labels, before)
    assert found.dtype == np.int64
    assert np.array_equal(found[labels != -1], labels[labels != -1])
    assert not (accepted.any(axis=1) & (found == -1)).any() or rule == "official"
    assert (accepted.any(axis=1) | (found == labels)).all()


@given(st.integers(0, 99))
def test_rules_agree_in_the_first_round(seed: int) -> None:
    """Without discovered clusters there is one group only."""
    rng = np.random.default_rng(seed)
    case = np.full(15, NOT), rng.random((15, 4)) < 0.3, rng.normal(size=(15, 4)), 4
    assert np.array_equal(attribute(*case), attribute(*case, "official"))
