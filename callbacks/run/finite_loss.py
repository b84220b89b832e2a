"""Stops a run whose loss is NaN or infinite, before a checkpoint can be spoilt by it."""

from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor
from typing_extensions import override

from callbacks.run.checkpointing import UntrustedStateError
from callbacks.run.interruption import Interrupted
from callbacks.run.requeue import Requeued
from visionscapes.checks import PositiveInt, check_options


class NonFiniteLossError(UntrustedStateError):
    """The loss is NaN or infinite."""


class FiniteLoss(Callback):
    """Ends training with a clear error at a non-finite loss, and keeps the last good checkpoint.

    The losses are watched on their device, so that an accelerator need not wait for the host every step; they are
    looked at every ``every_n_steps`` batches and, whatever that number is, before every checkpoint.

    Args:
        every_n_steps: batches between two looks; None: 1 on a CPU, where looking is free, and 50 elsewhere.

    Raises:
        UserError: an option is out of its bounds.
    """

    def __init__(self, every_n_steps: PositiveInt | None = None):
        check_options(FiniteLoss, locals())
        self.every_n_steps = every_n_steps
        self._first_bad: Tensor | None = None  # batch of the first non-finite loss; -1: all were finite
        self._alone = False  # the other processes take no part in what comes

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._first_bad = torch.tensor(-1, device=pl_module.device)

    @override
    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Note a bad loss; called for every loss, under manual optimisation too."""
        if self._first_bad is None:
            return
        bad = (self._first_bad < 0) & ~torch.isfinite(loss.detach()).all()
        self._first_bad = torch.where(bad, trainer.fit_loop.epoch_loop.total_batch_idx, self._first_bad)
        # On the only process the update with the bad gradient can still be prevented.
        if self._interval(pl_module) == 1 and trainer.world_size == 1:
            self._look(trainer)

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if (batch_idx + 1) % self._interval(pl_module) == 0:
            self._look(trainer)

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._alone = isinstance(exception, Requeued | Interrupted)

    @override
    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Refuse to save weights after a bad loss, and weights that are NaN themselves.

        Raises:
            NonFiniteLossError: a loss or a weight is not finite.
        """
        self._look(trainer)
        bad = [name for name, weight in pl_module.named_parameters() if weight.isnan().any()]
        if bad:
            raise NonFiniteLossError(
                f"the weights are NaN after step {trainer.global_step} ({bad[0]} and {len(bad) - 1} more), nothing was "
                f"saved. {_REMEDY}"
            )

    def _interval(self, pl_module: LightningModule) -> int:
        return self.every_n_steps or (1 if pl_module.device.type == "cpu" else 50)

    def _look(self, trainer: Trainer) -> None:
        if self._first_bad is None:
            return
        first_bad = int(self._first_bad)
        # A bad loss of another process has spoilt the gradients, and with them the weights, of this one too.
        if first_bad >= 0 if self._alone else trainer.strategy.reduce_boolean_decision(first_bad >= 0, all=False):
            where = f"at training batch {first_bad}" if first_bad >= 0 else "on another process"
            raise NonFiniteLossError(f"the loss is not finite {where} (counted from 0 over all epochs). {_REMEDY}")


_REMEDY = (
    "The checkpoints so far are untouched. Lower the learning rate (--model.lr), clip gradients "
    "(--trainer.gradient_clip_val=1), use --trainer.precision=32, or find the operation with "
    "--trainer.detect_anomaly=true"
)
