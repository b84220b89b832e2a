import numpy as np
import pytest

from datamodules.clips.dubbing.faces_to_dub import faces_to_dub, faded, turned_away
from datamodules.clips.faces.tracks import FaceTrack


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
    boxes = np.array([[0.4, 0.6, 9.5, 10.4], [3, 3, 3.2, 3.3], [1, 1, 9, 9]], np.float32)
    found = np.array([True, True, True])
    track = FaceTrack(boxes, landmarks, found, found, np.zeros(3, np.int64), most_faces=2)
    faces = faces_to_dub(track, 50, 1)
    assert faces.boxes.tolist() == [[0, 1, 10, 10], [3, 3, 4, 4], [1, 1, 9, 9]]
    assert faces.dubbed.tolist() == [True, True, False]
    assert faces.turned_away.tolist() == [False, False, True]
    assert faces.fade.tolist() == [1, 0.5, 0]
    assert faces.at_once == 2
