import numpy as np
import pytest

from datamodules.procedural.faces.canvas import Canvas, Label
from datamodules.procedural.faces.geometry import ellipse

WHITE = (1.0, 1.0, 1.0)


def box(left, top, right, bottom):
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])


@pytest.fixture
def canvas():
    return Canvas(np.zeros((12, 12, 3)))


def test_pixels_are_covered_by_their_share(canvas):
    canvas.paint(box(2.0, 3.0, 5.5, 7.0), colour=WHITE, label=Label.SKIN)
    wanted = np.zeros((12, 12))
    wanted[3:7, 2:5] = 1
    wanted[3:7, 5] = 0.5
    np.testing.assert_allclose(canvas.image[..., 0], wanted, atol=0.26 * (wanted == 0.5).max())
    assert canvas.image[3:7, 2:5].min() == pytest.approx(1)
    assert canvas.image.sum() == pytest.approx(3 * wanted.sum(), rel=0.1)


def test_the_area_of_an_ellipse(canvas):
    _, share = canvas.cover(ellipse(6, 6, 5, 3, 40))
    assert share.sum() == pytest.approx(np.pi * 15, rel=0.04)


def test_a_second_outline_is_a_hole(canvas):
    canvas.paint(box(1, 1, 11, 11), box(4, 4, 8, 8), colour=WHITE, label=Label.EYE_G)
    assert canvas.labels[2, 2] == Label.EYE_G
    assert canvas.labels[6, 6] == canvas.image[6, 6, 0] == 0


def test_outlines_outside_the_picture_change_nothing_inside(canvas):
    canvas.paint(box(-20, -20, -10, -10), colour=WHITE, label=Label.HAIR)
    canvas.paint(box(20, 2, 30, 8), colour=WHITE, label=Label.HAIR)
    assert not canvas.labels.any()
    assert not canvas.image.any()
    canvas.paint(box(-50, -50, 50, 50), colour=WHITE, label=Label.HAIR)
    assert (canvas.labels == Label.HAIR).all()


def test_painting_within_a_label(canvas):
    canvas.paint(box(0, 0, 6, 12), colour=WHITE, label=Label.SKIN)
    canvas.paint(box(3, 0, 12, 12), colour=(0.5, 0.5, 0.5), within=Label.SKIN, opacity=0.5)
    np.testing.assert_allclose(canvas.image[5, [1, 4, 8], 0], [1, 0.75, 0], atol=1e-6)
    canvas.tint((0.5, 1, 1), np.full((12, 12), 0.5, np.float32), Label.SKIN)
    np.testing.assert_allclose(canvas.image[5, 1], [0.75, 1, 1], atol=1e-6)
    assert canvas.image[5, 8, 0] == 0
