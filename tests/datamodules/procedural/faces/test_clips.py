from dataclasses import replace

import numpy as np
import pytest

from datamodules.procedural.faces.clips import FramePainter, render_clip
from datamodules.procedural.faces.faces import SETTING, face_identity, render_face, render_smooth
from datamodules.procedural.faces.geometry import landmarks
from datamodules.procedural.faces.identities import Expression, Pose, sample_view
from datamodules.procedural.scenes.scenes import generator

MOUTH = slice(48, 68)
STILL = np.zeros(12, np.float32)


def painter(index=3, size=64):
    view = sample_view(generator(0, index, SETTING))
    return FramePainter(face_identity(0, index), view, size, rng=np.random.default_rng(0))


def test_a_clip_is_a_function_of_seed_and_index():
    first, again, other = (render_clip(0, index, STILL, STILL, 32) for index in (1, 1, 2))
    assert first.images.shape == (12, 32, 32, 3)
    assert first.images.dtype == np.uint8
    assert first.landmarks.shape == (12, 68, 2)
    assert first.landmarks.dtype == np.float32
    assert np.array_equal(first.images, again.images)
    assert not np.array_equal(first.images, other.images)


def test_frames_are_those_of_a_single_face_but_for_texture():
    pose, expression = Pose(4, -2, 1), Expression(mouth=0.6, spread=-0.5)
    (image,), (marks,) = painter().frames([pose], [expression])
    face = render_face(0, 3, 64, pose=pose, expression=expression)
    np.testing.assert_allclose(marks, face.landmarks, atol=1e-4)
    smooth = 255 * render_smooth(0, 3, 64, pose=pose, expression=expression)
    plain = np.isin(face.labels, [0, 10, 11, 12, 18])  # background, mouth, lips and clothes have no texture
    assert np.abs(image - smooth)[plain].max() < 8, "a head that sways is lit as one that does not"
    assert np.abs(image - smooth)[plain].mean() < 1
    assert np.abs(image - smooth)[~plain].mean() > 2


def test_texture_turns_with_the_head():
    """Skin of the forehead keeps its grain under a sideways turn, if one goes along."""
    drawer, size = painter(size=128), 128
    person = replace(drawer.identity, freckles=0.0)
    drawer = FramePainter(person, drawer.view, size, rng=np.random.default_rng(0))
    poses = (Pose(), Pose(yaw=8))
    (still, turned), (marks, _) = drawer.frames(poses, [Expression()] * 2)
    detail = [
        image / 255 - render_smooth(0, 3, size, identity=person, pose=pose, expression=Expression())
        for image, pose in zip((still, turned), poses, strict=True)
    ]
    shift = round(0.35 * np.sin(np.deg2rad(8)) * drawer.view.scale * size)
    x, y = (marks[27] + [0, 22]).round().astype(int)

    def patch(which, by):
        return detail[which][y - 30 : y + 20, x - 20 + by : x + 20 + by].mean(-1).ravel()

    moved, fixed = (np.corrcoef(patch(0, 0), patch(1, by))[0, 1] for by in (shift, 0))
    assert moved > fixed + 0.1


def test_opening_and_spread_move_the_mouth_and_the_chin_alone():
    clips = [
        render_clip(0, 5, np.full(3, opening), np.full(3, spread), 64)
        for opening, spread in ((0, 0), (1, 0), (0.3, 1), (0.3, -1))
    ]
    shut, opened, wide, rounded = (clip.landmarks for clip in clips)
    assert (opened[:, 66, 1] - opened[:, 62, 1] > 5).all(), "pixels of 64"
    np.testing.assert_allclose(shut[:, 66, 1], shut[:, 62, 1], atol=1e-4)
    np.testing.assert_array_equal(shut[:, 17:48], opened[:, 17:48])
    across = [np.linalg.norm(each[:, 54] - each[:, 48], axis=-1) for each in (wide, rounded)]
    assert (across[0] > 1.8 * across[1]).all()
    np.testing.assert_array_equal(wide[:, :48], rounded[:, :48])
    changed = (clips[2].images != clips[3].images).any((0, 3))
    assert changed.any()
    assert not changed[:30].any(), "the upper half of the face is the same"


@pytest.mark.parametrize("index", range(8))
def test_close_ups_hold_the_face_and_others_head_and_shoulders(index):
    close, far = (render_clip(0, index, STILL + 1, STILL, 64, close=close) for close in (True, False))
    assert close.landmarks.min() > 0
    assert close.landmarks.max() < 64
    assert np.ptp(close.landmarks[0, :, 0]) > 1.3 * np.ptp(far.landmarks[0, :, 0])


def test_a_spread_of_zero_is_none():
    person = face_identity(0, 0)
    for mouth in (0.0, 0.4):
        plain, zero, near = (
            landmarks(person, Expression(mouth=mouth, smile=0.3, **{"spread": spread} if spread is not None else {}))[0]
            for spread in (None, 0.0, 1e-6)
        )
        assert np.array_equal(plain, zero)
        np.testing.assert_allclose(plain, near, atol=1e-5)
        spread = landmarks(person, Expression(mouth=mouth, smile=0.3, spread=-1.0))[0]
        assert np.array_equal(np.delete(plain, range(48, 68), 0), np.delete(spread, range(48, 68), 0))
        assert np.ptp(spread[MOUTH, 0]) == pytest.approx(0.55 * np.ptp(plain[MOUTH, 0]))


def test_frames_do_not_depend_on_those_that_are_painted_with_them():
    opening, spread = np.linspace(0, 1, 30).astype(np.float32), np.linspace(-1, 1, 30).astype(np.float32)
    together, alone = (render_clip(0, 4, opening[:count], spread[:count], 64) for count in (30, 1))
    assert np.array_equal(together.landmarks[0], alone.landmarks[0])
    assert np.abs(together.images[0].astype(int) - alone.images[0]).max() <= 1
