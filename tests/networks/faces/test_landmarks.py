import numpy as np
import pytest
from skimage import data

from datamodules.procedural.faces.faces import render_face
from datamodules.procedural.faces.identities import Expression, Pose
from networks.faces.finder import FaceFinder
from networks.faces.landmarks import (
    FIRST,
    NOSE_LENGTH,
    SECOND,
    face_box,
    ibug_landmarks,
    leaning_by,
    mouth_opening,
    roll_of,
    turned_by,
)

# Read off an enlarged astronaut by eye: corners of the eyes, tip and base of the nose, lips, ends of the brows, chin.
ASTRONAUT = {
    36: (193, 100),
    39: (211.5, 102.7),
    42: (236.5, 104),
    45: (257.5, 104),
    30: (223.5, 124),
    33: (222.5, 131.5),
    48: (202.8, 140),
    54: (245.8, 140.9),
    51: (222, 138.5),
    62: (222, 142.3),
    66: (222, 148.2),
    57: (222, 153.7),
    17: (190, 91),
    21: (213.5, 92.7),
    22: (238.5, 93.5),
    26: (264, 96),
    8: (222.5, 177),
}


def test_landmarks_of_a_photograph_are_where_the_eye_sees_them() -> None:
    (face,) = FaceFinder().find(data.astronaut())
    far = {index: np.linalg.norm(face.landmarks[index] - place) for index, place in ASTRONAUT.items()}
    assert max(far.values()) < 5, far  # the eyes are 64 pixels apart
    assert np.mean(list(far.values())) < 2.2


def test_landmarks_of_drawn_faces_are_those_that_drew_them() -> None:
    finder, errors = FaceFinder(), []
    for index in range(16):
        face = render_face(seed=3, index=index, size=128)
        landmarks = finder.find(face.image)[0].landmarks
        apart = np.linalg.norm(face.landmarks[45] - face.landmarks[36])
        errors.append(np.linalg.norm(landmarks - face.landmarks, axis=1) / apart)
    assert np.median(np.array(errors)[:, 17:].mean(1)) < 0.052
    assert np.median(np.array(errors)[:, :17].mean(1)) < 0.055


@pytest.mark.parametrize("index", [0, 3])
def test_the_mouth_opens_as_it_was_drawn(index: int) -> None:
    finder, openings = FaceFinder(), []
    for mouth in np.linspace(0, 1, 8):
        expression = Expression(mouth=float(mouth), smile=0.1, brows=0, blink=0)
        face = render_face(seed=3, index=index, size=128, expression=expression)
        landmarks = finder.find(face.image)[0].landmarks
        openings.append([mouth_opening(landmarks), mouth_opening(face.landmarks)])
    assert np.corrcoef(np.array(openings).T)[0, 1] > 0.9


def test_left_and_right_are_mirrored() -> None:
    pairs = np.concatenate([FIRST, SECOND])
    assert len(FIRST) == len(SECOND) == 68
    assert 0 <= pairs.min() <= pairs.max() < 468
    image = np.ascontiguousarray(data.astronaut()[:, ::-1])
    mirrored, plain = (FaceFinder().find(each)[0].landmarks for each in (image, data.astronaut()))
    order = [*range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1)]
    order += [45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40]
    order += [54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65]
    mirrored[:, 0] = image.shape[1] - mirrored[:, 0]
    assert np.linalg.norm(mirrored[order] - plain, axis=1).mean() < 1.5


def test_each_landmark_is_the_middle_of_two_points() -> None:
    mesh = np.random.default_rng(0).normal(size=(3, 468, 2)).astype(np.float32)
    landmarks = ibug_landmarks(mesh)
    assert landmarks.shape == (3, 68, 2)
    assert np.array_equal(landmarks[:, 8], mesh[:, 152])
    assert np.allclose(landmarks[1, 27], (mesh[1, 168] + mesh[1, 6]) / 2)


def test_a_box_reaches_from_the_forehead_to_the_chin_and_does_not_follow_the_mouth() -> None:
    face = render_face(seed=0, index=0, size=128)
    x0, y0, x1, y1 = face_box(face.landmarks)
    assert (x0, x1) == pytest.approx((face.landmarks[:17, 0].min(), face.landmarks[:17, 0].max()), abs=1)
    assert y1 == pytest.approx(face.landmarks[8, 1], abs=5)
    assert y0 < face.landmarks[17:27, 1].min() - 5
    talking = face.landmarks.copy()
    talking[48:] += 3
    assert np.array_equal(face_box(np.stack([talking, face.landmarks])), [[x0, y0, x1, y1]] * 2)


def test_an_opening_is_measured_in_distances_of_the_eyes() -> None:
    landmarks = np.zeros((2, 68, 2), np.float32)
    landmarks[:, 45] = [3, 4]
    landmarks[1, 66] = [0, 2]
    assert mouth_opening(landmarks).tolist() == pytest.approx([0, 0.4])


@pytest.mark.parametrize("yaw", [0, 15, 30])
def test_how_far_a_head_is_turned(yaw: int) -> None:
    """A drawn head's nose is longer or shorter than that of the mean face; either side counts alike."""
    left, right = (
        turned_by(render_face(seed=3, index=1, size=256, pose=Pose(yaw=side), expression=Expression()).landmarks)
        for side in (-yaw, yaw)
    )
    assert abs(left - right) < 6
    assert abs((left + right) / 2 - yaw) < 10


def test_how_far_three_points_say_that_a_head_is_turned() -> None:
    """Ears at either side and a nose before them, turned by the angle and seen from before, leaning to one side too."""
    landmarks = np.zeros((2, 68, 2), np.float32)
    for index, lean in enumerate((0.0, 0.6)):
        turn = np.radians(40)
        across, down = np.array([np.cos(lean), np.sin(lean)]), np.array([-np.sin(lean), np.cos(lean)])
        landmarks[index, 0], landmarks[index, 16] = -np.cos(turn) * across, np.cos(turn) * across
        landmarks[index, 30] = NOSE_LENGTH * np.sin(turn) * across + 0.4 * down
    assert turned_by(50 * landmarks + 7) == pytest.approx([40, 40], abs=1e-3)
    assert turned_by(np.zeros((68, 2), np.float32)) == 0


def test_how_far_a_head_is_from_upright():
    points = np.zeros((4, 68, 2), np.float32)
    points[:, [36, 39], 0], points[:, [42, 45], 0] = [10, 20], [30, 40]
    points[:, 48:] = [25, 40]
    points[1] = points[1, :, ::-1]  # lying
    points[2, :, 1] *= -1  # upside down, as where y goes up
    points[3] *= -1
    assert leaning_by(points) == pytest.approx([0, 90, 180, 180], abs=1e-3)


def test_the_roll_is_that_of_the_line_through_the_eyes_clockwise():
    points = np.zeros((2, 68, 2), np.float32)
    points[:, [36, 39], 0], points[:, [42, 45], 0] = [10, 20], [30, 40]
    points[1, [42, 45], 1] = 20  # the right one is lower
    points[1, 43:45] = 1000  # lids
    assert roll_of(points).tolist() == pytest.approx([0, np.pi / 4])
