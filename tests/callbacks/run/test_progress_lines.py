import re
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest
from pytorch_lightning import Trainer

from callbacks.run.progress_lines import ProgressLines
from tests.helpers.tiny import TinyData, TinyModule
from visionscapes import progress

ROOT = Path(__file__).parents[3]


class SlowModule(TinyModule):
    """Takes its time where no batch ends: at the end of epochs and of evaluations."""

    def __init__(self, pause: float = 0.0, between: float = 0.0):
        super().__init__(pause=pause)
        self.between = between

    def validation_step(self, batch, batch_idx):
        time.sleep(self.hparams["pause"])
        super().validation_step(batch, batch_idx)

    test_step = validation_step

    def on_train_epoch_end(self):
        time.sleep(self.between)

    on_test_epoch_end = on_train_epoch_end


@pytest.fixture
def lines(monkeypatch, capsys, tmp_path):
    """Return what trains or tests a module and gives the lines of progress, with their times."""

    def command(module, subcommand: str = "fit", every: float = 0.3, **options) -> list[tuple[float, str]]:
        monkeypatch.setattr(progress, "EVERY", every)
        said: list[tuple[float, str]] = []
        monkeypatch.setattr(progress, "print", lambda line, flush: said.append((time.monotonic(), line)), raising=False)
        trainer = Trainer(
            default_root_dir=tmp_path,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            callbacks=[ProgressLines()],
            **{"max_epochs": 2, "num_sanity_val_steps": 0} | options,
        )
        getattr(trainer, subcommand)(module, TinyData(samples=80))
        return said

    return command


class TalkingModule(SlowModule):
    """Says something of its own in training."""

    def on_train_start(self):
        self.print("the network", 2, sep=" has layers: ")


def test_a_module_prints_through_them(lines):
    assert "the network has layers: 2" in [line for _, line in lines(TalkingModule())]


def test_steps_are_told_with_loss_speed_and_time_left(lines):
    said = lines(SlowModule(pause=0.03))
    steps = [line for _, line in said if "step " in line]
    assert len(steps) >= 3
    pattern = r"epoch [12]/2, step \d+/20, train/loss [\d.e-]+, (val/loss [\d.e-]+, )?[\d.]+ steps/s, \d:\d\d left"
    assert all(re.fullmatch(pattern, line) for line in steps), steps
    assert any(line.startswith("validation, batch ") for _, line in said)
    assert re.fullmatch(r"trained 40 steps, epoch 2/2, .*train/loss .*", said[-1][1])


def test_the_batches_before_training_are_told_with_their_number(lines):
    module = SlowModule(pause=0.4)
    options = {"num_sanity_val_steps": 2, "limit_train_batches": 1, "limit_val_batches": 2, "max_epochs": 1}
    said = [line for _, line in lines(module, **options)]
    assert any(line.startswith("validating a few batches before training, batch 1/2, ") for line in said), said


def test_a_line_comes_in_time_whatever_the_run_is_at(lines):
    began = time.monotonic()
    said = lines(SlowModule(between=1.0), max_epochs=1)
    times = [began, *(at for at, _ in said)]
    assert max(after - before for before, after in pairwise(times)) < 0.3 + 0.3
    assert any(re.fullmatch(r"end of epoch 1/1, 0:0\d so far", line) for _, line in said)


def test_a_long_step_is_told(lines):
    said = [line for _, line in lines(SlowModule(pause=0.7), limit_train_batches=2, limit_val_batches=0, max_epochs=1)]
    assert any("step 0/2, 0:00 in this one" in line for line in said), said


def test_quick_epochs_are_not_told_one_by_one(lines):
    said = lines(SlowModule(), max_epochs=30, limit_train_batches=2, limit_val_batches=1, every=9.0)
    assert [line.partition(",")[0] for _, line in said] == ["trained 60 steps"]


def test_evaluation_is_told(lines):
    said = [line for _, line in lines(SlowModule(pause=0.05, between=0.7), subcommand="test")]
    assert any(re.fullmatch(r"test, batch \d+/20, [\d.]+ batches/s, 0:0\d left", line) for line in said), said
    assert any(line.startswith("evaluating, ") for line in said)


class SlowToBegin(SlowModule):
    """Looks at everything before its first batch."""

    def test_step(self, batch, batch_idx):
        time.sleep(0.05 if batch_idx else 1.5)


def test_what_comes_before_the_first_batch_is_not_expected_again(lines):
    said = [line for _, line in lines(SlowToBegin(), subcommand="test")]
    left = [int(found[1]) for line in said if (found := re.search(r"0:(\d\d) left", line))]
    assert left
    assert max(left) <= 3, said


def test_steps_count_where_they_limit_the_training(lines):
    callback = ProgressLines()
    trainer = Trainer(max_steps=10, accelerator="cpu", logger=False, enable_checkpointing=False, callbacks=[callback])
    assert callback._share(trainer) == 0
    trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress.total.completed = 5
    trainer.fit_loop.epoch_loop.automatic_optimization.optim_progress.optimizer.step.total.completed = 5
    assert callback._share(trainer) in (0.5, 1.0)


def test_no_thread_is_left():
    assert "progress" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.slow
def test_a_pipe_gets_lines_and_no_bars(tmp_path):
    """The real intervals, through the real entry point: at least a line in ten seconds, and few of them."""
    words = ["fit", "--model", "tests.helpers.tiny.TinyModule", "--data", "tests.helpers.tiny.TinyData"]
    words += [f"--runs_dir={tmp_path}", "--trainer.accelerator=cpu", "--model.pause=0.7", "--trainer.max_epochs=10"]
    with subprocess.Popen([sys.executable, "cli.py", *words], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        read = [(time.monotonic(), line) for line in process.stdout]
    assert process.returncode == 0
    told = [(at, line) for at, line in read if "step" in line]
    assert 3 <= len(told) <= 6
    assert all(after[0] - before[0] < 10 for before, after in pairwise(told))
    assert not any("\r" in line or "█" in line for _, line in read)
