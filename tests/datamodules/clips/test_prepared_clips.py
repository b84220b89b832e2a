import shutil

import numpy as np
import pytest
import torch

from datamodules.clips.clip import face_crops
from datamodules.clips.clip_files import ClipFiles, PreparedClip, no_sound
from datamodules.clips.prepared_clips import Clips, holds_clips, unusable
from datamodules.common.errors import DatasetNotFoundError
from networks.audio import mel_windows
from tests.helpers.prepared_clips import make_prepared_clip
from tests.helpers.processes import two_processes
from tests.helpers.replicas_clips import make_voxceleb2, write_media, write_talking
from visionscapes.errors import UserError


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Four people who train and one who tests, two clips each."""
    root = tmp_path_factory.mktemp("prepared")
    for seed, name in enumerate(
        f"{part}/{video}" for part in ("train/a", "train/b", "train/c", "test/d") for video in "xy"
    ):
        make_prepared_clip(root / f"{name}.safetensors", 12 + seed, seed=seed)
    return root


def data_of(root, **options):
    return Clips(str(root), **({"face_size": 16, "batch_size": 2, "num_workers": 0, "val_share": 0.3} | options))


def test_batches_are_windows_of_five_frames_with_their_sound(prepared):
    data = data_of(prepared, windows=3)
    data.setup("fit")
    batches = list(data.train_dataloader())
    assert len(batches) == 2
    names = set()
    for batch in batches:
        assert batch["task"] == "sync"
        assert batch["faces"].shape == (2, 3, 5, 3, 16, 16)
        assert batch["faces"].dtype == torch.float32
        assert batch["mel"].shape == (2, 3, 80, 16)
        for sample, name in enumerate(batch["name"]):
            clip = PreparedClip(prepared / f"{name}.safetensors")
            frames = batch["frame"][sample]
            assert torch.equal(batch["mel"][sample], mel_windows(clip.mel, frames))
            first = int(frames[0])
            crops = face_crops(clip, range(first, first + 5), 16)
            assert torch.equal((255 * batch["faces"][sample, 0]).round().to(torch.uint8), crops)
            names.add(name)
    assert len(names) == 4
    (val,) = {batch["name"][0].rpartition("/")[0] for batch in data.val_dataloader()}
    assert val not in {name.rpartition("/")[0] for name in names}
    assert val.startswith("train/")


def test_whole_clips_are_tested_and_all_are_predicted(prepared):
    data = data_of(prepared)
    data.setup("test")
    batches = list(data.test_dataloader())
    assert [batch["name"] for batch in batches] == [["test/d/x"], ["test/d/y"]]
    clip = PreparedClip(prepared / "test/d/x.safetensors")
    batch = batches[0]
    assert batch["task"] == "clip"
    assert batch["faces"].shape == (1, len(clip), 3, 16, 16)
    assert batch["faces"].dtype == torch.uint8
    assert torch.equal(batch["mel"][0], clip.mel)
    assert torch.equal(batch["audio"][0], clip.audio)
    for key in ("landmarks", "boxes", "found"):
        np.testing.assert_array_equal(batch[key][0].numpy(), getattr(clip, key))
    data.setup("predict")
    predicted = list(data.predict_dataloader())
    assert len(predicted) == 8
    assert predicted[0]["task"] == "predict"


def test_a_single_prepared_clip_will_do(prepared):
    data = data_of(prepared / "test" / "d" / "x.safetensors")
    data.setup("test")
    assert [batch["name"] for batch in data.test_dataloader()] == [["x"]]


def test_order_does_not_depend_on_the_number_of_workers(prepared):
    frames = []
    for workers in (0, 2):
        data = data_of(prepared, num_workers=workers)
        data.setup("fit")
        frames.append(torch.cat([batch["frame"] for batch in data.train_dataloader()]))
    assert torch.equal(*frames)


def test_broken_clips_are_left_out_and_told(prepared, tmp_path, caplog):
    root = shutil.copytree(prepared, tmp_path / "clips")
    (root / "train/a/x.safetensors").write_bytes(b"damaged")
    mel, audio = no_sound()
    make_prepared_clip(root / "train/b/x.safetensors", 12, mel=mel, audio=audio)
    data = data_of(root)
    data.setup("fit")
    assert not {"train/a/x", "train/b/x"} & set(data.clips("all").names)
    assert [message.partition(": ")[2].partition(",")[0] for message in caplog.messages] == [
        "left out 1 of 8 clips: unreadable",
        "left out 1 of 8 clips: no sound",
    ]
    assert "train/a/x.safetensors is no prepared clip" in caplog.messages[0]
    for path in root.rglob("*.safetensors"):
        path.write_bytes(b"")
    with pytest.raises(UserError, match=r"No clip of .* can be used \(8 looked at\)\. The first: .*test/d/x"):
        data_of(root).setup("fit")


def rank_finds(rank, root):
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    clips = ClipFiles(sorted(root.iterdir()), [path.stem for path in sorted(root.iterdir())])
    assert sorted(unusable(clips)) == [1, 2]


@pytest.mark.slow
def test_processes_agree_on_what_is_broken(tmp_path):
    for index in range(4):
        make_prepared_clip(tmp_path / f"{index}.safetensors", 6)
    for broken in (1, 2):
        (tmp_path / f"{broken}.safetensors").write_bytes(b"")
    two_processes(rank_finds, tmp_path)


def test_videos_are_tracked_for_a_test(tmp_path, caplog):
    write_talking(tmp_path / "sub" / "a.mp4", 1)
    write_talking(tmp_path / "b.mkv", 2)
    write_talking(tmp_path / "mute.mp4", 1, sound=None)
    assert not holds_clips(tmp_path)
    data = data_of(tmp_path)
    data.setup("test")
    batches = list(data.test_dataloader())
    assert [batch["name"] for batch in batches] == [["b"], ["sub/a"]]
    assert batches[0]["faces"].shape == (1, 12, 3, 16, 16)
    assert batches[0]["found"].all()
    assert any("left out 1 of 3 videos: no sound" in message for message in caplog.messages)
    folder = data._temporary.name
    assert holds_clips(folder)
    data.teardown("test")
    assert not holds_clips(folder)
    data.setup("predict")
    assert len(list(data.predict_dataloader())) == 2
    data.teardown("predict")


def test_videos_have_to_be_prepared_for_a_training(tmp_path):
    make_voxceleb2(tmp_path)
    with pytest.raises(UserError, match=r"holds videos \(5\).*run `python -m datamodules\.clips\.prepare"):
        data_of(tmp_path).setup("fit")


def test_videos_that_cannot_be_used_are_told(tmp_path):
    write_media(tmp_path / "a.mkv", np.zeros((12, 64, 64, 3), np.uint8), np.zeros(9000, np.float32))
    data = data_of(tmp_path / "a.mkv")
    with pytest.raises(UserError, match=r"No video of .*a\.mkv shows no face"):
        data.setup("test")


def test_nothing_there_is_told(tmp_path, prepared):
    shutil.copytree(prepared / "test", tmp_path / "only" / "test")
    with pytest.raises(DatasetNotFoundError, match=r"(?s)Looked in: .*Ways out"):
        data_of(tmp_path / "only" / "none").setup("test")
    with pytest.raises(
        DatasetNotFoundError, match=r"(?s)The train part of the clips was not found.*a clip for it among 2"
    ):
        data_of(tmp_path / "only").setup("fit")
