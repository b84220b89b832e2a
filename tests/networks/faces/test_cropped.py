import numpy as np
import torch

from metrics.mouth_movement import inner_opening
from networks.faces.cropped import DRAWN_SHAPE, landmarks_of_faces
from networks.faces.mesh import FaceMesh
from tests.helpers.dubbed_pairs import faces_of, person


def correlation(first, second):
    return np.corrcoef(first, second)[0, 1]


def test_openings_of_small_drawn_mouths_are_seen():
    clip = person(0)
    landmarks, found = landmarks_of_faces(FaceMesh(), faces_of(clip)[::2])
    assert found.all()
    assert correlation(inner_opening(landmarks), clip.opening[::2]) > 0.85
    away = landmarks.numpy() - clip.landmarks[::2]
    assert np.abs(away[:, 48:].mean((0, 1))).max() < 2.5  # pixels of 48


def test_a_shape_stretches_the_picture_and_not_what_is_said_of_it():
    faces = faces_of(person(0))[:1]
    narrow, wide = (landmarks_of_faces(FaceMesh(), faces, shape)[0] for shape in (DRAWN_SHAPE, 0.8))
    assert float((narrow - wide).norm(dim=-1).mean()) < 2
    assert not torch.equal(narrow, wide)


def test_there_is_nothing_where_there_is_no_face():
    landmarks, found = landmarks_of_faces(FaceMesh(), torch.full((2, 3, 32, 32), 90, dtype=torch.uint8))
    assert not found.any()
    assert landmarks.shape == (2, 68, 2)
    assert landmarks.isnan().all()
