"""Random numbers that depend on where a run is, not on how it got there."""

import os
import random
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from typing_extensions import override

from visionscapes.checks import AnyInt, check_options
from visionscapes.seeding import derived_seed


class ReproducibleSteps(Callback):
    """Seed torch, numpy and random before every batch, so that a resumed run repeats the uninterrupted one.

    A training batch is seeded from (seed, global step, batch, rank), a batch of validation, test or prediction from
    (seed, data loader, batch, rank): dropout and noise are the same after a resume, and evaluations that draw random
    numbers draw the same ones every time. Order and augmentations of the data are the business of
    ``datamodules.common.loading``.

    A module whose ``on_train_epoch_end`` does work that must not be lost sets its ``epoch_end_pending`` to true
    meanwhile: a checkpoint from there resumes with that hook. One that optimises by itself and adds up the gradients of
    several batches says of how many as ``accumulate``.

    Args:
        seed: any integer; by default the one that ``seed_everything`` was called with, or 0 if it was not.

    Raises:
        UserError: an option is out of its bounds.
    """

    def __init__(self, seed: AnyInt | None = None):
        check_options(ReproducibleSteps, locals())
        self.seed = int(os.environ.get("PL_GLOBAL_SEED", 0)) if seed is None else seed
        self._validation_cut_short = self._epoch_end_pending = False
        self._epoch_ended: dict[str, Any] = {}  # what the loop counted in an epoch whose end is still to come
        self._step = 0
        self._steps_of_run: int | None = None

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Have Lightning begin a run of which all steps are done, but not the work at the end of the last epoch."""
        if self._epoch_end_pending and trainer.max_steps != -1 and self._step >= trainer.max_steps:
            self._steps_of_run = trainer.max_steps
            trainer.fit_loop.epoch_loop.max_steps = self._step + 1  # but on_train_start sees to it that none is trained

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the loaders where the checkpoint says, and begin the next epoch where the checkpoint ended one.

        Lightning 2.6 places the loaders when it makes them. A module that asks for ``estimated_stepping_batches`` while
        it configures its optimisers has them made before the checkpoint is read.
        """
        loop = trainer.fit_loop
        loop._load_combined_loader_states()
        epochs: Any = loop.epoch_progress.current
        if loop.restarted_mid_epoch and epochs.processed == epochs.ready:
            # Lightning has just closed the epoch, and would take the next one for begun: neither counted nor announced.
            loop.reset_restart_stage()
        if self._epoch_end_pending and loop._data_fetcher is not None:
            loop._data_fetcher.done = True  # Lightning would train what limit_train_batches has left of the epoch

    @override
    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._epoch_end_pending = bool(checkpoint.get("epoch_end_pending"))
        if self._epoch_end_pending:
            self._epoch_ended, self._step = deepcopy(checkpoint["loops"]["fit_loop"]), checkpoint["global_step"]

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count what was trained before the resume, now that the epoch ends for which it was."""
        if not self._epoch_end_pending:
            return
        self._epoch_end_pending, loop = False, trainer.fit_loop.epoch_loop
        for progress, name in (
            (loop.batch_progress, "batch_progress"),
            (loop.scheduler_progress, "scheduler_progress"),
            (loop.automatic_optimization.optim_progress, "automatic_optimization.optim_progress"),
        ):
            progress.load_state_dict(self._epoch_ended[f"epoch_loop.{name}"])
        loop.batch_progress.increment_completed()
        loop.batch_progress.is_last_batch = (
            self._steps_of_run is None or trainer.num_training_batches <= loop.batch_idx + 1
        )
        if self._steps_of_run is not None:
            loop.max_steps, self._steps_of_run = self._steps_of_run, None

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        # The global step alone would repeat itself while gradients are accumulated.
        seed_all(derived_seed(self.seed, trainer.global_step, batch_idx, trainer.global_rank))

    @override
    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        seed_all(derived_seed(self.seed, dataloader_idx, batch_idx, trainer.global_rank))

    on_test_batch_start = on_validation_batch_start
    on_predict_batch_start = on_validation_batch_start

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        # Callbacks that save come last: on_save_checkpoint of this interruption is still to come.
        self._validation_cut_short = trainer.validating

    @override
    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Put right what Lightning 2.6 would repeat or leave out when it resumes from this checkpoint."""
        loops = checkpoint["loops"]["fit_loop"]
        batch, epoch = loops["epoch_loop.batch_progress"], loops["epoch_progress"]
        # Of a validation that was run again Lightning would believe it was cut short once more.
        self._count_validation(loops, begun=0)
        ready, processed, completed = (batch["current"][event] for event in ("ready", "processed", "completed"))
        at_epoch_end = epoch["current"]["processed"] > epoch["current"]["completed"]
        # SIGTERM in the last batch of an epoch ends the run behind the epoch.
        behind_epoch = batch["is_last_batch"] and epoch["current"]["completed"] == epoch["current"]["ready"] > 0
        epoch_loop, fetcher = trainer.fit_loop.epoch_loop, trainer.fit_loop._data_fetcher

        # Batches since the last optimiser step; Lightning steps after the last batch in any case.
        of_module = getattr(pl_module, "accumulate", 1)  # of one that optimises by itself
        accumulate = max(trainer.accumulate_grad_batches, of_module)
        pending = 0 if trainer.is_last_batch and ready == processed else processed % accumulate
        if ready > processed - pending:
            # Their gradients are lost: go back to the end of the batch that was stepped after, and deal them again.
            for loader in loops["state_dict"].get("combined_loader", []):
                loader["batches"] -= ready - processed + pending
            for span in ("total", "current"):
                stepped = batch[span]["processed"] - pending
                batch[span] = {"ready": stepped, "started": stepped, "processed": stepped, "completed": stepped - 1}
            batch["is_last_batch"] = False
            # Lightning takes every batch for one that stepped where the module optimises by itself.
            loops["epoch_loop.state_dict"]["_batches_that_stepped"] -= 1 + pending * (of_module > 1)
        elif processed > completed and fetcher is not None and epoch_loop._should_check_val_fx(fetcher):
            # Lightning would take the validation that follows this batch for done.
            _add(batch, "completed", 1)
            self._count_validation(loops, begun=1)
        elif self._validation_cut_short:
            # Lightning would run as many batches as were left, but from the first one.
            self._count_validation(loops, begun=1)
        elif (at_epoch_end or behind_epoch) and (
            trainer.max_steps != -1 or getattr(pl_module, "epoch_end_pending", False)
        ):
            # Lightning would train one batch more in the epoch that is over. The end of its last batch is the same
            # place, and one that Lightning resumes from correctly.
            _add(batch, "completed", -1)
            _add(epoch, "processed", -1)
            _add(epoch, "completed", -1 if behind_epoch else 0)
            loops["epoch_loop.state_dict"]["_batches_that_stepped"] -= 1
            # After what it takes for the last batch Lightning goes on with the next epoch, without that hook.
            checkpoint["epoch_end_pending"] = getattr(pl_module, "epoch_end_pending", False)
            batch["is_last_batch"] &= not checkpoint["epoch_end_pending"]

    @staticmethod
    def _count_validation(loops: dict[str, Any], begun: int) -> None:
        """Describe a validation that is over, or one that was cut short in its first batch: it is run again."""
        progress = loops["epoch_loop.val_loop.batch_progress"]
        progress["total"] = {"ready": begun, "started": begun, "processed": 0, "completed": 0}
        progress["current"] = {"ready": 0, "started": 0, "processed": 0, "completed": 0}


def _add(progress: dict[str, Any], event: str, amount: int) -> None:
    for span in ("total", "current"):
        progress[span][event] += amount


def seed_all(seed: int) -> None:
    """Seed torch on every device, numpy and random with ``seed`` in [0, 2^64)."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
