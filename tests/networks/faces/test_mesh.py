import numpy as np
import pytest
from skimage import data, transform

from networks.faces.landmarks import ibug_landmarks
from networks.faces.lite_model import packaged
from networks.faces.mesh import FaceMesh, FaceSquare, angle_of, square_of_mesh, turned_crop
from visionscapes.errors import UserError

CHIN = 152
ASTRONAUT = FaceSquare(224, 125, 165, 0.07)


def test_a_face_is_told_from_none() -> None:
    mesh = FaceMesh()
    points, presence = mesh.fit(data.astronaut(), ASTRONAUT)
    assert points.shape == (468, 2)
    assert presence > 0.99
    assert mesh.fit(data.astronaut(), FaceSquare(400, 400, 165, 0))[1] < 0.1
    assert mesh.fit(np.zeros((50, 50, 3), np.uint8), FaceSquare(25, 25, 40, 0))[1] < 0.1


@pytest.mark.parametrize("degrees", [-60, 35, 180])
def test_points_turn_with_the_picture(degrees: float) -> None:
    image, middle = data.astronaut(), np.array([224, 125])
    turned = (transform.rotate(image, -degrees, center=middle - 0.5) * 255).astype(np.uint8)
    expected = ibug_landmarks(FaceMesh().fit(image, ASTRONAUT)[0])
    square = FaceSquare(224, 125, 165, 0.07 + np.deg2rad(degrees))
    points = ibug_landmarks(FaceMesh().fit(turned, square)[0])
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    expected = (expected - middle) @ np.array([[cos, sin], [-sin, cos]]) + middle
    assert np.linalg.norm(points - expected, axis=1).mean() < 1


def test_the_square_of_a_mesh_finds_it_again() -> None:
    first, _ = FaceMesh().fit(data.astronaut(), ASTRONAUT)
    again, presence = FaceMesh().fit(data.astronaut(), square_of_mesh(first))
    assert presence > 0.99
    assert np.linalg.norm(again - first, axis=1).mean() < 1.5


def test_a_face_that_is_followed_on_a_still_picture_neither_shrinks_nor_grows() -> None:
    """In a narrow square the mesh draws the chin in, which makes the next one narrower: open mouths are lost."""
    mesh, image = FaceMesh(), data.astronaut()
    first = points = mesh.fit(image, ASTRONAUT)[0]
    for _ in range(12):
        points = mesh.fit(image, square_of_mesh(points))[0]
    assert np.ptp(points[:, 1]) == pytest.approx(np.ptp(first[:, 1]), rel=0.015)
    assert np.linalg.norm(points[CHIN] - first[CHIN]) < 1


def test_a_crop_of_the_size_of_its_square_is_the_picture_itself() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    crop = turned_crop(image, FaceSquare(20, 15, 20, 0).matrix(20), 20)
    assert np.array_equal(crop, image[5:25, 10:30])
    outside = turned_crop(image, FaceSquare(0, 20, 20, 0).matrix(20), 20)
    assert np.array_equal(outside[:, :10], image[10:30, :1].repeat(10, 1))


def test_the_square_of_points_holds_them_turned() -> None:
    points = np.random.default_rng(0).uniform(10, 30, (468, 2)).astype(np.float32)
    points[33], points[263] = [10, 20], [20, 30]
    square = square_of_mesh(points, room=1)
    assert square.angle == pytest.approx(np.pi / 4)
    matrix = square.matrix(1)
    inside = (points - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
    assert inside.min() > -1e-5
    assert inside.max() < 1 + 1e-5
    assert max(np.ptp(inside, axis=0)) == pytest.approx(1, abs=1e-5)


def test_the_angle_is_clockwise_as_it_is_seen() -> None:
    assert angle_of(np.array([0, 0]), np.array([1, 1])) == pytest.approx(np.pi / 4)


def test_a_detector_is_no_mesh() -> None:
    with pytest.raises(UserError, match="no face mesh of MediaPipe"):
        FaceMesh(packaged("face_detection_back.tflite"))
