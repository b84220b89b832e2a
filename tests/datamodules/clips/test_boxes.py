import numpy as np

from datamodules.clips.boxes import face_boxes


def test_a_box_by_hand():
    landmarks = np.full((2, 68, 2), 50.0, np.float32)
    landmarks[0, 0], landmarks[0, 16], landmarks[0, 8] = (20, 55), (90, 50), (52, 120)
    landmarks[0, 19] = 45, 40
    # From the chin at 120 to the brow at 40 it is 80, a fifth of which is 16.
    np.testing.assert_allclose(face_boxes(landmarks)[0], [20, 24, 90, 120])
    assert face_boxes(landmarks).shape == (2, 4)


def test_all_landmarks_lie_within():
    landmarks = np.random.default_rng(0).normal(100, 30, (20, 68, 2)).astype(np.float32)
    boxes = face_boxes(landmarks)[:, None]
    assert (landmarks >= boxes[..., :2]).all()
    assert (landmarks <= boxes[..., 2:]).all()
