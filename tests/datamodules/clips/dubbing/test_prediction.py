from pathlib import Path

import numpy as np
import pytest
import torch

from datamodules import DubbingClips, DubbingWorld
from datamodules.clips.dubbing import prediction
from datamodules.clips.dubbing.prediction import videos_at
from datamodules.clips.faces.face_options import FaceOptions
from datamodules.common.errors import DatasetNotFoundError
from tests.helpers.face_files import needs_face_files
from tests.helpers.prepared_clips import make_prepared_clip
from tests.helpers.replicas_clips import write_talking
from visionscapes.errors import UserError
from visionscapes.media.sound import read_sound, write_sound

WORLD = {"clips": 2, "test_clips": 2, "val_clips": 0, "seconds": 0.8, "face_size": 24}


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("my videos")
    write_talking(folder / "a.mp4", 1)
    write_talking(folder / "sub" / "b.MOV", 2)
    return folder


def predicted(data):
    data.setup("predict")
    chunks = list(data.predict_dataloader())
    data.teardown("predict")
    return chunks


@pytest.mark.parametrize("place", ["none.mp4", "none/", "empty", ""])
def test_no_video_is_told_with_the_option_that_names_one(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetNotFoundError, match=r"(?s)The video to dub was not found.*--data\.init_args\.video"):
        videos_at(place)


@needs_face_files
@pytest.mark.parametrize("kind", ["world", "clips"])
def test_any_video_with_any_sound(videos, tmp_path, kind):
    write_sound(tmp_path / "new.wav", np.random.default_rng(0).uniform(-0.3, 0.3, 640 * 8).astype(np.float32))
    options = {"video": str(videos / "a.mp4"), "audio": str(tmp_path / "new.wav"), "face_size": 24}
    data = DubbingWorld(**options) if kind == "world" else DubbingClips("nowhere", **options)
    chunks = predicted(data)
    assert {Path(chunk["video"]) for chunk in chunks} == {videos / "a.mp4"}
    assert {Path(chunk["audio"]) for chunk in chunks} == {tmp_path / "new.wav"}
    assert chunks[0]["task"] == "predict"
    assert chunks[-1]["last"]
    assert torch.cat([chunk["index"] for chunk in chunks]).tolist() == list(range(8)), "trimmed to the sound"
    assert all(isinstance(frame, np.ndarray) for chunk in chunks for frame in chunk["frames"])
    assert chunks[0]["faces"].shape[1:] == (3, 24, 24)
    held = data.__class__(**({"root": "nowhere"} if kind == "clips" else {}), **options | {"audio": None})
    assert sum(len(chunk["index"]) for chunk in predicted(held)) == 12


@pytest.mark.parametrize("kind", [DubbingClips, DubbingWorld])
def test_options_reach_the_videos(videos, monkeypatch, kind):
    given = {}
    monkeypatch.setattr(prediction, "VideosToDub", lambda *words, **options: given.update(options, words=words))
    options = {"length": "loop", "most_turned": 20, "faces": {"choose": "nearest"}, "face_size": 32}
    place = {"root": str(videos)} if kind is DubbingClips else {"video": str(videos)}
    kind(**place, **options, audio="new.wav").setup("predict")
    assert given.pop("words") == ([videos / "a.mp4", videos / "sub" / "b.MOV"], Path("new.wav"))
    assert given == options | {"faces": FaceOptions(choose="nearest")}


def test_prepared_clips_are_no_videos_to_dub(tmp_path):
    make_prepared_clip(tmp_path / "train" / "a.safetensors", 12)
    with pytest.raises(UserError, match=r"holds prepared clips.*name the video to dub as --data\.init_args\.video"):
        DubbingClips(str(tmp_path)).setup("predict")


@needs_face_files
def test_without_a_video_the_world_draws_one_who_gets_the_sound_of_another():
    data = DubbingWorld(**WORLD)
    data.setup("predict")
    assert data.rendered == {}, "no clip is drawn for it"
    chunks = list(data.predict_dataloader())
    video, audio = (Path(chunks[0][key]) for key in ("video", "audio"))
    assert video.stem != audio.stem
    said = data.speaker("test")(int(audio.stem.removeprefix("clip-")))
    assert np.abs(read_sound(audio) - said.audio).max() < 1e-4
    assert sum(len(chunk["index"]) for chunk in chunks) == 20
    assert chunks[0]["frames"][0].shape == (256, 256, 3)
    assert torch.cat([chunk["found"] for chunk in chunks]).all()
    data.teardown("predict")
    assert not video.parent.exists()
