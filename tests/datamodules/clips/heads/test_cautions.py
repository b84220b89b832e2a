from dataclasses import replace

import numpy as np
import pytest

from datamodules.clips.heads.cautions import about_crops, about_motion, about_mouths, about_shots
from datamodules.clips.heads.motion import HeadMotion
from datamodules.procedural.faces.faces import render_face
from datamodules.procedural.faces.identities import Expression, Pose
from networks.faces.landmarks import turned_by
from tests.helpers.heads import motion, shots, turning


def face(mouth=0.0):
    return render_face(3, 2, 112, pose=Pose(), expression=Expression(mouth=mouth)).landmarks


def turned(side=1.0):
    """Return a face whose nose is over one of its cheeks, and tell that it is turned by more than 45 degrees."""
    landmarks = face()
    landmarks[30, 0] += side * 0.65 * (landmarks[16, 0] - landmarks[0, 0])
    assert turned_by(landmarks) > 45
    return landmarks


def test_small_and_turned_heads_of_the_source():
    landmarks = shots(2).landmarks
    assert about_shots(landmarks, np.array([64.0, 32]), 32) == []
    (small,) = about_shots(landmarks[:1], np.array([20.0]), 32)
    assert small.startswith("the head is small in the picture of the source: 20 pixels are enlarged to 32")
    (small,) = about_shots(landmarks, np.array([64.0, 20]), 32)
    assert small.startswith("the head is small in 1 of 2 pictures of the source: 20 pixels are enlarged to 32")
    (said,) = about_shots(np.stack([face(), turned()]), np.array([64.0, 64]), 32)
    assert said.startswith("the head is turned by more than 45 degrees in 1 of 2 pictures")
    (said,) = about_shots(np.stack([face()[:, ::-1], face()]), np.array([64.0, 64]), 32)
    assert said.startswith("the head lies on its side, or is upside down, in 1 of 2 pictures of the source")


def test_heads_that_are_cut_off():
    windows = np.array([[10, 10, 60, 60], [-20, 0, 80, 100.0]])
    assert about_crops(windows[:1], [(70, 70)]) == []
    (said,) = about_crops(windows, [(70, 70), (100, 100)])
    assert said.startswith("the border is close to the head in 1 of 2 pictures of the source, and is repeated")


def test_drivers():
    assert about_motion(motion(turning(4))) == []
    (small,) = about_motion(motion(turning(4) / 4))
    assert "face is small, 1" in small
    (said,) = about_motion(motion(np.stack([face(), turned(), turned(-1)])))
    assert "more than 45 degrees in 2 of 3 frames" in said
    (rare,) = about_motion(motion(turning(4), seen=[False, True, False, False]))
    assert rare.startswith("the driver's face is seen in 1 of 4 frames only: the result stands still")
    assert about_motion(motion(turning(4), seen=[False, True, True, False])) == []
    two = motion(turning(4))
    (several,) = about_motion(replace(two, track=replace(two.track, most_faces=2)))
    assert "up to 2 faces at once" in several
    assert "--data.faces.choose" in several
    (variable,) = about_motion(HeadMotion(two.track, np.array([0, 0.1, 0.5, 0.6]), 0.7))
    assert "variable frame rate" in variable
    (lying,) = about_motion(motion(turning(4)[..., ::-1]))
    assert lying.startswith("the driver's head lies on its side, or is upside down, in 4 of 4 frames")
    (upwards,) = about_motion(motion(112 - turning(4) * [-1, 1] - [112, 0]))
    assert "in a file of landmarks y goes down" in upwards
    (cut,) = about_motion(motion(turning(4), shots=[0, 0, 1, 0]))
    assert cut.startswith("the driver has 1 cut: the result jumps there")
    (damaged,) = about_motion(replace(two, damaged=2))
    assert damaged.startswith("2 packets of the driver could not be read")
    (guessed,) = about_motion(replace(two, guessed_rate=True))
    assert "25 frames a second are taken" in guessed


def test_turns_in_frames_without_a_face_are_not_counted():
    assert about_motion(motion(np.stack([face(), turned()]), seen=[True, False])) == []


@pytest.mark.parametrize(
    ("driver", "reference", "source", "told"),
    [
        ([0, 0.5], 0, 0, None),
        ([0.8, 0], 1, 0, "open in the first frame: frame 1 is the reference"),
        ([0.8, 0.7], 1, 0, "open in the frame of reference, number 1, and the source's is not"),
        ([0, 0.1], 0, 0.8, "the source's mouth is open, and the driver's is not in its frame of reference, number 0"),
        ([0.8, 0.8], 1, 0.8, None),
    ],
)
def test_open_mouths(driver, reference, source, told):
    said = about_mouths(np.stack([face(mouth=opening) for opening in driver]), reference, face(mouth=source))
    assert len(said) == (told is not None)
    assert told is None or told in said[0]
