import shutil

import numpy as np
import pytest
import torch

from datamodules import DubbingClips
from datamodules.clips.clip_files import PreparedClip
from networks.audio import frame_mels
from tests.helpers.prepared_clips import make_prepared_clip
from tests.helpers.processes import two_processes
from tests.helpers.replicas_clips import write_talking
from visionscapes.errors import UserError

PEOPLE = ("train/a", "train/b", "test/id1", "test/id2", "test/id3")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Two people who train and three who test, one clip each."""
    root = tmp_path_factory.mktemp("prepared")
    for seed, person in enumerate(PEOPLE):
        make_prepared_clip(root / f"{person}/video/00001.safetensors", 14 + seed, seed=seed)
    return root


def data_of(root, stage="test", **options):
    data = DubbingClips(str(root), **{"face_size": 16, "batch_size": 1, "num_workers": 0} | options)
    data.setup(stage)
    return data


def names(data):
    return [(batch["setting"][0], *batch["name"][0].split("__")) for batch in data.test_dataloader()]


def clip_of(person):
    return f"{person}/video/00001"


def test_training_batches_have_the_sound_and_the_landmarks_of_each_frame(prepared):
    assert not DubbingClips.drawn_faces
    data = data_of(prepared, "fit", val_share=0)
    batches = list(data.train_dataloader())
    assert sorted(batch["name"][0] for batch in batches) == [clip_of("train/a"), clip_of("train/b")]
    for batch in batches:
        assert batch["task"] == "sync"
        assert batch["landmarks"].shape == (1, 2, 5, 68, 2)
        clip = PreparedClip(prepared / f"{batch['name'][0]}.safetensors")
        shown = batch["frame"][0, :, None] + torch.arange(5)
        assert torch.equal(batch["frame_mel"][0], frame_mels(clip.mel, shown))


def test_pairs_of_the_test_part_are_drawn(prepared):
    drawn = names(data_of(prepared))
    people = [clip_of(person) for person in PEOPLE[2:]]
    assert drawn[:3] == [("reconstruction", name, name) for name in people]
    assert {setting for setting, *_ in drawn[3:]} == {"cross"}
    assert sorted(video for _, video, _ in drawn[3:]) == sorted(audio for *_, audio in drawn[3:]) == people
    assert all(video != audio for _, video, audio in drawn[3:])
    assert names(data_of(prepared, reconstruction=1, cross=0)) == drawn[:1]


def test_a_pair_is_cut_to_the_shorter_of_both(prepared):
    data = data_of(prepared, reconstruction=0)
    for batch in data.test_dataloader():
        video, driving = (PreparedClip(prepared / f"{name}.safetensors") for name in batch["name"][0].split("__"))
        frames = min(len(video), len(driving))
        assert batch["task"] == "dub"
        assert batch["faces"].shape == (1, frames, 3, 16, 16)
        assert batch["frame_mel"].shape == (1, frames, 80, 16)
        assert torch.equal(batch["audio"][0], driving.audio[: 640 * frames])
        assert "opening" not in batch


def test_lists_of_the_authors(prepared, tmp_path, caplog):
    (tmp_path / "own.txt").write_text("id2/video/00001 id2/video/00001\nid9/video/00001 id9/video/00001\n")
    (tmp_path / "cross.txt").write_text("id1/video/00001 id3/video/00001\nid3/video/00001 id2/video/00001\n")
    lists = {"reconstruction_list": str(tmp_path / "own.txt"), "cross_list": str(tmp_path / "cross.txt")}
    one, two, three = (clip_of(person) for person in PEOPLE[2:])
    expected = [("reconstruction", two, two), ("cross", three, one), ("cross", two, three)]
    assert names(data_of(prepared, **lists)) == expected
    assert "own.txt: left out 1 of 2 pairs: their clips are not there, the first is id9/video/00001" in caplog.text
    assert names(data_of(prepared, **lists, cross=1)) == expected[:2]
    assert names(data_of(prepared, **lists, cross=0)) == expected[:1]
    drawn = names(data_of(prepared, cross_list=lists["cross_list"], reconstruction=1))
    assert drawn == [("reconstruction", one, one), *expected[1:]]


def test_one_clip_cannot_drive_another(prepared):
    single = prepared / "test/id1/video/00001.safetensors"
    with pytest.raises(UserError, match=r"1 clip.*setting cross.*lower --data.init_args.cross, or give more clips"):
        data_of(single)
    assert names(data_of(single, cross=0)) == [("reconstruction", "00001", "00001")]


def test_a_validation_of_one_clip_is_its_reconstruction(prepared):
    data = data_of(prepared, "validate", val_share=0.5)
    assert [batch["setting"] for batch in data.val_dataloader()] == [["reconstruction"]]
    assert data_of(prepared, "validate", val_share=0).val_dataloader() == []


@pytest.mark.parametrize("option", ["reconstruction_list", "cross_list"])
def test_lists_that_are_none_are_told(prepared, tmp_path, option):
    with pytest.raises(UserError, match=r"cannot be read \(No such file"):
        data_of(prepared, **{option: str(tmp_path / "list.txt")})
    (tmp_path / "list.txt").write_text("id8/video/00001 id8/video/00001\n")
    with pytest.raises(UserError, match=r"(?s)None of the 1 pairs of .* id8/video/00001.*begin as"):
        data_of(prepared, **{option: str(tmp_path / "list.txt")})


def test_videos_are_tracked_for_a_test(tmp_path):
    write_talking(tmp_path / "a.mp4", 1)
    write_talking(tmp_path / "b.mp4", 2)
    data = data_of(tmp_path, reconstruction=1, face_size=24)
    assert sorted(names(data)) == [("cross", "a", "b"), ("cross", "b", "a"), ("reconstruction", "a", "a")]
    batch = next(iter(data.test_dataloader()))
    assert 0 < np.asarray(batch["landmarks"]).mean() < 24
    data.teardown("test")


def rank_pairs(rank, root):
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    mine = [list(pair) for pair in names(data_of(root))]
    everybody: list = [None, None]
    torch.distributed.all_gather_object(everybody, mine)
    one, other = everybody
    assert len(one) == len(other) == 3
    assert len({tuple(pair) for pair in [*one, *other]}) == 6
    assert all("broken" not in name for pair in [*one, *other] for name in pair)


@pytest.mark.slow
def test_two_processes_share_the_pairs_of_the_clips_that_both_can_read(prepared, tmp_path):
    root = shutil.copytree(prepared, tmp_path / "clips")
    (root / "test" / "broken.safetensors").write_bytes(b"broken")
    two_processes(rank_pairs, root)
