import numpy as np
import pytest
import torch

from metrics.keypoint_error import keypoint_errors
from networks.faces.finder import FaceFinder
from networks.faces.heads import DETECTOR, landmarks_of_heads
from tests.helpers.reenacted_subjects import SIZE, images_of, pictures


@pytest.fixture(scope="module")
def finder():
    return FaceFinder(DETECTOR)


def test_drawn_heads_of_64_pixels_are_found_and_what_is_none_is_not(finder):
    faces = pictures(0)[:3] + pictures(1)[:3]
    blank = torch.full((1, 3, SIZE, SIZE), 128, dtype=torch.uint8)
    landmarks, found = landmarks_of_heads(finder, torch.cat([images_of(faces), blank]))
    assert found.tolist() == [True] * 6 + [False]
    assert landmarks[6].isnan().all()
    truth = torch.from_numpy(np.stack([face.landmarks for face in faces]))
    assert keypoint_errors(landmarks[:6], truth).mean() < 0.08


def test_landmarks_are_in_pixels_of_the_picture_whatever_its_side(finder):
    small = images_of(pictures(2)[:1])
    large = torch.nn.functional.interpolate(small.float(), scale_factor=5, mode="bicubic").round().clamp(0, 255).byte()
    first, second = (landmarks_of_heads(finder, heads)[0] for heads in (small, large))
    assert keypoint_errors(second / 5, first) < 0.03
