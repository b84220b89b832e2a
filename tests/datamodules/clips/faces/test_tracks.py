import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
from skimage import data

from datamodules.clips.faces.face_options import FaceOptions
from datamodules.clips.faces.tracks import bridged, track_faces
from datamodules.procedural.faces.faces import render_face
from datamodules.procedural.faces.identities import Expression, Pose
from networks.faces.landmarks import mouth_opening
from tests.helpers.face_files import needs_face_files
from visionscapes.errors import UserError
from visionscapes.media.errors import ClipError

pytestmark = needs_face_files


def talking(count: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Frames of a person whose head sways while the mouth moves four times a second, and the landmarks."""
    faces = []
    for time in np.arange(count) / 25:
        pose = Pose(yaw=10 * np.sin(2 * time), pitch=3 * np.sin(3 * time), roll=5 * np.sin(2.5 * time))
        expression = Expression(mouth=0.4 - 0.4 * np.cos(8 * np.pi * time) * np.sin(time), blink=float(time % 1 > 0.9))
        faces.append(render_face(seed=3, index=0, size=192, pose=pose, expression=expression))
    return [face.image for face in faces], np.stack([face.landmarks for face in faces])


def jitter(points: np.ndarray) -> float:
    return float(np.abs(np.diff(points, 2, axis=0)).mean())


def test_a_talking_face_is_followed_steadily_and_its_mouth_exactly() -> None:
    images, truth = talking(50)
    raw, smooth = (track_faces(images, 25, FaceOptions(smoothing=window)) for window in (0, 0.28))
    assert smooth.seen.all()
    assert str(smooth) == "a face in 50 of 50 frames"
    eyes = np.linalg.norm(truth[:, 45] - truth[:, 36], axis=1).mean()
    error = np.linalg.norm(smooth.landmarks - truth, axis=-1) / eyes
    assert error[:, 17:].mean() < 0.06
    assert np.corrcoef(mouth_opening(smooth.landmarks), mouth_opening(truth))[0, 1] > 0.9
    assert jitter(smooth.landmarks[:, :48]) < 0.6 * jitter(raw.landmarks[:, :48])
    assert jitter(smooth.boxes) < 0.3 * jitter(raw.boxes)
    # Without delay: the opening fits the truth's of the same frame best.
    openings = mouth_opening(smooth.landmarks)[5:-5], mouth_opening(truth)
    fits = [np.corrcoef(openings[0], openings[1][5 + lag : 45 + lag])[0, 1] for lag in range(-3, 4)]
    assert int(np.argmax(fits)) == 3


def test_gaps_are_bridged_but_not_ends_and_long_ones() -> None:
    image, empty = data.astronaut(), np.full((250, 250, 3), 200, np.uint8)
    images = [image] * 16
    for index in (0, 4, 5, 9, 10, 11, 15):
        images[index] = image.copy()
        images[index][60:190, 160:285] = 150  # a hand before the face
    track = track_faces(images, 25, FaceOptions(longest_gap=2 / 25))
    assert np.flatnonzero(~track.seen).tolist() == [0, 4, 5, 9, 10, 11, 15]
    assert np.flatnonzero(~track.found).tolist() == [0, 9, 10, 11, 15]
    assert (track.landmarks[9] == 0).all()
    assert (track.boxes[9] == 0).all()
    assert np.abs(track.landmarks[4] - track.landmarks[3]).max() < 3
    assert str(track) == "a face in 9 of 16 frames, 2 more interpolated"
    with pytest.raises(ClipError, match=r"mine.mp4 shows no face in any of its 3 frames") as caught:
        track_faces([empty] * 3, 25, FaceOptions(), "mine.mp4")
    assert caught.value.reason == "no face"


def test_nothing_is_bridged_across_a_cut() -> None:
    one, other = data.astronaut()[:250, 100:350], data.coffee()[:250, :250]
    track = track_faces([one, one, *[other] * 6, one, one], 25, FaceOptions())
    assert track.found.tolist() == [True, True, *[False] * 6, True, True]
    assert track.shots.tolist() == [0, 0, *[1] * 6, 2, 2]
    assert "2 cuts" in str(track)


def test_a_flash_and_a_hand_before_the_face_are_no_cuts() -> None:
    one = data.astronaut()[:250, 50:400]
    flash, hand = np.full_like(one, 250), one.copy()
    hand[40:210, 90:260] = 200
    for between in ([flash] * 3, [hand] * 12):
        track = track_faces([one] * 3 + between + [one] * 3, 25, FaceOptions())
        assert track.found.all()
        assert track.seen.sum() == 6
        assert set(track.shots.tolist()) == {0}
    assert not track_faces([one] * 3 + [hand] * 30 + [one] * 3, 25, FaceOptions()).found[3:33].any()


def test_gaps_are_straight_lines() -> None:
    points = np.array([0, 1, 9, 9, 4, 9, 9, 9, 8, 9], np.float32)[:, None]
    seen = np.array([0, 1, 0, 0, 1, 0, 0, 0, 1, 0], bool)
    shots = np.zeros(10, np.int64)
    filled, found = bridged(points, seen, shots, 2)
    assert filled[:5, 0].tolist() == [0, 1, 2, 3, 4]
    assert found.tolist() == [False, *[True] * 4, False, False, False, True, False]
    assert bridged(points, seen, shots, 3)[0][5:8, 0].tolist() == [5, 6, 7]
    assert bridged(points, seen, np.arange(10), 3)[1].tolist() == seen.tolist()


def test_frames_pass_by() -> None:
    def frames(count: int) -> Iterator[np.ndarray]:
        for _ in range(count):
            yield np.full((540, 960, 3), 128, np.uint8) if count % 2 else data.astronaut().copy()

    peaks = []
    for count in (10, 40):
        tracemalloc.start()
        track_faces(frames(count), 25, FaceOptions())
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 30 * 20_000  # bytes; a frame has 786,432


def test_what_is_no_video_is_told() -> None:
    with pytest.raises(ClipError, match="no frames") as caught:
        track_faces([], 25, FaceOptions())
    assert caught.value.reason == "no frames"
    with pytest.raises(UserError, match="repeat a grey picture"):
        track_faces([np.zeros((90, 90), np.uint8)], 25, FaceOptions())
    with pytest.raises(ClipError, match=r"no face of the number 3 from the left that has a score of 0\.99 in any"):
        track_faces([data.astronaut()], 25, FaceOptions(choose=3, least_score=0.99))
