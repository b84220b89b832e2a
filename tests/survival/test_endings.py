"""How commands end that cannot go on: signals, disks, mistakes and bugs."""

import builtins
import errno
import functools
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from command_line.run import termination
from tests.helpers.tiny import TinyData, TinyModule
from tests.helpers.tiny_runs import ROOT, TINY, after_the_first_epoch, main_of, manifest, weights


def test_nan_loss_keeps_the_last_good_checkpoint(run, fails, tmp_path):
    before = weights(run("--name", "good", epochs=1).run_folder)
    error = fails("--name", "bad", "--model.bad_step=5")
    assert "not finite at training batch 5" in error
    assert "--model.lr" in error
    after = weights(tmp_path / "tinymodule" / "bad")
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert manifest(tmp_path / "tinymodule" / "bad")["status"].startswith("failed: the loss is not finite")


def test_determinism_that_cannot_be_had_names_the_operator(fails, monkeypatch):
    def step(self, batch, batch_idx):  # what torch says of a GPU's operators
        raise RuntimeError(
            "reflection_pad2d_backward_cuda does not have a deterministic implementation, but you set "
            "'torch.use_deterministic_algorithms(True)'."
        )

    monkeypatch.setattr(TinyModule, "training_step", step)
    error = fails("--name", "bad", "--trainer.deterministic=true")
    torch.use_deterministic_algorithms(False)
    assert "reflection_pad2d_backward_cuda has no deterministic implementation" in error
    assert "--trainer.deterministic=warn" in error


def test_full_disk_keeps_the_last_good_checkpoint(fails, tmp_path, monkeypatch):
    saved = torch.save
    calls = []

    def full_at_the_third(checkpoint, file):
        calls.append(file)
        saved(checkpoint, file)
        if len(calls) > 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(torch, "save", full_at_the_third)
    error = fails("--name", "full", epochs=3)
    folder = tmp_path / "tinymodule" / "full" / "checkpoints"
    assert "No space left on device" in error
    assert "--resume --name full" in error
    assert sorted(path.name for path in folder.iterdir()) == ["epoch=0-step=4.ckpt", "last.ckpt"]
    assert torch.load(folder / "last.ckpt", weights_only=True)["global_step"] == 4


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
@pytest.mark.parametrize("what", ["metrics.csv", "checkpoints"])
def test_a_file_system_that_refuses_is_one_line(fails, tmp_path, monkeypatch, what, number):
    opened = io.open

    def refuse(path, *args, **kwargs):
        mode = args[0] if args else kwargs.get("mode", "r")
        if what in str(path) and mode[0] in "wa":
            raise OSError(number, os.strerror(number), str(path))
        return opened(path, *args, **kwargs)

    def spoil(_: Path) -> None:
        for module in (io, builtins):
            monkeypatch.setattr(module, "open", refuse)

    after_the_first_epoch(monkeypatch, spoil)
    error = fails("--name", "refused")
    folder = tmp_path / "tinymodule" / "refused"
    assert os.strerror(number) in error
    assert str(folder / what) in error
    assert ".partial" not in error
    assert ("free some space" if number == errno.ENOSPC else "make the folder writable") in error
    assert error.endswith("go on with --resume --name refused")
    assert (
        torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 4 or what != "checkpoints"
    )
    assert manifest(folder)["status"].startswith("failed: ")


@pytest.mark.parametrize("logged", ["1", "1000"])
def test_a_deleted_folder_is_one_line_and_is_not_made_anew(fails, tmp_path, monkeypatch, logged):
    after_the_first_epoch(monkeypatch, shutil.rmtree)
    error = fails("--name", "deleted", f"--trainer.log_every_n_steps={logged}")
    folder = tmp_path / "tinymodule" / "deleted"
    assert f"{folder} was deleted while the run wrote" in error or "the folder of the run was deleted" in error
    assert not folder.exists()


@pytest.mark.parametrize("place", ["__init__", "prepare_data", "setup"])
def test_sigterm_at_start_up(fails, tmp_path, monkeypatch, place):
    """While the data module is built, which ends the process, and while data are prepared and read."""

    def leave(status: int) -> None:
        raise termination.Terminated(status)

    monkeypatch.setattr(termination.os, "_exit", leave)
    original = getattr(TinyData, place)

    def end(*args, **kwargs):
        signal.raise_signal(signal.SIGTERM)
        return original(*args, **kwargs)

    # The parser reads the signature of a constructor; Lightning takes a wrapped hook for its own.
    monkeypatch.setattr(TinyData, place, functools.wraps(original)(end) if place == "__init__" else end)
    fails("--name", "ended", status=143)
    folder = tmp_path / "tinymodule" / "ended"
    assert manifest(folder)["status"] == "interrupted"
    assert not (folder / "checkpoints").exists()
    monkeypatch.undo()
    monkeypatch.chdir(ROOT)
    assert main_of(tmp_path, "--name", "ended", "--resume").trainer.global_step == 8


def test_user_error_has_no_traceback(fails):
    assert fails("--data.root=missing").startswith("error: no data set in 'missing'")


def test_bug_keeps_its_traceback(run, monkeypatch):
    monkeypatch.setattr(TinyModule, "training_step", lambda self, batch, batch_idx: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run()


def test_sigterm_saves_and_exits_143(fails, run, tmp_path):
    fails("--name", "ended", "--model.term_step=5", status=143)
    folder = tmp_path / "tinymodule" / "ended"
    assert torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 6
    assert manifest(folder)["status"] == "interrupted"


def test_ctrl_c_exits_130(fails, tmp_path, monkeypatch):
    handler = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(
        TinyModule, "validation_step", lambda self, batch, batch_idx: signal.raise_signal(signal.SIGINT)
    )
    fails("--name", "stopped", "--trainer.num_sanity_val_steps=0", status=130)
    assert signal.getsignal(signal.SIGINT) == handler
    assert (tmp_path / "tinymodule" / "stopped" / "checkpoints" / "last.ckpt").exists()
    assert manifest(tmp_path / "tinymodule" / "stopped")["status"] == "interrupted"


def test_the_handler_of_ctrl_c_is_left_alone_by_a_fit_that_cannot_begin(fails):
    before = signal.getsignal(signal.SIGINT)
    fails("--trainer.val_check_interval=1000000")
    assert signal.getsignal(signal.SIGINT) == before


def start(tmp_path: Path, *args: str) -> subprocess.Popen:
    command = [sys.executable, "cli.py", "fit", *TINY, f"--runs_dir={tmp_path}", "--name=child", *args]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=ROOT, env=environment, text=True, stderr=subprocess.PIPE)


def wait_for(path: Path, seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not path.exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert path.exists()


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
def test_sigterm_from_outside(tmp_path, devices):
    process = start(tmp_path, "--model.pause=0.05", "--trainer.max_epochs=200", f"--trainer.devices={devices}")
    last = tmp_path / "tinymodule" / "child" / "checkpoints" / "last.ckpt"
    wait_for(last)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert json.loads((last.parent.parent / "manifest.json").read_text())["status"] == "interrupted"
    assert json.loads((last.parent.parent / "manifest.json").read_text())["world_size"] == devices


@pytest.mark.slow
def test_ranks_share_one_folder_and_one_error(tmp_path):
    process = start(tmp_path, "--trainer.devices=2", "--trainer.max_epochs=2", "--model.bad_step=2")
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "error: the loss is not finite" in stderr
    assert [path.name for path in (tmp_path / "tinymodule").iterdir()] == ["child"]
