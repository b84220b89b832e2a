import random
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint

from callbacks.run.checkpointing import Checkpointing
from callbacks.run.reproducible_steps import ReproducibleSteps
from tests.helpers.resume_module import Interruption, ResumeData, ResumeModule

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice on workers and logging


class SaveEverywhere(Callback):
    """Saves at every hook from which Lightning's checkpoint callbacks save."""

    def __init__(self) -> None:
        self.saved: list[tuple[Path, int]] = []  # checkpoint, events before it

    def save(self, trainer: Trainer, module: LightningModule, hook: str) -> None:
        path = Path(trainer.default_root_dir, f"{len(self.saved)}-{hook}.ckpt")
        trainer.save_checkpoint(path)
        self.saved.append((path, len(module.events)))

    def on_train_batch_end(self, trainer, module, *_):
        self.save(trainer, module, "batch")

    def on_validation_end(self, trainer, module):
        self.save(trainer, module, "validation")

    def on_train_epoch_end(self, trainer, module):
        self.save(trainer, module, "epoch")


class WorkingModule(ResumeModule):
    """Does work at the end of an epoch that must not be lost."""

    epoch_end_pending = False

    def on_train_epoch_end(self):
        self.epoch_end_pending = True
        self._interrupt("epoch_end")
        self.events.append(["epoch_end", self.current_epoch, self.global_step])
        self.epoch_end_pending = False


def fit(
    folder: Path, options: dict, *callbacks: Callback, ckpt_path: Path | None = None, of=ResumeModule, **of_module
) -> list:
    torch.manual_seed(0)
    module = of(**of_module)
    trainer = Trainer(
        accelerator="cpu",
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=any(isinstance(callback, ModelCheckpoint) for callback in callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        callbacks=[ReproducibleSteps(5), *callbacks],
        **options,
    )
    try:
        trainer.fit(module, ResumeData(), ckpt_path=ckpt_path, weights_only=True)
    except Interruption:
        assert "interrupt_at" in of_module
    return module.events


OPTIONS = {
    "epochs": {"max_epochs": 2},
    "steps": {"max_steps": 8},
    "steps without validation": {"max_steps": 8, "limit_val_batches": 0},
    "validation in mid-epoch": {"max_epochs": 2, "val_check_interval": 2},
    "validation every few steps": {"max_steps": 9, "val_check_interval": 4, "check_val_every_n_epoch": None},
    "part of the epoch": {"max_epochs": 2, "limit_train_batches": 3},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_resume_from_any_checkpoint_equals_the_uninterrupted_run(tmp_path, options):
    saver = SaveEverywhere()
    full = fit(tmp_path, options, saver)
    assert len(saver.saved) > 6
    for path, events_before in saver.saved:
        assert fit(tmp_path, options, ckpt_path=path) == full[events_before:], path.name


LIMITED = {"limit_train_batches": 3}
TWICE = {"epochs": {"max_epochs": 3}, "steps": {"max_steps": 8}}


@pytest.mark.parametrize("limit", [{}, LIMITED], ids=["all batches", "part of them"])
@pytest.mark.parametrize("options", TWICE.values(), ids=TWICE)
def test_a_second_resume_equals_the_uninterrupted_run(tmp_path, options, limit):
    """Also the counters in the checkpoints: what they lack after one resume is trained wrongly after the next."""
    options = options | limit
    saver = SaveEverywhere()
    full = fit(tmp_path, options, saver)
    expected = {(step_of(path), path.stem.partition("-")[2]): path for path, _ in saver.saved}
    for path, events_before in saver.saved[2:5]:
        again = SaveEverywhere()
        (tmp_path / path.stem).mkdir()
        assert fit(tmp_path / path.stem, options, again, ckpt_path=path) == full[events_before:], path.name
        for second, _ in again.saved:
            whole = expected[step_of(second), second.stem.partition("-")[2]]
            assert loops(second) == loops(whole), (path.name, second.name)
        second, events_between = again.saved[len(again.saved) // 2]
        assert fit(tmp_path, options, ckpt_path=second) == full[events_before + events_between :], second.name


@pytest.mark.parametrize("limit", [{}, LIMITED], ids=["all batches", "part of them"])
@pytest.mark.parametrize("options", TWICE.values(), ids=TWICE)
@pytest.mark.parametrize("epoch", [0, -1], ids=["first", "last"])
def test_work_at_the_end_of_an_epoch_is_taken_up_again(tmp_path, epoch, options, limit):
    """Also after the last step of all, and the counters are then those of the uninterrupted run."""
    options = options | limit
    saver, again = SaveEverywhere(), SaveEverywhere()
    full = fit(tmp_path, options, saver, of=WorkingModule)
    step = [event for event in full if event[0] == "epoch_end"][epoch][2]
    on_error = ModelCheckpoint(tmp_path, filename="stopped", save_on_exception=True, every_n_train_steps=1000)
    begun = fit(tmp_path, options, on_error, of=WorkingModule, interrupt_at=("epoch_end", step))
    (tmp_path / "again").mkdir()
    resumed = fit(tmp_path / "again", options, again, ckpt_path=tmp_path / "stopped.ckpt", of=WorkingModule)
    assert begun + resumed == full
    assert [loops(path) for path, _ in again.saved] == [loops(path) for path, _ in saver.saved[-len(again.saved) :]]


@pytest.mark.parametrize("options", TWICE.values(), ids=TWICE)
def test_sigterm_in_the_last_batch_of_an_epoch_skips_no_epoch(tmp_path, monkeypatch, options):
    options = options | LIMITED | {"limit_val_batches": 0}
    full, step = fit(tmp_path, options), ResumeModule.training_step

    def terminated(module, batch, batch_idx):
        if module.global_step == 2:
            signal.raise_signal(signal.SIGTERM)
        return step(module, batch, batch_idx)

    on_error = ModelCheckpoint(tmp_path, filename="stopped", save_on_exception=True, every_n_train_steps=1000)
    before = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        patch.setattr(ResumeModule, "training_step", terminated)
        with pytest.raises(SystemExit):
            fit(tmp_path, options, on_error)
    signal.signal(signal.SIGTERM, before)
    rest = fit(tmp_path, options, ckpt_path=tmp_path / "stopped.ckpt")
    assert rest == full[len(full) - len(rest) :]
    assert rest[0] == next(event for event in full if event[0] == "train" and event[2] == 3)


def step_of(path: Path) -> int:
    return torch.load(path, weights_only=True)["global_step"]


def loops(path: Path) -> dict:
    return torch.load(path, weights_only=True)["loops"]["fit_loop"]


def test_resume_of_a_module_whose_schedule_asks_for_the_number_of_steps(tmp_path):
    """Lightning then makes the loaders before it reads the checkpoint, and would begin the epoch again."""
    saver = SaveEverywhere()
    full = fit(tmp_path, {"max_epochs": 2}, saver, asks_for_steps=True)
    for path, events_before in saver.saved:
        assert fit(tmp_path, {"max_epochs": 2}, ckpt_path=path, asks_for_steps=True) == full[events_before:], path.name


def test_gradient_accumulation_goes_on_from_the_last_optimiser_step(tmp_path):
    options = {"max_epochs": 2, "accumulate_grad_batches": 2}  # of 5 batches: the last step of an epoch has one
    saver = SaveEverywhere()
    full = fit(tmp_path, options, saver)
    for path, events_before in saver.saved:
        resumed = fit(tmp_path, options, ckpt_path=path)
        assert resumed == full[len(full) - len(resumed) :], path.name
        assert 0 <= len(resumed) - len(full[events_before:]) <= 1, path.name


@pytest.mark.parametrize("options", [OPTIONS["epochs"], OPTIONS["validation every few steps"]], ids=["epochs", "steps"])
@pytest.mark.parametrize("event", [("train", 2), ("train", 5), ("val", 5), ("val_end", 5), ("val", 4), ("val_end", 4)])
def test_resume_after_an_error_repeats_what_was_cut_short(tmp_path, options, event):
    full = fit(tmp_path, options)
    on_error = ModelCheckpoint(tmp_path, filename="stopped", save_on_exception=True, every_n_train_steps=1000)
    begun = fit(tmp_path, options, on_error, interrupt_at=event)
    if begun == full:
        return  # no validation at this step
    while event[0] != "train" and begun[-1][0] == "val":
        begun.pop()  # of the validation that was cut short: it is to be run again as a whole
    assert begun + fit(tmp_path, options, ckpt_path=tmp_path / "stopped.ckpt") == full


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_resume_from_the_checkpoints_of_a_run_equals_the_uninterrupted_run(tmp_path, options):
    every_second = Checkpointing(every_n_train_steps=2, save_top_k=-1)
    full = fit(tmp_path, options, every_second)
    last = full[-1][2] if full[-1][0] == "val" else full[-1][2] + 1
    saved = {int(path.stem.split("step=")[1]): path for path in tmp_path.glob("checkpoints/*step*.ckpt")}
    assert saved.keys() == set(range(2, last + 1, 2))
    assert torch.load(tmp_path / "checkpoints" / "last.ckpt")["global_step"] == last
    for step, path in saved.items():
        # A validation at this step comes before its checkpoint.
        rest = [event for event in full if event[2] > step or (event[2] == step and event[0] == "train")]
        assert fit(tmp_path, options, ckpt_path=path) == rest, path.name


def test_a_finished_run_goes_on_where_it_ended(tmp_path):
    full = fit(tmp_path, {"max_steps": 9, "limit_val_batches": 0})
    first = fit(tmp_path, {"max_steps": 7, "limit_val_batches": 0}, Checkpointing(every_n_train_steps=5))
    last = tmp_path / "checkpoints" / "last.ckpt"
    assert first + fit(tmp_path, {"max_steps": 9, "limit_val_batches": 0}, ckpt_path=last) == full


def numbers() -> tuple:
    return torch.rand(2).tolist(), np.random.rand(), random.random()


class Stub:
    global_step, global_rank = 0, 0


def drawn(callback: ReproducibleSteps, step: int = 0, batch_idx: int = 0, rank: int = 0) -> tuple:
    trainer = Stub()
    trainer.global_step, trainer.global_rank = step, rank
    callback.on_train_batch_start(trainer, None, None, batch_idx)
    return numbers()


def test_seeds_depend_on_seed_step_batch_and_rank():
    assert drawn(ReproducibleSteps(1), 3) == drawn(ReproducibleSteps(1), 3)
    places = [drawn(ReproducibleSteps(seed), *place) for seed in (1, 2)
              for place in ((3,), (4,), (3, 1), (3, 0, 1))]  # fmt: skip
    assert all(a != b for i, place in enumerate(places) for a, b in zip(place * i, sum(places[:i], ()), strict=True))


def test_seed_is_the_one_of_the_run(monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "7")
    assert ReproducibleSteps().seed == 7
    assert ReproducibleSteps(3).seed == 3
    monkeypatch.delenv("PL_GLOBAL_SEED")
    assert ReproducibleSteps().seed == 0


def test_evaluation_draws_the_same_numbers_every_time():
    callback = ReproducibleSteps(1)
    seen = []
    for step, dataloader_idx in ((0, 0), (9, 0), (9, 1)):
        trainer = Stub()
        trainer.global_step = step
        callback.on_validation_batch_start(trainer, None, None, 2, dataloader_idx)
        seen.append(numbers())
    assert seen[0] == seen[1] != seen[2]
