from dataclasses import replace

import numpy as np
import pytest
import torch

from datamodules.clips.clip_files import PreparedClip
from datamodules.clips.faces.face_options import FaceOptions
from datamodules.clips.heads.drawing import draw_landmarks
from datamodules.clips.heads.motion import write_motion
from datamodules.clips.heads.reenactment import LONGEST_NAME, HeadsToReenact, HowToReenact
from datamodules.clips.heads.transfer import eye_distance
from datamodules.clips.prepare.preparing import PrepareOptions, prepare_clip
from datamodules.clips.prepare.trees import ClipSource
from datamodules.clips.video_chunks import chunk_loader
from tests.helpers.dubbing import nobody, person, video_of
from tests.helpers.face_files import needs_face_files
from tests.helpers.heads import MARGIN, motion, reenacting, shots, turning
from visionscapes.errors import UserError
from visionscapes.media.errors import ClipError
from visionscapes.media.video_writer import VideoWriter


def joined(batches, key):
    return torch.cat([batch[key] for batch in batches])


@pytest.fixture(scope="module")
def talk(tmp_path_factory):
    return video_of(tmp_path_factory.mktemp("videos") / "talk.mp4", person(1, 12))


@pytest.fixture
def landmarks(tmp_path):
    write_motion(tmp_path / "turn.npz", motion(turning(8)))
    return tmp_path / "turn.npz"


@needs_face_files
def test_chunks_of_a_video(talk, capsys):
    data = reenacting(talk, sound=True)
    batches = list(chunk_loader(data))
    assert len(batches) == 3 <= len(data)
    first = batches[0]
    assert (first["task"], first["name"], first["source"], first["mode"]) == ("reenact", "me__talk", "me", "absolute")
    assert [batch["last"] for batch in batches] == [False, False, True]
    assert joined(batches, "index").tolist() == list(range(12))
    assert (first["rate"], first["steady"], first["total"], first["finetune"]) == (25, True, 12, False)
    assert first["audio"] == str(talk)
    for key, shape in (("drawing", (12, 3, 32, 32)), ("driver", (12, 3, 32, 32)), ("landmarks", (12, 68, 2))):
        assert joined(batches, key).shape == shape
    assert first["shots"].shape == first["shot_drawings"].shape == (2, 3, 32, 32)
    assert all(first[key].dtype == torch.uint8 for key in ("shots", "shot_drawings", "drawing", "driver"))
    assert joined(batches, "found").all()
    assert torch.equal(first["drawing"][3], draw_landmarks(first["landmarks"][3], 32))
    assert torch.equal(first["shot_drawings"][1], draw_landmarks(first["shot_landmarks"][1], 32))
    assert batches[-1]["counts"]["frames"] == 12
    assert batches[0]["counts"] == {}
    assert set(first["seconds"]) == {"faces", "decoding", "drawing"}
    assert "talk.mp4 is the driver: a face in 12 of 12 frames" in capsys.readouterr().out


@needs_face_files
def test_a_driver_is_cropped_as_clips_are_prepared(talk, tmp_path):
    """What a network was trained on that has learned from `HeadClips`."""
    prepare_clip(ClipSource(talk, "talk"), tmp_path / "talk.safetensors", PrepareOptions(size=32, margin=MARGIN))
    clip, batches = PreparedClip(tmp_path / "talk.safetensors"), list(reenacting(talk))
    assert np.abs(joined(batches, "landmarks").numpy() - clip.landmarks).max() < 1e-3, "pixels"
    driver = joined(batches, "driver").permute(0, 2, 3, 1).numpy().astype(float)
    assert np.abs(driver - clip.images(range(12))).mean() < 3, "of 255, by JPEG"
    raised = joined(reenacting(talk, raised=0.1), "landmarks").numpy() - clip.landmarks
    assert np.allclose(raised, [0, 0.1 * 32 / MARGIN], atol=1e-3), "lower in the picture by that"


@needs_face_files
def test_frames_without_a_face_and_two_faces_are_counted_and_told(tmp_path, capsys):
    both = np.concatenate([person(1, 8), person(2, 8)], 2)
    both[3:5] = nobody(1)[0, 0, 0]
    (*_, last) = reenacting(video_of(tmp_path / "a.mp4", both, sound=None), sound=True)
    out = capsys.readouterr().out
    assert "a face in 6 of 8 frames, 2 of 8 frames without a face: " in out
    assert "warning: the driver shows up to 2 faces at once" in out
    assert "warning: a.mp4 has no sound: the result is silent" in out
    assert last["counts"]["faces_at_once"] == 2
    assert last["counts"]["interpolated"] + last["counts"]["held"] == 2
    assert last["audio"] == ""
    assert any("2 faces" in line for line in last["warnings"])


@needs_face_files
def test_saved_landmarks_give_the_same_result(talk, tmp_path):
    file = tmp_path / "saved.npz"
    first = list(reenacting(talk, save_landmarks=str(file)))
    again = list(reenacting(file))
    for key in ("drawing", "landmarks", "time", "found"):
        assert torch.equal(joined(first, key), joined(again, key)), key
    assert "driver" not in again[0]
    assert again[0]["name"] == "me__saved"
    with np.load(file) as arrays:
        assert not any(arrays[name].dtype == np.uint8 for name in arrays.files), "no picture of anybody"


def test_names_that_are_too_long_together_for_a_file(landmarks):
    (one,) = HeadsToReenact(replace(shots(), name="ä" * 120), [landmarks], how=HowToReenact(32, MARGIN)).videos
    assert one.name == "ä" * 117 + "__turn"
    assert len(one.name.encode()) <= LONGEST_NAME


def test_landmarks_alone(landmarks):
    batches = list(reenacting(landmarks, chunk=3))
    assert [len(batch["index"]) for batch in batches] == [3, 3, 2]
    assert "driver" not in batches[0]
    assert batches[0]["rate"] == 25


def test_there_are_no_more_chunks_than_said(landmarks):
    assert [len(batch["index"]) for batch in next(iter(reenacting(landmarks).videos)).chunks(2, 2)] == [4, 4]


def test_relative_landmarks_keep_the_shape_of_the_source(landmarks):
    """Where the driver looks ahead, the source is as in its own most frontal picture."""
    absolute, relative = (list(reenacting(landmarks, landmarks=mode)) for mode in ("absolute", "relative"))
    reference = relative[-1]["counts"]["reference_frame"]
    assert absolute[-1]["counts"]["reference_frame"] is None
    assert 2 <= reference <= 5
    moved, driver = joined(relative, "landmarks"), joined(absolute, "landmarks")
    source = relative[0]["shot_landmarks"][0]
    assert torch.allclose(moved[reference], source, atol=1e-3)
    scale = float(eye_distance(source.numpy()) / eye_distance(driver[reference].numpy()))
    assert torch.allclose(moved - source, (driver - driver[reference]) * scale, atol=1e-3)
    assert not torch.equal(joined(relative, "drawing"), joined(absolute, "drawing"))


def test_a_single_frame_is_no_movement(tmp_path):
    write_motion(tmp_path / "one.npz", motion(turning(1)))
    assert len(list(reenacting(tmp_path / "one.npz"))) == 1
    with pytest.raises(ClipError, match=r"a single frame.* the source would stay as it is.*--data\.landmarks=absolute"):
        list(reenacting(tmp_path / "one.npz", landmarks="relative"))


@needs_face_files
def test_times_of_a_variable_rate_stay(tmp_path, capsys):
    times = [0, 0.04, 0.2, 0.3, 0.5]
    with VideoWriter(tmp_path / "a.mp4", (112, 112), 25) as video:
        for picture, time in zip(person(1, 5), times, strict=True):
            video.write(picture, time)
    (batch,) = reenacting(tmp_path / "a.mp4")
    assert batch["time"].tolist() == pytest.approx(times, abs=1e-4)
    assert not batch["steady"]
    assert "variable frame rate" in capsys.readouterr().out


@needs_face_files
def test_several_drivers_of_which_one_is_none(tmp_path, talk, landmarks, capsys):
    empty = video_of(tmp_path / "empty.mp4", nobody(3), sound=None)
    batches = list(reenacting(empty, talk, landmarks, chunk=99))
    assert [batch["name"] for batch in batches] == ["me__talk", "me__turn"]
    assert "left out: " in capsys.readouterr().out
    with pytest.raises(ClipError, match=r"empty\.mp4 shows no face"):
        list(reenacting(empty))
    with pytest.raises(UserError, match="landmarks of 2 drivers cannot be saved in one file"):
        reenacting(talk, landmarks, save_landmarks="a.npz")
    with pytest.raises(UserError, match=r"save_landmarks=a\.txt has to end on .*\.npz"):
        reenacting(talk, save_landmarks="a.txt")
    with pytest.raises(UserError, match="would take the place of the driver"):
        reenacting(landmarks, save_landmarks=str(landmarks))
    with pytest.raises(UserError, match=r"HeadsToReenact\.chunk is 0"):
        reenacting(talk, chunk=0)


def test_memory_does_not_grow_with_the_length(tmp_path):
    """Chunks are made when they are asked for: a driver of hours holds its landmarks alone."""
    write_motion(tmp_path / "long.npz", motion(np.repeat(turning(8), 3000, 0)))
    chunks = iter(reenacting(tmp_path / "long.npz", chunk=4))
    first = next(chunks)
    assert first["total"] == 24000
    assert sum(value.nbytes for value in first.values() if isinstance(value, torch.Tensor)) < 100_000


def test_options():
    with pytest.raises(UserError, match=r"HowToReenact\.landmarks is "):
        HowToReenact(32, MARGIN, landmarks="other")
    assert HowToReenact(32, MARGIN).faces == FaceOptions()
