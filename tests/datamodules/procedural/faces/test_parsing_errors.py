import numpy as np
import pytest

from datamodules.procedural.faces.canvas import Label
from datamodules.procedural.faces.heads import render_head
from datamodules.procedural.faces.identities import Pose
from datamodules.procedural.faces.parsing_errors import misread

AHEAD, TURNED = Pose(), Pose(yaw=25)


@pytest.fixture(scope="module")
def exact():
    return np.concatenate([render_head(3, person, range(4), 64).labels for person in range(15)])


def right(exact, strength, pose=AHEAD):
    return np.mean(
        [
            (misread(labels, pose, strength, np.random.default_rng(number)) == labels).mean()
            for number, labels in enumerate(exact)
        ]
    )


def test_without_strength_the_map_is_exact_and_it_is_left_as_it_is(exact):
    before = exact.copy()
    assert right(exact, 0.0) == 1
    assert right(exact, 1.0) < 1
    assert (exact == before).all()


def test_errors_grow_with_strength_and_are_as_many_as_is_written(exact):
    shares = [right(exact, strength) for strength in (0.25, 0.5, 1.0)]
    assert shares == pytest.approx([0.98, 0.93, 0.86], abs=0.015)


def test_turned_heads_are_read_worse(exact):
    assert right(exact, 1.0, TURNED) < right(exact, 1.0, AHEAD) - 0.005


def test_the_same_random_numbers_give_the_same_errors(exact):
    first, again, other = (misread(exact[0], TURNED, 0.7, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.dtype == np.uint8
    assert first.max() <= max(Label)


def test_errors_are_of_the_kinds_that_parsers_make(exact):
    lost, mixed_up, bled = 0, 0, 0
    for number, labels in enumerate(exact):
        seen = misread(labels, TURNED, 1.0, np.random.default_rng(number))
        eyes = [(labels == Label.L_EYE).sum() > 5, (labels == Label.R_EYE).sum() > 5]
        there = [bool((seen == Label.L_EYE).any()), bool((seen == Label.R_EYE).any())]
        if all(eyes):
            lost += not any(there)
            mixed_up += bool((seen[labels == Label.L_EYE] == Label.R_EYE).any())
        bled += (seen == Label.HAIR).sum() > 1.15 * (labels == Label.HAIR).sum() > 0
    assert lost >= 1
    assert mixed_up >= 3
    assert bled >= 5


def test_errors_are_not_the_same_everywhere_so_that_their_majority_is_right(exact):
    """What a network learns that sees many noisy maps of one thing is nearer the exact map than any of them."""
    labels = exact[0]
    several = np.stack([misread(labels, AHEAD, 0.5, np.random.default_rng(seed)) for seed in range(25)])
    votes = np.stack([(several == label).sum(0) for label in Label])
    majority = (votes.argmax(0) == labels).mean()
    assert majority > (several == labels).mean() + 0.03
