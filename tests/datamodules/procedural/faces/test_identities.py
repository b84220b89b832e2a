from collections import Counter
from dataclasses import fields, is_dataclass

import numpy as np
import pytest

from datamodules.procedural.faces.identities import (
    sample_expression,
    sample_hair,
    sample_identity,
    sample_outfit,
    sample_pose,
    sample_view,
)

COUNT = 4000
SAMPLERS = [sample_identity, sample_hair, sample_outfit, sample_pose, sample_expression, sample_view]


def drawn(sample):
    rng = np.random.default_rng(0)
    return [sample(rng) for _ in range(COUNT)]


def flat(value):
    """Return all numbers in nested dataclasses and tuples."""
    if is_dataclass(value):
        return [number for field in fields(value) for number in flat(getattr(value, field.name))]
    if isinstance(value, tuple):
        return [number for each in value for number in flat(each)]
    return [] if value is None else [value]


def share(flags):
    """Return the share of true flags, and 4 standard errors of a share of so many."""
    found = np.mean(list(flags))
    return pytest.approx(found, abs=4 * 0.5 / COUNT**0.5)


@pytest.mark.parametrize("sample", SAMPLERS, ids=lambda sample: sample.__name__)
def test_the_same_numbers_give_the_same_and_others_something_else(sample):
    first, again, other = (sample(np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert first == again
    assert first != other
    assert np.isfinite(np.array(flat(first), float)).all()


def test_colours_are_colours():
    for person in drawn(sample_identity)[:500]:
        colours = [person.skin, person.iris, person.lip_colour, person.hair.colour, person.outfit.cloth]
        colours += [each for each in (person.outfit.glasses, person.outfit.hat, person.outfit.earrings) if each]
        assert all(len(colour) == 3 and 0 <= min(colour) <= max(colour) <= 1 for colour in colours)
    for view in drawn(sample_view)[:500]:
        assert all(0 <= channel <= 1 for colour in view.background for channel in colour)


def test_clothes_and_jewels_are_as_frequent_as_said():
    outfits = drawn(sample_outfit)
    assert share(each.glasses is not None for each in outfits) == 0.25
    assert share(each.hat is not None for each in outfits) == 0.12
    assert share(each.earrings is not None for each in outfits) == 0.25
    assert share(each.necklace is not None for each in outfits) == 0.25
    # A necklace shows: the cloth begins a quarter below where it would.
    low, high = ([each.neckline for each in outfits if (each.necklace is None) == bare] for bare in (True, False))
    assert 0.1 <= min(low) <= max(low) <= 0.3
    assert 0.35 <= min(high) <= max(high) <= 0.55


def test_hair_is_short_to_the_chin_or_long():
    hair = drawn(sample_hair)
    lengths = Counter("short" if each.length < 0.5 else "chin" if each.length < 1.4 else "long" for each in hair)
    for name, expected in {"short": 0.45, "chin": 0.25, "long": 0.3}.items():
        assert lengths[name] / COUNT == pytest.approx(expected, abs=0.03)
    assert sum(each.bald for each in hair) / COUNT == pytest.approx(0.04, abs=0.013)
    assert {len(each.hairline) for each in hair} == {5}


def test_poses_are_near_frontal_and_never_beyond_two_deviations():
    angles = np.array([[each.yaw, each.pitch, each.roll] for each in drawn(sample_pose)])
    limits = np.array([20, 10, 10])
    assert (np.abs(angles) <= limits).all()
    assert (np.abs(angles).max(0) == limits).all()
    assert (np.abs(angles.mean(0)) < 0.04 * limits).all()
    np.testing.assert_allclose(angles.std(0), 0.96 * limits / 2, rtol=0.05)  # of a normal clipped at 2 deviations


def test_half_of_the_mouths_are_open_and_a_fifth_of_the_eyes_not_wide_open():
    expressions = drawn(sample_expression)
    assert share(each.mouth > 0 for each in expressions) == 0.5
    assert share(each.blink > 0 for each in expressions) == 0.2
    assert max(each.mouth for each in expressions) <= 0.8
    assert max(each.blink for each in expressions) <= 1
