"""What the functions find is tested with ``callbacks.run.resuming``; here it is who looks, and what is told."""

import os

from callbacks.run.checkpointing import Checkpointing
from command_line.run import starting_point
from command_line.run.run_folder import STARTED_FROM


def test_the_other_ranks_take_what_the_first_found(tmp_path, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.delenv(STARTED_FROM, raising=False)
    file = tmp_path / "a.ckpt"
    assert starting_point.other_checkpoint(str(file), tmp_path) == file
    assert os.environ[STARTED_FROM] == str(file)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert starting_point.other_checkpoint("last", tmp_path) == file
    monkeypatch.delenv(STARTED_FROM)


def test_who_does_not_train_removes_nothing(run, monkeypatch):
    folder = run("--name=first").run_folder
    torn = folder / "checkpoints" / ".last.ckpt.77.partial"
    for trains, there in ((False, True), (True, False)):
        torn.write_bytes(b"half")
        found = starting_point.own_checkpoint(folder, whole=False, trains=trains, saving=Checkpointing())
        assert found == folder / "checkpoints" / "last.ckpt"
        assert torn.exists() == there


def test_the_newest_run_is_told(run, tmp_path, capsys, monkeypatch):
    assert starting_point.newest_checkpoint_of(tmp_path / "tinymodule") is None
    assert capsys.readouterr().out == ""
    folder = run("--name=first").run_folder
    capsys.readouterr()
    assert starting_point.newest_checkpoint_of(folder.parent) == folder / "checkpoints" / "last.ckpt"
    assert "using the newest run" in capsys.readouterr().out
