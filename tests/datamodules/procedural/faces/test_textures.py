import numpy as np
import pytest

from datamodules.procedural.faces.textures import BOUND, Strands, freckles, grain


def draws(draw, count=60):
    rng = np.random.default_rng(0)
    return np.stack([draw(rng) for _ in range(count)])


@pytest.mark.parametrize("degrees", [0, 20, 45, 70, 90, 135])
def test_strands_have_unit_spread_and_no_mean(degrees):
    values = draws(Strands(np.full((32, 32), np.deg2rad(degrees), np.float32)).draw)
    assert values.std() == pytest.approx(1, abs=0.1)
    assert abs(values.mean()) < 0.01
    assert np.abs(values).max() <= BOUND


@pytest.mark.parametrize(("degrees", "step"), [(0, (0, 1)), (45, (1, 1)), (90, (1, 0)), (135, (1, -1))])
def test_strands_run_along_their_direction(degrees, step):
    values = draws(Strands(np.full((32, 32), np.deg2rad(degrees), np.float32)).draw)

    def alike(rows, columns):
        return (values * np.roll(values, (-rows, -columns), (1, 2)))[:, 2:-2, 2:-2].mean()

    assert alike(*step) > 0.5
    assert alike(-step[1], step[0]) < 0, "a dark strand is beside a light one"


def test_grain():
    values = draws(lambda rng: grain(rng, 32))
    assert values.std() == pytest.approx(1, abs=0.05)
    assert np.abs(values).max() <= BOUND


def test_freckles_are_few_and_dark_and_have_no_mean():
    values = draws(lambda rng: freckles(rng, 32))
    assert abs(values.mean()) < 0.005
    assert np.abs(values).max() <= 1
    assert 0.03 < (values < -0.5).mean() < 0.1
    assert (values > 0.5).mean() < 0.001


def test_textures_follow_from_their_generator():
    strands = Strands(np.zeros((16, 16), np.float32))
    first, again, other = (strands.draw(np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 0.2
