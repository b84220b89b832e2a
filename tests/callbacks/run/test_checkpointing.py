import os
import threading
from pathlib import Path

import pytest
import torch

from callbacks.run.checkpoint_files import read_checkpoint
from callbacks.run.checkpointing import Checkpointing, CheckpointNotSavedError, SafeCheckpointIO
from visionscapes.errors import UserError

STATE = {"state_dict": {"a": torch.arange(5.0)}, "global_step": 3, "loops": {}}


def test_round_trip(tmp_path):
    path = tmp_path / "new" / "a.ckpt"
    SafeCheckpointIO().save_checkpoint(STATE, path)
    assert torch.equal(SafeCheckpointIO().load_checkpoint(path)["state_dict"]["a"], STATE["state_dict"]["a"])
    assert [file.name for file in path.parent.iterdir()] == ["a.ckpt"], "no partial file is left"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux only: the device that is always full")
def test_full_disk(tmp_path, monkeypatch):
    """The system itself refuses the write: torch's writer turns that into a RuntimeError without errno."""
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    SafeCheckpointIO().save_checkpoint(STATE, path)
    before = path.read_bytes()
    opened = Path.open
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda self, mode: opened(Path("/dev/full"), mode))
        with pytest.raises(CheckpointNotSavedError, match=r"No space left.*--resume --name run"):
            SafeCheckpointIO().save_checkpoint({**STATE, "more": torch.zeros(100_000)}, path)
    assert path.read_bytes() == before


def test_a_bug_while_saving_is_not_the_disk(tmp_path):
    class Unsaveable:
        def __reduce__(self):
            raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        SafeCheckpointIO().save_checkpoint({"x": Unsaveable()}, tmp_path / "a.ckpt")
    assert not list(tmp_path.iterdir())


def test_readers_never_see_half_a_file(tmp_path):
    path = tmp_path / "a.ckpt"
    SafeCheckpointIO().save_checkpoint(STATE, path)
    done = threading.Event()

    def save():
        for _ in range(50):
            SafeCheckpointIO().save_checkpoint({**STATE, "more": torch.zeros(50_000)}, path)
        done.set()

    writer = threading.Thread(target=save)
    writer.start()
    while not done.is_set():
        assert read_checkpoint(path)["global_step"] == 3
    writer.join()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"save_top_k": 3}, "save_top_k is 3, and nothing ranks the checkpoints: give --checkpoint.monitor"),
        ({"every_n_epochs": 1, "every_n_train_steps": 2}, "every_n_train_steps is 2 and every_n_epochs 1: give one"),
    ],
)
def test_options_that_contradict_each_other(options, words):
    with pytest.raises(UserError, match=words):
        Checkpointing(**options)
