import functools

import numpy as np
import pytest

from datamodules.procedural.scenes.crowds import Crowd, render_crowd
from datamodules.procedural.scenes.scenes import Scene, generator
from datamodules.procedural.scenes.styles import STYLES, in_style, outlines

every_style = pytest.mark.parametrize("style", STYLES)


@functools.cache
def scene(index=0) -> Scene:
    return render_crowd(3, index, 96, Crowd())


def shown(style, index=0, seed=5):
    return in_style(scene(index), style, generator(seed, index))


@every_style
def test_pictures_are_a_function_of_scene_and_random_numbers(style):
    image = shown(style)
    assert (image.shape, image.dtype) == ((96, 96, 3), np.uint8)
    assert np.array_equal(image, shown(style))
    assert not np.array_equal(image, shown(style, seed=6))
    assert np.abs(image.astype(int) - scene().image).mean() > 5
    assert image.std() > 10  # something is to be seen


@every_style
def test_the_scene_itself_is_left_alone(style):
    before = scene().image.copy()
    shown(style)
    assert np.array_equal(scene().image, before)


@pytest.mark.parametrize(
    ("style", "coloured"), [("sketch", False), ("grey", False), ("weather", True), ("cartoon", True)]
)
def test_colours(style, coloured):
    assert (np.ptp(shown(style), axis=2).max() > 0) == coloured


def test_grey_has_the_luminance_of_the_scene():
    wanted = scene().image @ np.array([0.299, 0.587, 0.114])
    error = shown("grey")[..., 0] - wanted
    assert abs(error.mean()) < 1.5
    assert error.std() == pytest.approx(0.03 * 255, rel=0.15)  # the grain


def test_outlines_of_a_scene_by_hand():
    instances = np.zeros((5, 5), np.uint8)
    instances[1:4, 1:4] = 1
    parts = instances.copy()
    parts[2, 1:4] = 2  # another part of the same object
    drawn = Scene(np.zeros((5, 5, 3), np.uint8), (), instances, parts)
    assert outlines(drawn).astype(int).tolist() == [
        [0, 1, 1, 1, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 1, 1, 0],
        [0, 0, 0, 0, 0],
    ]


def test_a_sketch_is_dark_on_paper_and_a_cartoon_is_flat_inside_its_lines():
    edges = outlines(scene())
    sketch, cartoon = shown("sketch"), shown("cartoon")
    assert sketch[edges].mean() < 80
    assert np.median(sketch) > 200
    assert (cartoon[edges] == round(0.12 * 255)).all()
    regions = 256 * scene().instances.astype(int) + scene().parts
    for region in np.unique(regions[scene().instances > 0]):
        inside = cartoon[(regions == region) & ~edges]
        assert len(np.unique(inside, axis=0)) <= 1


def test_fog_takes_contrast_away_and_more_of_it_above():
    """Rows of the background by themselves, away from rain."""
    left = []
    for index in range(8):
        before, after = (image.astype(float).mean(2) for image in (scene(index).image, shown("weather", index)))
        left.append([after[rows].std() / before[rows].std() for rows in (slice(0, 32), slice(64, 96))])
    above, below = np.mean(left, axis=0)
    assert above < below
    assert above < 0.95
