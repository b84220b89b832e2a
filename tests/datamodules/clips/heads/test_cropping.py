import numpy as np
import pytest
import torch

from datamodules.clips.heads.cropping import head_picture, head_windows, in_heads
from datamodules.clips.prepare.cropping import crop_windows, in_window
from datamodules.procedural.faces.faces import render_face
from networks.faces.landmarks import face_box
from tests.helpers.heads import MARGIN, turning


def test_the_rule_is_that_of_prepared_clips():
    boxes = face_box(turning(6))
    ours = head_windows(boxes, MARGIN)
    assert np.array_equal(ours, crop_windows(boxes, np.ones(6, bool), (112, 112), "moving", MARGIN))
    assert np.allclose(ours[:, 2] - ours[:, 0], ours[:, 3] - ours[:, 1], atol=1e-3)
    assert np.array_equal(in_heads(turning(6), ours, 64), in_window(turning(6), ours, (64, 64)))


def test_a_raised_square_shows_the_face_lower():
    landmarks = turning(6)
    plain, raised = (head_windows(face_box(landmarks), MARGIN, up) for up in (0.0, 0.2))
    lower = in_heads(landmarks, raised, 64) - in_heads(landmarks, plain, 64)
    assert np.allclose(lower, [0, 0.2 * 64 / MARGIN], atol=1e-3), "by a share of the face, which is 64 / MARGIN pixels"


def test_a_crop_of_a_drawn_head_and_shoulders_is_about_the_picture():
    """So that a network that was trained on drawn heads gets real ones as it knows them."""
    apart = []
    for number in range(40):
        face = render_face(5, number, 64)
        window = head_windows(face_box(face.landmarks)[None], 1.7)
        apart.append(in_heads(face.landmarks[None], window, 64)[0] - face.landmarks)
    apart = np.stack(apart)
    assert np.abs(apart.mean((0, 1))).max() < 2.5, "pixels of 64, on average"
    assert np.linalg.norm(apart, axis=-1).mean() < 5


def test_the_crop_shows_what_lies_in_the_window():
    frame = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    head = head_picture(frame, np.array([10, 5, 42, 37], np.float32), 32)
    assert head.dtype == torch.uint8
    assert np.array_equal(head.permute(1, 2, 0).numpy(), frame[5:37, 10:42])
    beyond = head_picture(frame, np.array([-20, -20, 12, 12], np.float32), 32)
    assert np.array_equal(beyond.permute(1, 2, 0).numpy()[20:, 20:], frame[:12, :12])
    assert (beyond[:, 0, 0].numpy() == frame[0, 0]).all(), "the border is repeated"


def test_pixels_that_are_not_square():
    """A picture stored half as wide is cut as the one that is shown."""
    frame = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    narrow = frame.reshape(64, 32, 2, 3).mean(2).astype(np.uint8)
    window = np.array([8, 8, 56, 56], np.float32)
    whole, stored = head_picture(frame, window, 12), head_picture(narrow, window, 12, pixel_aspect=2.0)
    assert (whole.float() - stored.float()).abs().mean() < 4
    assert (whole.float() - head_picture(narrow, window, 12).float()).abs().mean() > 15


def test_the_window_follows_slowly():
    landmarks = np.repeat(turning(1), 50, 0)
    landmarks[25:] += 20
    windows = head_windows(face_box(landmarks), MARGIN)
    assert np.abs(np.diff(windows[:, 0])).max() == pytest.approx(0.8, abs=0.4), "a camera, not a jump"
