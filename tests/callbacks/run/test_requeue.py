import hashlib
import json
import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from pytorch_lightning import Trainer, seed_everything

from callbacks.run import requeue
from callbacks.run.finite_loss import FiniteLoss
from callbacks.run.reproducible_steps import ReproducibleSteps
from callbacks.run.requeue import Requeue, Requeued, job_id
from callbacks.run.run_record import RunRecord
from tests.helpers.resume_module import ResumeData, ResumeModule
from visionscapes.errors import UserError


class Ended(BaseException):
    """Stands for SLURM's SIGTERM."""


class WarnedModule(ResumeModule):
    """Gets SLURM's signal in a step of training or of validation."""

    def __init__(self, event: str = "", step: int = -1):
        super().__init__()
        self.event, self.step = event, step

    def training_step(self, batch, batch_idx):
        self._warn("train")
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch, batch_idx):
        self._warn("val")
        super().validation_step(batch, batch_idx)

    def _warn(self, event: str) -> None:
        if (event, self.global_step) == (self.event, self.step):
            os.kill(os.getpid(), signal.SIGUSR1)


@pytest.fixture(autouse=True)
def slurm(monkeypatch):
    """The variables of a job of one task, and the signal handlers put back."""
    variables = {"JOB_ID": "42", "JOB_NAME": "test", "NTASKS": "1", "NTASKS_PER_NODE": "1", "NNODES": "1"}
    variables |= {"PROCID": "0", "LOCALID": "0", "NODEID": "0"}
    for name, value in variables.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    before = {number: signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def scontrol(monkeypatch, status: int) -> list:
    """Have scontrol end with ``status`` and SLURM end the process after it; return the calls."""
    calls = []

    def run(command, **_):
        calls.append(command)
        return subprocess.CompletedProcess(command, status, "", "Requested operation is presently disabled")

    def end(seconds):
        raise Ended

    monkeypatch.setattr(requeue.subprocess, "run", run)
    monkeypatch.setattr(requeue.time, "sleep", end)
    return calls


def fit(folder: Path, module: ResumeModule, ckpt_path: Path | None = None, record: bool = False) -> list:
    folder.mkdir(exist_ok=True)
    trainer = Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        max_epochs=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        callbacks=[*([RunRecord([])] if record else []), ReproducibleSteps(seed=0), FiniteLoss(), Requeue()],
    )
    with suppress(Ended):
        trainer.fit(module, ResumeData(), ckpt_path=ckpt_path, weights_only=True)
    return module.events


def new_module(event: str = "", step: int = -1) -> WarnedModule:
    seed_everything(0)
    return WarnedModule(event, step)


@pytest.mark.parametrize(("event", "step"), [("train", 0), ("train", 3), ("train", 4), ("val", 5), ("val", 10)])
def test_requeued_run_equals_the_uninterrupted_one(tmp_path, monkeypatch, event, step):
    expected = fit(tmp_path / "full", new_module())
    calls = scontrol(monkeypatch, status=0)
    before = fit(tmp_path / "run", new_module(event, step))
    assert calls == [["scontrol", "requeue", "42"]]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    after = fit(tmp_path / "run", new_module(), tmp_path / "run" / "checkpoints" / "last.ckpt")
    trained = [each for each in before + after if each[0] == "train"]
    assert trained == [each for each in expected if each[0] == "train"], "no batch left out, none twice"
    assert after == expected[-len(after) :], "a validation that was cut short is run again from its start"
    assert not list((tmp_path / "run").glob("hpc_ckpt_*")), "Lightning would load it in the test that follows"


def test_refusal_of_slurm_says_how_to_go_on(tmp_path, monkeypatch):
    scontrol(monkeypatch, status=1)
    with pytest.raises(UserError, match=r"job 42 \(Requested operation.*--name run --resume"):
        fit(tmp_path / "run", new_module("train", 2))
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").exists()


def test_outside_slurm_signals_are_left_alone(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    callback = Requeue()
    before = signal.getsignal(signal.SIGUSR1)
    trainer = Trainer(default_root_dir=tmp_path, accelerator="cpu", logger=False, enable_checkpointing=False)
    callback.setup(trainer, new_module(), "fit")
    assert signal.getsignal(signal.SIGUSR1) == before


def test_handler_is_taken_back(tmp_path):
    before = signal.getsignal(signal.SIGUSR1)
    callback = Requeue()
    trainer = Trainer(default_root_dir=tmp_path, accelerator="cpu", logger=False, enable_checkpointing=False)
    callback.setup(trainer, new_module(), "fit")
    assert signal.getsignal(signal.SIGUSR1) == callback._note
    callback.teardown(trainer, new_module(), "fit")
    assert signal.getsignal(signal.SIGUSR1) == before


def test_only_process_zero_stops(monkeypatch):
    callback = Requeue()
    callback._leads = False
    callback._note(signal.SIGUSR1, None)
    callback._stop_if_noted()
    callback._leads = True
    with pytest.raises(Requeued):
        callback._stop_if_noted()


class ClusteringModule(WarnedModule):
    """Gets the signal in the long work at the end of its first epoch, which no handler interrupts."""

    def __init__(self, seconds: float):
        super().__init__()
        self.seconds, self.warned, self.clustered = seconds, 0.0, 0.0

    def on_train_epoch_end(self):
        if self.current_epoch == 0:
            self.warned = time.monotonic()
            os.kill(os.getpid(), signal.SIGUSR1)
            while time.monotonic() < self.warned + self.seconds:
                hashlib.pbkdf2_hmac("sha256", b"", b"", int(1e6 * self.seconds))  # seconds of one C function
            self.clustered = time.monotonic()


@pytest.fixture
def fake_scontrol(tmp_path, monkeypatch):
    """A program of that name, which writes down its words; SLURM ends the process when it is done with them."""
    words = tmp_path / "words"
    program = tmp_path / "bin" / "scontrol"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {words}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)

    def end(seconds):
        raise Ended

    monkeypatch.setattr(requeue, "time", SimpleNamespace(sleep=end))
    return words


def test_long_work_between_batches_does_not_outlast_the_lead_time(tmp_path, monkeypatch, fake_scontrol):
    monkeypatch.setenv("VISIONSCAPES_LEAD_TIME", "1")
    called = []

    def timed():
        called.append(time.monotonic())
        return refusal()

    refusal = requeue.requeue
    monkeypatch.setattr(requeue, "requeue", timed)
    module = ClusteringModule(seconds=2.5)
    fit(tmp_path / "run", module, record=True)
    assert fake_scontrol.read_text() == "requeue 42\n", "once, although a batch begins later"
    assert 0.7 < called[0] - module.warned < 1.0 < 2.5 <= module.clustered - module.warned
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["status"] == "interrupted"


def test_short_work_between_batches_is_waited_for(tmp_path, monkeypatch, fake_scontrol, capsys):
    monkeypatch.setenv("VISIONSCAPES_LEAD_TIME", "60")
    fit(tmp_path / "run", ClusteringModule(seconds=0.1))
    assert fake_scontrol.read_text() == "requeue 42\n"
    assert "saved step" in capsys.readouterr().out
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").exists()


def test_sigterm_ends_a_requeued_job_at_once_and_is_passed_on_before(monkeypatch):
    callback, passed, ended = Requeue(), [], []
    signal.signal(signal.SIGTERM, lambda *_: passed.append(True))
    monkeypatch.setattr(requeue.os, "_exit", ended.append)
    callback._note(signal.SIGUSR1, None)
    callback._note(signal.SIGUSR1, None)
    signal.raise_signal(signal.SIGTERM)
    assert (passed, ended) == ([True], [])
    callback._once.acquire()
    signal.raise_signal(signal.SIGTERM)
    assert ended == [143]


def test_lead_time(monkeypatch):
    monkeypatch.delenv("VISIONSCAPES_LEAD_TIME", raising=False)
    assert requeue.lead_time() == 120
    monkeypatch.setenv("VISIONSCAPES_LEAD_TIME", "soon")
    with pytest.raises(UserError, match="VISIONSCAPES_LEAD_TIME=soon"):
        requeue.lead_time()


def test_job_of_an_array(monkeypatch):
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "40")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    assert job_id() == "40_3"
