"""Stops a run whose loss is NaN or infinite, before a checkpoint can be spoilt by it."""

from itertools import chain
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor
from typing_extensions import override

from callbacks.run.checkpointing import UntrustedStateError
from callbacks.run.interruption import Interrupted
from callbacks.run.requeue import Requeued
from visionscapes.checks import NonNegativeInt, PositiveInt, check_options


class NonFiniteLossError(UntrustedStateError):
    """The loss is NaN or infinite."""


class FiniteLoss(Callback):
    """Ends training with a clear error at a non-finite loss, and keeps the last good checkpoint.

    The losses are watched on their device, so that an accelerator need not wait for the host every step; they are
    looked at every ``every_n_steps`` batches and, whatever that number is, before every checkpoint.

    Under ``16-mixed`` numbers above 65,504 are infinite, and the scaler of the gradients skips a step that comes of
    one. That is no error unless it has no end: if more than ``skips`` losses in a row are not finite, or the scale,
    which is halved at every skip, falls below 1.

    Args:
        every_n_steps: batches between two looks; None: 1 on a CPU, where looking is free, and 50 elsewhere.
        skips: non-finite losses in a row that are let pass under ``16-mixed``.

    Raises:
        UserError: an option is out of its bounds.
    """

    def __init__(self, every_n_steps: PositiveInt | None = None, skips: NonNegativeInt = 20):
        check_options(FiniteLoss, locals())
        self.every_n_steps, self.skips = every_n_steps, skips
        self._series: _Series | None = None
        self._scaler: torch.amp.GradScaler | None = None
        self._alone = False  # the other processes take no part in what comes

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._scaler = getattr(trainer.precision_plugin, "scaler", None)
        self._series = _Series(0 if self._scaler is None else self.skips, pl_module.device)

    @override
    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Note a bad loss; called for every loss, under manual optimisation too."""
        if self._series is None:
            return
        self._series.add(loss, trainer.fit_loop.epoch_loop.total_batch_idx)
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
        """Refuse to save weights after a bad loss, and weights or statistics that are NaN themselves.

        Raises:
            NonFiniteLossError: a loss, a weight or a statistic of a batch norm is not finite.
        """
        self._look(trainer)
        # A skipped step spares the weights, but batch norms have seen the batch.
        values = chain(pl_module.named_parameters(), pl_module.named_buffers())
        bad = [name for name, value in values if value.isnan().any()]
        if bad:
            raise NonFiniteLossError(
                f"the weights are NaN after step {trainer.global_step} ({bad[0]} and {len(bad) - 1} more), nothing was "
                f"saved. {_REMEDY}"
            )

    def _interval(self, pl_module: LightningModule) -> int:
        return self.every_n_steps or (1 if pl_module.device.type == "cpu" else 50)

    def _look(self, trainer: Trainer) -> None:
        if self._series is None:
            return
        bad = self._series.over()
        scale = 1.0 if self._scaler is None else self._scaler.get_scale()
        # A bad loss of another process has spoilt the gradients, and with them the weights, of this one too.
        here = bad is not None or scale < 1
        if not (here if self._alone else trainer.strategy.reduce_boolean_decision(here, all=False)):
            return
        if scale < 1:
            raise NonFiniteLossError(
                f"float16 does not suit this training: its steps are skipped because gradients are not finite, again "
                f"and again, although their scale was halved down to {scale:g}. {_REMEDY}"
            )
        where = "on another process" if bad is None else f"at training batch {bad}"
        if self._scaler is not None and bad is not None:
            where += f" and {self.skips} after it"
        raise NonFiniteLossError(f"the loss is not finite {where} (counted from 0 over all epochs). {_REMEDY}")


class _Series:
    """Non-finite losses in a row, counted on their device; once there are more than ``most``, nothing is forgotten."""

    def __init__(self, most: int, device: torch.device):
        self.most, self.first, self.length = most, *torch.zeros(2, dtype=torch.int64, device=device)

    def add(self, loss: Tensor, batch: int) -> None:
        """Take note of the loss of a batch."""
        goes_on = (self.length > self.most) | ~torch.isfinite(loss.detach()).all()
        self.first = torch.where(goes_on & (self.length > 0), self.first, batch)
        self.length = torch.where(goes_on, self.length + 1, 0)

    def over(self) -> int | None:
        """Return the batch that the series began with if it is too long, else None; waits for the device."""
        first, length = torch.stack([self.first, self.length]).tolist()
        return first if length > self.most else None


_REMEDY = (
    "The checkpoints so far are untouched. Lower the learning rate (--model.lr), clip gradients "
    "(--trainer.gradient_clip_val=1), use --trainer.precision=32 or bf16-mixed, or find the operation with "
    "--trainer.detect_anomaly=true"
)
