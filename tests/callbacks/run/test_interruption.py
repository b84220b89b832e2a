import os
import signal
from pathlib import Path

import pytest
import torch
from pytorch_lightning import Trainer, seed_everything

from callbacks.run.checkpointing import Checkpointing
from callbacks.run.interruption import NOTICE, Interruption
from callbacks.run.reproducible_steps import ReproducibleSteps
from tests.helpers.resume_module import ResumeData, ResumeModule

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice on workers and logging


class HastyModule(ResumeModule):
    """Is interrupted with Ctrl-C in a step of training or of validation, behind the layers.

    Args:
        event: "train", "val" or "epoch_end".
        step: the global step.
        times: how often Ctrl-C is pressed.
    """

    def __init__(self, event: str = "", step: int = -1, times: int = 1):
        super().__init__(batch_norm=True)
        self.event, self.step, self.times = event, step, times
        self.epoch_end_pending = self.worked = False

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        self._press("train")
        return loss

    def validation_step(self, batch, batch_idx):
        super().validation_step(batch, batch_idx)
        self._press("val")

    def on_train_epoch_end(self):
        self.epoch_end_pending = True
        self._press("epoch_end")
        self.epoch_end_pending, self.worked = False, True

    def _press(self, event: str) -> None:
        for _ in range(self.times if (event, self.global_step) == (self.event, self.step) else 0):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(autouse=True)
def handler():
    """Have SIGINT work as in a terminal, also where pytest runs in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def fit(folder: Path, module: ResumeModule, ckpt_path: Path | None = None) -> list:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    trainer = Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        max_epochs=2,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        callbacks=[ReproducibleSteps(seed=0), Interruption(), Checkpointing(every_n_train_steps=100)],
    )
    trainer.fit(module, ResumeData(), ckpt_path=ckpt_path, weights_only=True)
    return module.events


def new_module(*options) -> HastyModule:
    seed_everything(0)
    return HastyModule(*options)


def interrupted(folder: Path, *options) -> HastyModule:
    module = new_module(*options)
    folder.mkdir(exist_ok=True)
    with pytest.raises(SystemExit) as ended:
        fit(folder, module)
    assert isinstance(ended.value.__context__, KeyboardInterrupt)
    return module


def state(module: ResumeModule) -> torch.Tensor:
    return torch.cat([value.double().flatten() for value in module.state_dict().values()])


@pytest.mark.parametrize(("event", "step"), [("train", 0), ("train", 3), ("train", 4), ("val", 5)])
def test_a_batch_is_ended_and_saved(tmp_path, capfd, event, step):
    whole, second = new_module(), new_module()
    expected = fit(tmp_path, whole)
    first = interrupted(tmp_path / "run", event, step)
    assert capfd.readouterr().err.count(NOTICE) == 1
    assert first.events == expected[: len(first.events)]
    after = fit(tmp_path / "run", second, tmp_path / "run" / "checkpoints" / "last.ckpt")
    trained = [each for each in first.events + after if each[0] == "train"]
    assert trained == [each for each in expected if each[0] == "train"], "no batch left out, none twice"
    assert state(second).equal(state(whole)), "the statistics of batch norm have seen no batch twice"


def test_the_last_batch_of_all_is_followed_by_nothing(tmp_path):
    interrupted(tmp_path, "train", 9)
    assert torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 10


def test_a_second_one_leaves_at_once_without_saving(tmp_path):
    module = interrupted(tmp_path, "train", 3, 2)
    assert len(module.events) == 4
    assert not (tmp_path / "checkpoints").exists()


def test_work_that_is_done_again_is_not_waited_for(tmp_path, capfd):
    module = interrupted(tmp_path, "epoch_end", 5)
    assert not module.worked
    assert NOTICE not in capfd.readouterr().err
    second = new_module()
    fit(tmp_path, second, tmp_path / "checkpoints" / "last.ckpt")
    assert second.worked


def test_before_the_first_batch_nothing_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(HastyModule, "configure_optimizers", lambda module: os.kill(os.getpid(), signal.SIGINT))
    interrupted(tmp_path)
    assert not (tmp_path / "checkpoints").exists()


def test_a_run_in_the_background_leaves_the_signal_ignored(tmp_path):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    callback = Interruption()
    callback.setup(Trainer(default_root_dir=tmp_path, accelerator="cpu", logger=False), new_module(), "fit")
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def test_the_handler_is_taken_back(tmp_path):
    fit(tmp_path, new_module())
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler


def test_a_process_that_loads_data_is_not_concerned(tmp_path):
    callback = Interruption()
    callback.setup(Trainer(default_root_dir=tmp_path, accelerator="cpu", logger=False), new_module(), "fit")
    callback._process = 0
    callback._note(signal.SIGINT, None)
    assert not callback._noted


@pytest.mark.parametrize("place", ["train_dataloader", "training_step"])
def test_after_a_fit_that_failed_ctrl_c_is_the_usual_one(tmp_path, monkeypatch, place):
    def fail(*_):
        raise ValueError(place)

    monkeypatch.setattr(ResumeData if place == "train_dataloader" else HastyModule, place, fail)
    with pytest.raises(ValueError, match=place):
        fit(tmp_path, new_module())
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
