import numpy as np
import pytest

from datamodules.procedural.faces.canvas import Canvas, Label
from datamodules.procedural.faces.drawing import Shades, background, paint_face
from datamodules.procedural.faces.film import Script, develop
from datamodules.procedural.faces.geometry import FramePlacement, ellipse
from datamodules.procedural.faces.identities import (
    Expression,
    Pose,
    sample_expression,
    sample_identity,
    sample_pose,
    sample_view,
)


@pytest.mark.parametrize("seed", range(4))
def test_film_shows_what_canvases_show(seed):
    """Faces of one person under many poses, of which some have a shut mouth, cut off by the picture."""
    rng = np.random.default_rng(seed)
    person, view, size = sample_identity(rng), sample_view(rng), 48
    poses = [sample_pose(rng) for _ in range(6)]
    expressions = [sample_expression(rng) for _ in range(5)] + [Expression()]
    shades = Shades.of(view, *FramePlacement(Pose(), view, size).frame(size))
    ground = background(view, size)
    scripts, canvases = [Script(size) for _ in poses], [Canvas(ground) for _ in poses]
    for surfaces in (scripts, canvases):
        for surface, pose, expression in zip(surfaces, poses, expressions, strict=True):
            place = FramePlacement(pose, view, size)
            paint_face(surface, person, expression, place=place, shades=shades, light=view.light)
    images, labels = develop(ground, scripts)
    for image, label, canvas in zip(images, labels, canvases, strict=True):
        assert (label != canvas.labels).mean() < 2e-3
        # Pillow rounds a point that lies between two of its pixels, and the last bit decides.
        assert (np.abs(image - canvas.image) > 0.02).mean() < 0.01
        assert np.abs(image - canvas.image).mean() < 2e-3


def test_what_lies_beyond_the_picture_is_passed_over_and_a_hole_is_left_out():
    ground = np.zeros((16, 16, 3))
    scripts = [Script(16), Script(16)]
    for script, x in zip(scripts, (8, 20), strict=True):
        script.paint(ellipse(-9, 8, 5, 5), colour=(1, 1, 1))
        script.paint(ellipse(x, 8, 6, 6), ellipse(x, 8, 3, 3), colour=(1, 0, 0), label=Label.EYE_G)
        script.paint(ellipse(x, -3, 4, 5), colour=(0, 1, 0))
    images, labels = develop(ground, scripts)
    assert images[0, 8, 3].tolist() == [1, 0, 0]
    assert images[0, 8, 8].tolist() == [0, 0, 0]
    assert images[0, 0, 8].tolist() == [0, 1, 0]
    assert labels[0, 8, 3] == Label.EYE_G
    assert labels[0, 8, 8] == Label.BACKGROUND
    assert not images[1, :, :13].any()
    assert images[1, 8, 15].tolist() == [1, 0, 0]


def test_frames_with_other_strokes_are_painted_apart():
    scripts = [Script(8), Script(8), Script(8)]
    for index, script in enumerate(scripts):
        if index == 1:
            script.paint(ellipse(4, 4, 9, 9), colour=(0, 0, 1), label=Label.SKIN)
        script.paint(ellipse(4, 4, 9, 9), colour=(1, 0, 0), opacity=0.5, within=Label.BACKGROUND)
    images, _ = develop(np.zeros((8, 8, 3)), scripts)
    assert images[:, 4, 4].tolist() == [[0.5, 0, 0], [0, 0, 1], [0.5, 0, 0]]
