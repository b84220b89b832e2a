import numpy as np
import pytest

from datamodules.clips.dubbing.faces_to_dub import faces_to_dub, faded, turned_away, upright_boxes
from datamodules.clips.faces.tracks import FaceTrack
from networks.faces.landmarks import face_box, roll_of


def flags(text):
    return np.array([letter == "x" for letter in text])


def shots_of(text):
    return np.array([int(letter) for letter in text])


@pytest.mark.parametrize(
    ("dubbed", "shots", "weights"),
    [
        ("xxxx", "0000", [1, 1, 1, 1]),  # neither at the start nor at the end of the video
        (".xxxxx", "000000", [0, 0.25, 0.5, 0.75, 1, 1]),
        ("xxxxx.", "000000", [1, 1, 0.75, 0.5, 0.25, 0]),
        (".xxx.", "00000", [0, 0.25, 0.5, 0.25, 0]),
        ("..xx", "0011", [0, 0, 1, 1]),  # a cut
        ("xx..", "0011", [1, 1, 0, 0]),
        ("xxxx", "0011", [1, 1, 1, 1]),
        (".xx.", "0011", [0, 0.25, 0.25, 0]),  # a face that is there on both sides of a cut
        ("....", "0000", [0, 0, 0, 0]),
        ("x", "0", [1]),
    ],
)
def test_mouths_come_and_go_evenly_within_a_shot(dubbed, shots, weights):
    assert faded(flags(dubbed), shots_of(shots), 3).tolist() == pytest.approx(weights)


def test_without_frames_to_fade_in_they_are_there_at_once():
    assert faded(flags(".xx."), shots_of("0000"), 0).tolist() == [0, 1, 1, 0]


def test_a_head_near_the_limit_does_not_come_and_go():
    angles = np.array([0, 49, 51, 48, 46, 44, 49, 51, 60, 0], np.float32)
    assert turned_away(angles, np.ones(10, bool), 50).tolist() == flags("..xxx..xx.").tolist()
    assert not turned_away(angles, np.zeros(10, bool), 50).any()
    gone = flags("xxx.xxxxxx")
    assert turned_away(angles, gone, 50).tolist() == flags("..x....xx.").tolist()


def test_faces_of_a_track():
    """A head that turns until its nose is beyond an ear, and boxes in whole pixels of at least one."""
    landmarks = np.zeros((3, 68, 2), np.float32)
    landmarks[:, 16, 0], landmarks[:, 30, 0] = 100, [50, 60, 140]
    landmarks[1] += 0.6
    found = np.array([True, True, True])
    track = FaceTrack(face_box(landmarks), landmarks, found, found, np.zeros(3, np.int64), most_faces=2)
    faces = faces_to_dub(track, 50, 1, window=0)
    assert faces.boxes.tolist() == [[0, 0, 100, 1], [1, 1, 101, 2], [0, 0, 100, 1]]
    assert faces.rolls.tolist() == [0, 0, 0]
    assert faces.dubbed.tolist() == [True, True, False]
    assert faces.turned_away.tolist() == [False, False, True]
    assert faces.fade.tolist() == [1, 0.5, 0]
    assert faces.at_once == 2


def leaning(landmarks, roll):
    """Return landmarks about the place (200, 150) that lean by an angle."""
    turn = np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]])
    return (landmarks @ turn + [200, 150]).astype(np.float32)


def test_a_face_that_leans_has_the_box_of_the_upright_one_about_its_own_middle():
    rng = np.random.default_rng(0)
    face = rng.uniform(-40, 40, (68, 2))
    face[36:48] = [[-20, -10]] * 6 + [[20, -10]] * 6
    upright, tilted = leaning(face, 0.0)[None], leaning(face, 0.6)[None]
    (box,), (turned_box,) = face_box(upright), upright_boxes(tilted, roll_of(tilted))
    assert np.allclose(turned_box[2:] - turned_box[:2], box[2:] - box[:2], atol=1e-3)
    middle = (box[:2] + box[2:]) / 2 - [200, 150]
    assert np.allclose((turned_box[:2] + turned_box[2:]) / 2, leaning(middle[None], 0.6)[0], atol=1e-3)
    assert np.array_equal(upright_boxes(upright, np.zeros(1, np.float32))[0], box), "upright it is what it was"


def test_rolls_are_smoothed_like_boxes_and_nothing_is_too_small_for_them():
    rng = np.random.default_rng(0)
    face = rng.uniform(-40, 40, (68, 2))
    face[36:48] = [[-20, -10]] * 6 + [[20, -10]] * 6
    face[[0, 16, 30]] = [[-40, 0], [40, 0], [0, 5]]
    true = np.linspace(-0.02, 0.3, 30)
    landmarks = np.stack([leaning(face, roll + rng.normal(0, 0.02)) for roll in true])
    found = np.ones(30, bool)
    track = FaceTrack(face_box(landmarks), landmarks, found, found, np.zeros(30, np.int64))
    smooth, raw = (faces_to_dub(track, 50, 1, window=window).rolls for window in (7, 0))
    assert np.abs(smooth - true).mean() < 0.6 * np.abs(raw - true).mean()
    assert (smooth != 0).all()
    assert np.abs(np.diff(smooth)).max() < 0.03, "it does not jump"
