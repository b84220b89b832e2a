import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch

from datamodules.clips.clip import face_crops
from datamodules.clips.clip_files import PreparedClip
from datamodules.clips.faces.face_options import FaceOptions
from datamodules.clips.faces.track_files import write_track
from datamodules.clips.faces.tracks import FaceTrack, track_faces
from datamodules.clips.prepare import preparing
from datamodules.clips.prepare.offsets import SyncOptions
from datamodules.clips.prepare.preparing import PrepareOptions, prepare_clip
from datamodules.clips.prepare.trees import ClipSource
from metrics.lip_sync import SyncScore
from networks.audio import MelSpectrogram
from tests.helpers.replicas_clips import SIDE, talking, write_media, write_talking
from visionscapes.errors import UserError
from visionscapes.media.errors import ClipError
from visionscapes.media.sound import read_sound
from visionscapes.media.video import read_frames

SMALL = PrepareOptions(size=64)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return write_talking(tmp_path_factory.mktemp("videos") / "a.mp4", 1, frames=20, sound=0.06)


def prepared(video, tmp_path, options=SMALL, **source):
    about = prepare_clip(ClipSource(video, "a", **source), tmp_path / "a.safetensors", options)
    clip = PreparedClip(tmp_path / "a.safetensors")
    assert clip.about == about
    return clip


def test_a_clip_has_the_frames_the_sound_and_the_faces_of_its_video(video, tmp_path):
    clip = prepared(video, tmp_path)
    sound = torch.from_numpy(read_sound(video))
    assert len(clip) == 20
    assert clip.found.all()
    assert clip.images([0, 19]).shape == (2, 64, 64, 3)
    assert len(clip.audio) == 20 * 640
    assert (clip.audio - sound[: 20 * 640]).abs().max() < 1e-4
    assert (clip.mel - MelSpectrogram()(sound[: 20 * 640])).abs().max() < 1e-3
    about = clip.about
    assert (about["source"], about["size"], about["frames"]) == (str(video), [SIDE, SIDE], 20)
    assert (about["seen"], about["interpolated"], about["without_face"]) == (20, 0, 0)
    assert (about["sound"], about["sync"]) == ("there", None)


def test_landmarks_and_boxes_lie_where_the_picture_shows_them(video, tmp_path):
    """Landmarks of the pictures, taken back by the windows, are those of the frames; so are the pixels below them."""
    clip = prepared(video, tmp_path, PrepareOptions(size=128))
    frames = np.stack(list(read_frames(video)))
    corners, sides = clip.crops[:, None, :2], (clip.crops[:, 2:] - clip.crops[:, :2])[:, None]
    points = clip.landmarks / 128 * sides + corners
    low, high = clip.boxes[:, :2], clip.boxes[:, 2:]
    inside = (clip.landmarks >= low[:, None] - 4) & (clip.landmarks <= high[:, None] + 4)
    assert inside.mean() > 0.98
    assert np.ptp(sides) < 3, "smooth"
    assert 1.3 < (sides[:, 0, 0] / ((high - low).max(1) / 128 * sides[:, 0, 0])).mean() < 1.9
    pictures = clip.images(range(20)).astype(float)

    def likeness(off: int) -> float:
        """Correlation of pictures and frames around landmarks, of which those of the pictures are moved."""
        shown, given = [], []
        for index in range(0, 20, 5):
            for point in (30, 36, 45, 57, 8):
                x, y = clip.landmarks[index, point].astype(int).clip(12, 115) + off
                shown.append(pictures[index, y - 2 : y + 3, x - 2 : x + 3].mean((0, 1)))
                x, y = points[index, point].round().astype(int).clip(1, SIDE - 2)
                given.append(frames[index, y - 1 : y + 2, x - 1 : x + 2].mean((0, 1)))
        return np.corrcoef(np.ravel(shown), np.ravel(given))[0, 1]

    assert likeness(0) > 0.85
    assert likeness(0) > max(likeness(-8), likeness(8)) + 0.1


def test_the_same_clip_gives_the_same_bytes(video, tmp_path):
    contents = []
    for name in ("a", "b"):
        prepare_clip(ClipSource(video, "a"), tmp_path / f"{name}.safetensors", SMALL)
        contents.append((tmp_path / f"{name}.safetensors").read_bytes())
    assert contents[0] == contents[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.safetensors", "b.safetensors"]


@pytest.mark.parametrize(("crop", "window"), [("none", [0, 0, SIDE, SIDE]), ("voxceleb2", [25, 0, 87, 79])])
def test_crops_that_look_for_no_face(video, tmp_path, crop, window):
    clip = prepared(video, tmp_path, PrepareOptions(size=64, crop=crop))
    assert clip.crops.tolist() == [window] * 20
    whole = crop == "voxceleb2"
    assert (clip.boxes.tolist() == [[0, 0, 64, 64]] * 20) == whole
    if whole:
        assert np.array_equal(face_crops(clip, [3], 64)[0].permute(1, 2, 0).numpy(), clip.images([3])[0])


def test_what_pictures_or_sound_have_more_at_the_end_is_left_out(tmp_path):
    images, audio = talking(1, 20)
    for name, frames, samples, expected in (("long", 20, 16000, 20), ("short", 20, 15 * 640 - 300, 15)):
        video = write_media(tmp_path / f"{name}.mkv", images[:frames], audio[:samples])
        clip = prepared(video, tmp_path)
        exact = min(20, round(len(read_sound(video)) / 640))
        assert abs(len(clip) - expected) <= 2  # the codec fills up its last block
        assert len(clip) == exact
        assert len(clip.audio) == 640 * exact
        assert clip.about["frames_without_sound"] == 20 - exact


def test_sound_comes_from_the_file_beside_a_video_that_has_none(tmp_path):
    video = write_talking(tmp_path / "a.mp4", 1, sound=None)
    sound = write_media(tmp_path / "a.m4a", None, talking(1, 12)[1][:7000])
    clip = prepared(video, tmp_path, sound=sound)
    assert len(clip) == round(len(read_sound(sound)) / 640)
    with pytest.raises(ClipError, match=r"a\.mp4 has no sound: leave it out, or take") as raised:
        prepared(video, tmp_path, sound=tmp_path / "none.m4a")
    assert raised.value.reason == "no sound"


def test_a_clip_without_sound_is_taken_if_asked_for(tmp_path):
    video = write_talking(tmp_path / "a.mp4", 1, sound=None)
    clip = prepared(video, tmp_path, PrepareOptions(size=64, sound="if-there"))
    assert (len(clip), clip.mel.shape, len(clip.audio)) == (12, (80, 0), 0)
    assert clip.about["sound"] == "none"


def test_silence_is_told(tmp_path):
    video = write_talking(tmp_path / "a.mp4", 1, loud=0)
    clip = prepared(video, tmp_path)
    assert clip.about["sound"] == "silence"


@pytest.mark.parametrize("late", [3, -3])
def test_sound_is_shifted_to_where_it_fits(tmp_path, monkeypatch, late):
    """It is heard as that of a video whose sound came in time, for the frames that both have."""
    weights = tmp_path / "w"
    weights.touch()
    video = write_talking(tmp_path / "late.mkv", 1, frames=20, late=late)
    right = write_talking(tmp_path / "right.mkv", 1, frames=20)
    monkeypatch.setattr(preparing, "measure", lambda clip, weights: SyncScore(late, 1.25, 0.5))
    expected = prepared(right, tmp_path)
    images, audio, landmarks = expected.images(range(20)), expected.audio, expected.landmarks
    clip = prepared(video, tmp_path, PrepareOptions(size=64, sync=SyncOptions(str(weights), "shift")))
    assert len(clip) in (17, 18)  # the codec fills up its last block of sound
    first = max(0, -late)
    np.testing.assert_array_equal(clip.images(range(17)), images[first : first + 17])
    np.testing.assert_array_equal(clip.landmarks[:17], landmarks[first : first + 17])
    shared = slice(1000, 17 * 640 - 1000)
    wanted = audio[first * 640 :][shared]
    assert torch.corrcoef(torch.stack([clip.audio[shared], wanted]))[0, 1] > 0.99
    assert clip.about["frames"] == clip.about["seen"] == len(clip)
    assert clip.about["sync"] == {"offset": late, "confidence": 1.25, "distance": 0.5, "moved": late}
    assert (clip.mel - MelSpectrogram()(clip.audio)).abs().max() < 0.05


def test_clips_that_are_dropped_leave_no_file(video, tmp_path, monkeypatch):
    weights = tmp_path / "w"
    weights.touch()
    monkeypatch.setattr(preparing, "measure", lambda clip, weights: SyncScore(4, 1.0, 0.5))
    with pytest.raises(ClipError, match="its sound is 4 frames late, more than 1"):
        prepared(video, tmp_path, PrepareOptions(size=64, sync=SyncOptions(str(weights), "drop")))
    assert [path.name for path in tmp_path.iterdir()] == ["w"]


def test_clips_without_a_face_or_too_short_are_refused(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (12, SIDE, SIDE, 3), dtype=np.uint8)
    audio = talking(1, 12)[1][: 12 * 640]
    for images, reason in (
        (noise, "no face"),
        (talking(1, 12)[0][:1], "too short"),
        (talking(1, 12)[0][:4], "too short"),
    ):
        video = write_media(tmp_path / "a.mkv", images, audio)
        with pytest.raises(ClipError) as raised:
            prepared(video, tmp_path)
        assert raised.value.reason == reason
        assert str(video) in str(raised.value)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_landmarks_of_another_detector_are_taken(video, tmp_path, suffix):
    frames = list(read_frames(video))
    track = track_faces(frames, 25.0, FaceOptions())
    folder = tmp_path / "landmarks"
    write_track(folder / f"a{suffix}", replace(track, landmarks=track.landmarks + 1))
    (tmp_path / "other").mkdir()
    found = prepared(video, tmp_path / "other")
    given = prepared(video, tmp_path, PrepareOptions(size=64, landmarks=str(folder)))
    side = (given.crops[:, 2] - given.crops[:, 0])[:, None, None]
    np.testing.assert_allclose(given.landmarks, found.landmarks + 64 / side, atol=1e-3)
    assert given.about["settings"] != found.about["settings"]


def test_landmarks_that_are_missing_or_of_another_video_are_told(video, tmp_path):
    track = track_faces(list(read_frames(video))[:-1], 25.0, FaceOptions())
    write_track(tmp_path / "landmarks" / "other.npz", track)
    options = PrepareOptions(size=64, landmarks=str(tmp_path / "landmarks"))
    with pytest.raises(ClipError, match=r"a\.mp4 has no landmarks .*/landmarks/a\.safetensors or \.npz") as raised:
        prepared(video, tmp_path, options)
    assert raised.value.reason == "no landmarks"
    write_track(tmp_path / "landmarks" / "a.npz", track)
    with pytest.raises(ClipError, match="landmarks of 19 frames, and the video has 20"):
        prepared(video, tmp_path, options)


def peak(tmp_path, monkeypatch, frames):
    """Return the largest memory, in bytes, while a clip of large frames is prepared."""

    def steady(shown, *_):
        count = sum(1 for _ in shown)
        box, landmarks = np.array([90, 90, 210, 210], np.float32), np.full((68, 2), 150, np.float32)
        found = np.ones(count, bool)
        shots = np.zeros(count, np.int64)
        return FaceTrack(np.tile(box, (count, 1)), np.tile(landmarks, (count, 1, 1)), found, seen=found, shots=shots)

    made = (np.full((300, 300, 3), index % 256, np.uint8) for _ in range(2) for index in range(frames))
    monkeypatch.setattr(preparing, "read_frames", lambda *_: (next(made) for _ in range(frames)))
    monkeypatch.setattr(preparing, "track_faces", steady)
    (tmp_path / "a.mp4").touch()
    tracemalloc.start()
    prepared(tmp_path / "a.mp4", tmp_path, PrepareOptions(size=64, sound="if-there"))
    try:
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_frames(tmp_path, monkeypatch):
    """A frame has 270 kB here; what grows are landmarks, boxes, and where pictures begin."""
    monkeypatch.setattr(preparing, "_sound", lambda *_, **__: np.zeros(0, np.float32))
    few, many = (peak(tmp_path, monkeypatch, frames) for frames in (50, 450))
    assert (many - few) / 400 < 8_000


def test_options_are_checked():
    with pytest.raises(UserError, match="size is 8; it has to be between 16 and 4096"):
        PrepareOptions(size=8)
    with pytest.raises(UserError, match=r"crop is 'head'; it has to be one of"):
        PrepareOptions(crop="head")
    assert PrepareOptions(size=64).settings() != PrepareOptions(size=65).settings()
