import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from datamodules.clips.faces.track_files import check_places, read_track, write_track
from datamodules.clips.faces.tracks import FaceTrack
from datamodules.procedural.faces.faces import render_face
from networks.faces.landmarks import face_box, ibug_landmarks
from visionscapes.media.errors import ClipError

POINTS = np.stack([render_face(seed=0, index=index, size=128).landmarks for index in range(6)])
MESH = np.random.default_rng(0).uniform(0, 200, (6, 478, 3)).astype(np.float32)


@pytest.fixture
def track() -> FaceTrack:
    found = np.array([1, 1, 0, 1, 1, 1], bool)
    points = np.where(found[:, None, None], POINTS, 0)
    boxes = np.where(found[:, None], face_box(points) + 1, 0).astype(np.float32)
    seen = np.array([1, 0, 0, 1, 1, 1], bool)
    return FaceTrack(boxes=boxes, landmarks=points, found=found, seen=seen, shots=np.array([0, 0, 0, 0, 1, 1]))


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_what_is_written_is_read(tmp_path: Path, track: FaceTrack, suffix: str) -> None:
    path = tmp_path / "folder with 'quotes'" / f"face{suffix}"
    write_track(path, track)
    again = read_track(path, frames=6)
    for name in ("boxes", "landmarks", "found", "seen", "shots"):
        assert np.array_equal(getattr(again, name), getattr(track, name)), name
        assert getattr(again, name).dtype == getattr(track, name).dtype


def save(path: Path, **arrays: np.ndarray) -> Path:
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        save_file(arrays, path)
    return path


@pytest.mark.parametrize(
    ("landmarks", "expected"),
    [
        (POINTS.astype(np.float64), POINTS),
        (np.concatenate([POINTS, np.full((6, 68, 1), 0.9)], 2), POINTS),
        (POINTS.round().astype(np.int32), POINTS.round()),
        (MESH, ibug_landmarks(MESH[..., :2])),
        (MESH[:, :468, :2], ibug_landmarks(MESH[..., :2])),
    ],
)
@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_other_detectors(tmp_path: Path, suffix: str, landmarks: np.ndarray, expected: np.ndarray) -> None:
    track = read_track(save(tmp_path / f"face{suffix}", landmarks=np.ascontiguousarray(landmarks)))
    assert np.allclose(track.landmarks, expected, atol=1e-4)
    assert np.allclose(track.boxes, face_box(track.landmarks), atol=1e-4)
    assert track.found.all()
    assert track.seen.all()


def test_frames_without_numbers_have_no_face(tmp_path: Path) -> None:
    points = POINTS.copy()
    points[1, 5], points[3] = np.nan, 0
    boxes = face_box(POINTS)
    boxes[4] = np.nan
    track = read_track(save(tmp_path / "a.npz", landmarks=points, boxes=boxes, found=np.array([0, 1, 1, 1, 1, 1])))
    assert track.found.tolist() == [False, False, True, False, True, True]
    assert np.isfinite(track.landmarks).all()
    assert np.allclose(track.boxes[4], face_box(POINTS)[4])
    assert (track.boxes[~track.found] == 0).all()


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"landmarks": POINTS[:4]}, "landmarks of 4 frames, and the video has 6"),
        ({"points": POINTS}, 'no "landmarks" but points'),
        ({}, 'no "landmarks" but nothing'),
        ({"landmarks": POINTS[:, :51]}, r"shape \(6, 51, 2\)"),
        ({"landmarks": POINTS[0]}, r"shape \(68, 2\)"),
        ({"landmarks": POINTS.astype("U5")}, "type <U5"),
        ({"landmarks": POINTS[:0]}, "landmarks of no frame"),
        ({"landmarks": POINTS / 128}, "shares of the frame"),
        ({"landmarks": POINTS * np.nan}, "no face in any of its 6 frames"),
        ({"landmarks": POINTS, "boxes": face_box(POINTS)[:5]}, r"boxes of shape \(5, 4\)"),
        ({"landmarks": POINTS, "boxes": face_box(POINTS)[:, ::-1]}, "end before they begin"),
        ({"landmarks": POINTS, "found": np.ones(5, bool)}, r'"found" of shape \(5,\)'),
        ({"landmarks": POINTS, "seen": np.ones(6)}, "float64"),
        ({"landmarks": POINTS, "shots": np.zeros((6, 1), int)}, '"shots" of shape'),
    ],
)
def test_what_does_not_fit_is_told(tmp_path: Path, arrays: dict[str, np.ndarray], words: str) -> None:
    path = save(tmp_path / "mine.npz", **arrays)
    with pytest.raises(ClipError, match=rf"(?s)mine\.npz.*{words}"):
        read_track(path, frames=6)


def test_nothing_pickled_is_read(tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> tuple:
            return Path.touch, (tmp_path / "harmed",)

    np.savez(tmp_path / "objects.npz", landmarks=np.array([Harmful()], dtype=object))
    (tmp_path / "pickled.npz").write_bytes(pickle.dumps({"landmarks": Harmful()}))
    for name in ("objects.npz", "pickled.npz"):
        with pytest.raises(ClipError, match="pickled objects"):
            read_track(tmp_path / name)
    assert not (tmp_path / "harmed").exists()


def test_files_that_cannot_be_read_are_told(tmp_path: Path, track: FaceTrack) -> None:
    for suffix in (".npz", ".safetensors"):
        path = tmp_path / f"cut{suffix}"
        write_track(path, track)
        path.write_bytes(path.read_bytes()[:-200])
        with pytest.raises(ClipError, match="Write it again") as caught:
            read_track(path)
        assert caught.value.reason == "unreadable"
    np.save(tmp_path / "array.npy", POINTS)
    (tmp_path / "array.npy").rename(tmp_path / "array.npz")
    for name, words in (("array.npz", "single array"), ("a.csv", "name one that ends on"), ("no.npz", "is not there")):
        with pytest.raises(ClipError, match=words) as caught:
            read_track(tmp_path / name)
        assert caught.value.reason == "no landmarks"
    with pytest.raises(ClipError, match="end on"):
        write_track(tmp_path / "track.csv", track)


@pytest.mark.parametrize(
    ("factor", "moved"),
    [(10, 0), (1, 200), (1, -200), (1e30, 0), (0.001, 50)],
)
def test_a_face_that_no_frame_shows_is_told(track: FaceTrack, factor: float, moved: float) -> None:
    check_places(Path("a.npz"), track, (128, 128))
    boxes = np.where(track.found[:, None], track.boxes * np.float32(factor) + np.float32(moved), 0)
    with pytest.raises(
        ClipError, match=r"a\.npz has a face from .* in frame 0 of a video of 128 x 128 pixels: write it"
    ):
        check_places(Path("a.npz"), replace(track, boxes=boxes), (128, 128))


def test_a_face_that_leaves_the_frames_may(track: FaceTrack) -> None:
    boxes = track.boxes.copy()
    boxes[0] += 128
    check_places(Path("a.npz"), replace(track, boxes=boxes), (128, 128))
