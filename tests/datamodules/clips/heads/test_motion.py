import numpy as np
import pytest

from datamodules.clips.faces.face_options import FaceOptions
from datamodules.clips.faces.track_files import read_track
from datamodules.clips.heads.motion import HeadMotion, completed, motion_of_video, read_motion, write_motion
from tests.helpers.dubbing import nobody, person, video_of
from tests.helpers.face_files import needs_face_files
from tests.helpers.heads import motion, turning
from visionscapes.errors import UserError
from visionscapes.media.errors import ClipError
from visionscapes.media.video_writer import VideoWriter


@pytest.fixture(scope="module")
def gaps(tmp_path_factory):
    """A video whose face is gone for two seconds, and at both ends."""
    frames = person(1, 12)
    parts = nobody(3), frames[:6], nobody(50), frames[6:], nobody(2)
    return video_of(tmp_path_factory.mktemp("gaps") / "gaps.mp4", *parts, sound=None)


@needs_face_files
def test_frames_without_a_face_are_completed_and_counted(gaps):
    moves = motion_of_video(gaps, FaceOptions())
    assert len(moves) == 67
    assert moves.track.seen.sum() == 12
    assert moves.interpolated + moves.held == 55
    assert moves.held >= 5
    assert np.isfinite(moves.track.landmarks).all()
    assert (moves.track.landmarks.min(1) > 0).all(), "a face in every frame"
    assert np.array_equal(moves.track.landmarks[0], moves.track.landmarks[3]), "held before the first"
    assert np.array_equal(moves.track.landmarks[-1], moves.track.landmarks[-3]), "and after the last"
    assert "a face in 12 of 67 frames, 55 of 67 frames without a face: " in str(moves)


def test_the_nearest_frame_with_a_face():
    seen = [False, True, False, False, False, True, False]
    moves = completed(motion(turning(7), seen).track)
    source = [1, 1, 1, 1, 5, 5, 5]
    assert np.array_equal(moves.landmarks, turning(7).astype(np.float32)[source])
    assert np.array_equal(moves.found, seen), "it is still known which"


@needs_face_files
def test_pixels_that_are_not_square(tmp_path):
    frames = person(1, 3)
    narrow = frames.reshape(3, 112, 56, 2, 3).mean(3).astype(np.uint8)
    with VideoWriter(tmp_path / "a.mp4", (56, 112), 25, pixel_aspect=2.0) as video:
        for picture in narrow:
            video.write(picture)
    moves = motion_of_video(tmp_path / "a.mp4", FaceOptions())
    assert moves.pixel_aspect == 2
    usual = motion_of_video(video_of(tmp_path / "b.mp4", frames, sound=None), FaceOptions())
    assert np.abs(moves.track.landmarks - usual.track.landmarks).mean() < 4, "pixels of 112, as shown"
    write_motion(tmp_path / "a.npz", moves)
    assert read_motion(tmp_path / "a.npz").size == (112, 112)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_landmarks_are_saved_and_used_again(tmp_path, suffix):
    seen = [False, True, True, False, True]
    moves = motion(turning(5), seen)
    moves = HeadMotion(completed(moves.track), np.array([0, 0.1, 0.15, 0.3, 0.4]), 0.5, size=(112, 112))
    write_motion(tmp_path / f"m{suffix}", moves)
    again = read_motion(tmp_path / f"m{suffix}")
    assert np.array_equal(again.times, moves.times)
    assert (again.end, again.size, again.steady, again.guessed_rate) == (0.5, (112, 112), None, False)
    for name in ("seen", "shots"):
        assert np.array_equal(getattr(again.track, name), getattr(moves.track, name))
    assert np.array_equal(again.track.landmarks[[0, 1, 2, 4]], moves.track.landmarks[[0, 1, 2, 4]])
    assert len(read_track(tmp_path / f"m{suffix}")) == 5, "a file of a track as others are"


def test_landmarks_of_another_detector(tmp_path):
    landmarks = turning(6).astype(np.float64)
    landmarks[2:4] = np.nan
    landmarks[5] = 0
    np.savez(tmp_path / "a.npz", landmarks=landmarks)
    moves = read_motion(tmp_path / "a.npz")
    assert moves.guessed_rate
    assert (moves.steady, moves.interpolated, moves.held) == (25, 2, 1)
    line = landmarks[1] + (landmarks[4] - landmarks[1]) * np.array([1, 2])[:, None, None] / 3
    assert np.allclose(moves.track.landmarks[2:4], line, atol=1e-3)
    assert np.array_equal(moves.track.landmarks[5], moves.track.landmarks[4])


GOOD = {"landmarks": turning(4)}
WRONG = {
    "three points": ({"landmarks": np.ones((4, 3, 2))}, r"landmarks of shape \(4, 3, 2\)"),
    "no landmarks": ({"points": np.ones((4, 68, 2))}, 'has no "landmarks" but points'),
    "shares": ({"landmarks": turning(4) / 112}, "multiply x by its width"),
    "one point": ({"landmarks": np.full((4, 68, 2), 50.0)}, "smaller than a pixel"),
    "objects": ({"landmarks": np.array([None])}, "holds pickled objects"),
    "times": (GOOD | {"times": np.zeros(4)}, 'has "times" that do not rise'),
    "few times": (GOOD | {"times": np.arange(3.0)}, r'has "times" of shape \(3,\)'),
    "no times": (GOOD | {"times": np.full(4, np.nan)}, 'has "times" of shape'),
    "end": (GOOD | {"times": np.arange(4.0), "end": np.ones(1)}, 'has an "end" before its last frame'),
    "outside": ({"landmarks": turning(4) + 500, "size": np.array([112, 112])}, "of a video of 112 x 112 pixels"),
    "nobody": ({"landmarks": np.zeros((4, 68, 2))}, "has no face in any of its 4 frames"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_files_that_are_no_movement_are_told(tmp_path, kind):
    arrays, told = WRONG[kind]
    np.savez(tmp_path / "a b.npz", **arrays)
    with pytest.raises(ClipError, match=told) as error:
        read_motion(tmp_path / "a b.npz")
    assert "a b.npz" in str(error.value)


def test_files_that_cannot_be_written(tmp_path):
    with pytest.raises(ClipError, match=r"has to end on \.safetensors or \.npz"):
        write_motion(tmp_path / "a.pkl", motion(turning(3)))
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        write_motion(tmp_path / "file" / "a.npz", motion(turning(3)))


@needs_face_files
def test_a_single_face_is_followed_whatever_the_number_that_is_asked_for(tmp_path):
    alone = video_of(tmp_path / "a.mp4", person(1, 4), sound=None)
    assert motion_of_video(alone, FaceOptions(choose=1)).track.seen.all()
    two = video_of(tmp_path / "b.mp4", np.concatenate([person(1, 4), person(2, 4)], 2), sound=None)
    assert not np.array_equal(*(motion_of_video(two, FaceOptions(choose=k)).track.landmarks for k in (0, 1)))
    with pytest.raises(ClipError, match="no face of the number 2 from the left"):
        motion_of_video(two, FaceOptions(choose=2))
    with pytest.raises(ClipError, match=r"shows no face in any of its 3 frames"):
        motion_of_video(video_of(tmp_path / "c.mp4", nobody(3), sound=None), FaceOptions(choose=1))
