import sys

import numpy as np
import pytest
import torch

from datamodules.clips import talking_world
from datamodules.clips.talking_world import TalkingWorld
from visionscapes.errors import UserError

SMALL = {
    "clips": 4,
    "test_clips": 2,
    "val_clips": 1,
    "seconds": 0.8,
    "face_size": 32,
    "batch_size": 2,
    "windows": 3,
}


def world(stage="fit", **options):
    data = TalkingWorld(**SMALL | options)
    data.setup(stage)
    return data


@pytest.fixture(scope="module")
def fitted():
    return world()


def test_training_batches(fitted):
    batches = list(fitted.train_dataloader())
    assert len(batches) == 2
    batch = batches[0]
    assert batch["task"] == "sync"
    assert batch["faces"].shape == (2, 3, 5, 3, 32, 32)
    assert batch["faces"].dtype == torch.float32
    assert 0 <= batch["faces"].min() < batch["faces"].max() <= 1
    assert batch["mel"].shape == (2, 3, 80, 16)
    assert batch["frame"].shape == (2, 3)
    assert len(batch["name"]) == 2


@pytest.mark.parametrize(("stage", "task"), [("test", "clip"), ("predict", "predict")])
def test_whole_clips(stage, task):
    data = world(stage)
    batches = list(data.test_dataloader() if stage == "test" else data.predict_dataloader())
    assert [batch["name"] for batch in batches] == [["clip-0"], ["clip-1"]]
    batch = batches[0]
    assert batch["task"] == task
    assert batch["faces"].shape == (1, 20, 3, 32, 32)
    assert batch["faces"].dtype == torch.uint8
    assert batch["mel"].shape == (1, 80, 65)
    assert batch["landmarks"].shape == (1, 20, 68, 2)
    assert batch["found"].all()
    assert batch["audio"].shape == (1, 12800)
    assert batch["opening"].shape == batch["width"].shape == (1, 20)


def test_parts_hold_other_people_and_voices(fitted):
    parts = {part: fitted.clips(part) for part in ("train", "val", "test")}
    assert [len(clips) for clips in parts.values()] == [4, 1, 2]
    clips = [clip for part in parts.values() for clip in part]
    for one in range(len(clips)):
        for other in range(one):
            assert not np.array_equal(clips[one].audio, clips[other].audio)
            assert not np.array_equal(clips[one].faces, clips[other].faces)
            assert not np.allclose(clips[one].landmarks[0], clips[other].landmarks[0])


def test_the_world_is_a_function_of_its_seed(fitted):
    (mine,) = fitted.clips("train")[:1]
    same, other = (TalkingWorld(**SMALL | {"clips": 1, "seed": seed}).clips("train")[0] for seed in (0, 1))
    assert np.array_equal(mine.faces, same.faces), "a smaller world is the beginning of a larger one"
    assert torch.equal(mine.audio, same.audio)
    assert not np.array_equal(mine.faces, other.faces)
    assert not torch.equal(mine.audio, other.audio)


def test_clips_are_rendered_once(monkeypatch):
    data = TalkingWorld(**SMALL | {"clips": 2})
    clips = data.clips("train")
    monkeypatch.setattr(talking_world, "talking_clip", lambda *_, **__: pytest.fail("rendered again"))
    assert data.clips("train") is clips


def test_names_sort_as_numbers_do():
    names = [clip.name for clip in TalkingWorld(**SMALL | {"clips": 11, "seconds": 0.24, "windows": 2}).clips("train")]
    assert names[::5] == ["clip-00", "clip-05", "clip-10"]


def test_no_validation_clips_no_validation():
    assert world("validate", val_clips=0).val_dataloader() == []


def test_clips_too_short_for_their_windows_are_told():
    with pytest.raises(UserError, match=r"5 windows whose starts are 4 frame\(s\) apart take at least 0\.84"):
        TalkingWorld(**SMALL | {"windows": 5, "apart": 4})
    TalkingWorld(**SMALL | {"windows": 5, "apart": 3})


def test_silence_alone_has_a_shut_mouth():
    clip = TalkingWorld(**SMALL | {"pauses": 0.99, "clips": 1}).clips("train")[0]
    assert (clip.opening == 0).mean() > 0.5


def test_real_words_without_espeak_are_told_before_anything_is_drawn(monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    monkeypatch.setattr(talking_world, "talking_clip", lambda *_, **__: pytest.fail("drawn"))
    with pytest.raises(UserError, match=r"pip install 'visionscapes\[speech\]', or choose speech=formants"):
        world(speech="espeak")


def test_real_words():
    pytest.importorskip("espeakng_loader")
    clip = TalkingWorld(**SMALL | {"speech": "espeak", "clips": 1, "pauses": 0.0}).clips("train")[0]
    assert clip.opening.max() > 0.2
    assert clip.mel.max() > 0
