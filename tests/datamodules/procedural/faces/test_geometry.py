import numpy as np
import pytest

from datamodules.procedural.faces.geometry import FramePlacement, arc, curve, ellipse, face_depth, landmarks
from datamodules.procedural.faces.identities import Expression, FaceView, Pose, sample_identity

SETTING = FaceView((0.5, 0.4), 0.25, ((0, 0, 0), (1, 1, 1)), 0.0, 0.0, 0.1)


def test_a_curve_goes_through_its_points_and_keeps_lines_straight():
    points = np.random.default_rng(0).normal(size=(6, 2))
    assert curve(points, 4).shape == (21, 2)
    np.testing.assert_allclose(curve(points, 4)[::4], points, atol=1e-12)
    line = np.stack([np.arange(5.0), 2 * np.arange(5.0)], 1)
    np.testing.assert_allclose(curve(line)[:, 1], 2 * curve(line)[:, 0], atol=1e-12)


def test_an_ellipse_and_half_of_one():
    whole = ellipse(1, 2, 3, 4)
    np.testing.assert_allclose(((whole[:, 0] - 1) / 3) ** 2 + ((whole[:, 1] - 2) / 4) ** 2, 1)
    half = arc(3, 4, 2)
    np.testing.assert_allclose(half[[0, 16, 32]], [[3, 2], [0, -2], [-3, 2]], atol=1e-12)


def test_a_placement_by_hand():
    place = FramePlacement(Pose(), SETTING, 100)
    np.testing.assert_allclose(place.head(np.array([[0.0, 0.0], [1.0, -1.0]]), 0.7), [[50, 40], [75, 15]])
    turned = FramePlacement(Pose(yaw=30), SETTING, 100)
    np.testing.assert_allclose(turned.head(np.zeros((1, 2)), 0.8), [[50 + 0.5 * 0.8 * 25, 40]])
    np.testing.assert_allclose(turned.body(np.ones((1, 2))), [[75, 65]])
    rolled = FramePlacement(Pose(roll=90), SETTING, 100)
    # The origin is 1.1 above the neck; a quarter turn clockwise brings it to the neck's right.
    np.testing.assert_allclose(rolled.head(np.zeros((1, 2))), [[50 + 1.1 * 25, 40 + 1.1 * 25]])


@pytest.mark.parametrize("roll", [0, -20, 35])
def test_the_frame_of_pixels_is_the_inverse(roll):
    place = FramePlacement(Pose(yaw=10, roll=roll), SETTING, 32)
    x, y = place.frame(32)
    there = place.head(np.stack([x.ravel(), y.ravel()], 1))
    rows, columns = np.mgrid[:32, :32] + 0.5
    np.testing.assert_allclose(there, np.stack([columns.ravel(), rows.ravel()], 1), atol=1e-3)


def test_a_spot_is_1_in_its_middle():
    spot = FramePlacement(Pose(), SETTING, 32).spot(np.array([10.5, 20.5]), 0.5, 32)
    assert spot[20, 10] == spot.max() == 1
    assert spot[20, 14] == pytest.approx(np.exp(-1))


def test_neutral_landmarks_are_nearly_symmetric():
    points, depth = landmarks(sample_identity(np.random.default_rng(0)), Expression())
    mirrored = points * [-1, 1]
    for left, right in (
        (range(17), range(16, -1, -1)),
        (range(17, 27), range(26, 16, -1)),
        (range(31, 36), range(35, 30, -1)),
        (range(36, 40), range(45, 41, -1)),
        (range(48, 55), range(54, 47, -1)),
        (range(60, 65), range(64, 59, -1)),
    ):
        np.testing.assert_allclose(points[list(left)], mirrored[list(right)], atol=1e-9)
        np.testing.assert_allclose(depth[list(left)], depth[list(right)], atol=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_every_brow_lies_above_its_eye_and_every_eye_within_the_face(seed):
    points, _ = landmarks(sample_identity(np.random.default_rng(seed)), Expression())
    jaw, brows, eyes = points[:17], points[17:27].reshape(2, 5, 2), points[36:48].reshape(2, 6, 2)
    for brow, eye in zip(brows, eyes, strict=True):
        assert brow[:, 1].max() < eye[:, 1].min()
        # An eye and its brow have one middle, 0.43 of the distance of eyes to a side, and the brow is the wider one.
        assert brow[:, 0].mean() == pytest.approx(eye[:, 0].mean(), abs=1e-9)
        assert brow[:, 0].min() < eye[:, 0].min() < eye[:, 0].max() < brow[:, 0].max()
        assert jaw[:, 0].min() < brow[:, 0].min() < brow[:, 0].max() < jaw[:, 0].max()
    assert eyes[0, :, 0].max() < 0 < eyes[1, :, 0].min()


def test_a_face_is_deepest_in_the_middle_and_flat_at_its_outline():
    points = np.array([[0, 0], [0.5, 0], [0, 0.95], [0.5, -0.95], [1, 0], [-1.2, 0], [0, 1.9], [0, -2.5]])
    np.testing.assert_allclose(face_depth(points), 0.85 * np.array([1, 0.75, 0.75, 0.5625, 0, 0, 0, 0]))
