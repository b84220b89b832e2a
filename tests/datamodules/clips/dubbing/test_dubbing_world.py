import numpy as np
import pytest
import torch

from datamodules import DubbingWorld, TalkingWorld
from datamodules.common import loading
from networks.audio import frame_mels
from visionscapes.errors import UserError

SMALL = {"clips": 4, "test_clips": 3, "val_clips": 1, "seconds": 0.8, "face_size": 32, "batch_size": 2}


@pytest.fixture(scope="module")
def world():
    data = DubbingWorld(**SMALL, cross=4)
    for stage in ("fit", "test"):
        data.setup(stage)
    return data


def test_training_batches(world):
    assert DubbingWorld.drawn_faces
    batches = list(world.train_dataloader())
    assert len(batches) == 2
    batch = batches[0]
    assert batch["task"] == "sync"
    assert batch["faces"].shape == (2, 2, 5, 3, 32, 32)
    assert batch["mel"].shape == (2, 2, 80, 16)
    assert batch["frame_mel"].shape == (2, 2, 5, 80, 16)
    assert batch["landmarks"].shape == (2, 2, 5, 68, 2)
    clips = {clip.name: clip for clip in world.clips("train")}
    for name, frames, sound, landmarks in zip(
        *(batch[key] for key in ("name", "frame", "frame_mel", "landmarks")), strict=True
    ):
        assert frames[0] != frames[1], "the reference of a window starts elsewhere"
        shown = frames[:, None] + torch.arange(5)
        assert torch.equal(sound, frame_mels(clips[name].mel, shown))
        assert np.allclose(landmarks, clips[name].landmarks[shown], atol=1e-4)


def test_pairs_to_test(world):
    batches = list(world.test_dataloader())
    assert [batch["setting"][0] for batch in batches] == ["reconstruction"] * 3 + ["cross"] * 4
    assert [batch["name"][0] for batch in batches[:3]] == [f"clip-{index}__clip-{index}" for index in range(3)]
    clips = {clip.name: clip for clip in world.clips("test")}
    for batch in batches:
        assert batch["task"] == "dub"
        video, driving = (clips[name] for name in batch["name"][0].split("__"))
        assert (video is driving) == (batch["setting"] == ["reconstruction"])
        assert batch["faces"].dtype == torch.uint8
        assert np.array_equal(batch["faces"][0].permute(0, 2, 3, 1), video.faces)
        assert batch["opening"][0].tolist() == video.opening.tolist()
        assert batch["driving_opening"][0].tolist() == driving.opening.tolist()
        assert np.allclose(batch["landmarks"][0], video.landmarks, atol=1e-4)
        assert np.allclose(batch["driving_landmarks"][0], driving.landmarks, atol=1e-4)
        assert torch.equal(batch["audio"][0], driving.audio)
        assert torch.equal(batch["mel"][0], driving.mel)
        assert batch["frame_mel"].shape == (1, 20, 80, 16)
        assert batch["found"].all()


def test_processes_share_the_pairs_of_one_order(world, monkeypatch):
    everything = [(batch["setting"], batch["name"]) for batch in world.test_dataloader()]
    dealt = []
    for rank in (0, 1):
        monkeypatch.setattr(loading, "rank_and_world_size", lambda rank=rank: (rank, 2))
        data = DubbingWorld(**SMALL, cross=4)
        data.rendered = world.rendered
        data.setup("test")
        dealt.append([(batch["setting"], batch["name"]) for batch in data.test_dataloader()])
    assert dealt == [everything[::2], everything[1::2]]


def test_one_clip_to_validate_is_reconstructed_and_two_drive_each_other(world):
    assert [batch["name"] for batch in world.val_dataloader()] == [["clip-0__clip-0"]]
    data = DubbingWorld(**SMALL | {"val_clips": 2})
    data.setup("validate")
    names = sorted(batch["name"][0] for batch in data.val_dataloader())
    assert names == ["clip-0__clip-0", "clip-0__clip-1", "clip-1__clip-0", "clip-1__clip-1"]
    none = DubbingWorld(**SMALL | {"val_clips": 0})
    none.setup("validate")
    assert none.val_dataloader() == []


def silent_windows(data):
    """Return the share of the training windows whose sound is silent in all of its frames."""
    data.setup("fit")
    sound = torch.cat([batch["frame_mel"] for _ in range(4) for batch in data.train_dataloader()])
    return float((sound.amax((2, 3, 4)) < -2).float().mean())


def test_windows_of_silence_are_among_those_of_training_and_the_mouth_is_shut_in_them():
    options = SMALL | {"seconds": 2.0, "windows": 8, "face_size": 16, "val_clips": 0, "test_clips": 2}
    assert silent_windows(DubbingWorld(**options, silence=0.4)) > 0.1
    assert silent_windows(DubbingWorld(**options, silence=0, pauses=0)) == 0
    clips = DubbingWorld(**options, silence=0.4).clips("test")
    assert all((clip.opening == 0).mean() >= 0.4 for clip in clips)
    assert all(clip.opening.max() > 0.3 for clip in clips)


def test_the_shortest_clips_that_are_allowed_have_their_windows():
    data = DubbingWorld(**SMALL | {"seconds": 0.48, "windows": 3, "apart": 2})
    data.setup("fit")
    assert len(data.train_set) == 4
    with pytest.raises(UserError, match=r"take at least 0\.48"):
        DubbingWorld(**SMALL | {"seconds": 0.44, "windows": 3, "apart": 2})


def test_without_silence_it_is_the_world_that_syncnets_learn_from():
    for silence, same in ((0.0, True), (0.3, False)):
        mine = DubbingWorld(**SMALL, silence=silence).clips("train")[0]
        other = TalkingWorld(**SMALL).clips("train")[0]
        assert torch.equal(mine.audio, other.audio) == same
        assert np.array_equal(mine.faces, other.faces) == same


def test_the_world_is_a_function_of_its_seed(world):
    again = DubbingWorld(**SMALL).clips("train")[0]
    assert np.array_equal(again.faces, world.clips("train")[0].faces)
    assert not np.array_equal(again.faces, DubbingWorld(**SMALL, seed=1).clips("train")[0].faces)


def test_order_does_not_depend_on_the_number_of_workers(world):
    data = DubbingWorld(**SMALL, num_workers=2)
    data.rendered = world.rendered
    data.setup("fit")
    for one, other in zip(world.train_dataloader(), data.train_dataloader(), strict=True):
        assert torch.equal(one["frame_mel"], other["frame_mel"])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"test_clips": 1}, r"1 clip.* make 0 pair.* setting cross.*lower --data.init_args.cross, or give more clips"),
        ({"reconstruction": 4}, r"3 clip.* make 3 pair.* setting reconstruction, and 4 are asked for"),
        ({"seconds": 0.32}, r"DubbingWorld\.seconds is 0\.32; 2 windows .* take at least 0\.36"),
        ({"silence": 1}, r"DubbingWorld\.silence is 1; it has to be at least 0 and below 1"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_drawn(options, told):
    with pytest.raises(UserError, match=told):
        DubbingWorld(**SMALL | options)
