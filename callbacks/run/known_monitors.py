"""Refuses to go on for the sake of a value that nobody logs."""

import re
from difflib import get_close_matches
from typing import Any, NamedTuple

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from typing_extensions import override

from callbacks.run.checkpointing import Checkpointing
from visionscapes.errors import UserError


class UnknownMonitorError(UserError):
    """Something watches a value that is not logged."""


class KnownMonitors(Callback):
    """Looks whether what checkpoints, early stopping and learning rates are ranked by is logged at all.

    The validation before training, `trainer.num_sanity_val_steps`, tells the names of the values of a validation: one
    that is only spelt otherwise is refused before the first step. The others are looked for when they are asked for,
    after the first validation and at the end of the first epoch, before those that need them fail.

    Raises:
        UnknownMonitorError: a value is watched that is not logged.
    """

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse what is only spelt wrong, and what is needed now."""
        spelt = {_letters(name) for name in trainer.callback_metrics}
        for watched in _all_watched(trainer):
            if trainer.sanity_checking:
                self._check(trainer, watched, if_=_letters(watched.monitor) in spelt)
            else:  # other values may still come with the end of the epoch
                self._check(trainer, watched, if_=_needed_after_validation(watched.by, trainer))

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse what is not there, unless a validation may still bring it."""
        validated = trainer.fit_loop.epoch_loop.val_loop._has_run or not trainer.enable_validation
        for watched in _all_watched(trainer):
            self._check(trainer, watched, if_=validated)

    def _check(self, trainer: Trainer, watched: "Watched", if_: bool) -> None:
        names = set(trainer.callback_metrics)
        if not if_ or watched.monitor in names or watched.monitor in ("epoch", "step"):
            return
        spelt = [name for name in names if _letters(name) == _letters(watched.monitor)]
        close = spelt or get_close_matches(watched.monitor, names, n=1)
        meant = f": did you mean {close[0]}?" if close else f"; logged are {', '.join(sorted(names)) or 'no values'}"
        raise UnknownMonitorError(f"{watched.option} is {watched.monitor!r}, which is not logged{meant}")


class Watched(NamedTuple):
    """A value that something is ranked by.

    Attributes:
        monitor: its name in the log.
        option: what says so.
        by: the callback or scheduler.
    """

    monitor: str
    option: str
    by: Any


def _all_watched(trainer: Trainer) -> list[Watched]:
    found = []
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(getattr(callback, "monitor", None), str):
            option = "--checkpoint.monitor" if isinstance(callback, Checkpointing) else _monitor_of(callback)
            found.append(Watched(callback.monitor, option, callback))
    for config in trainer.lr_scheduler_configs:
        if config.reduce_on_plateau and config.monitor is not None:
            found.append(Watched(config.monitor, _monitor_of(config.scheduler), config.scheduler))
    return found


def _monitor_of(watching: Any) -> str:
    return f"the monitor of {type(watching).__name__}"


def _needed_after_validation(watching: Any, trainer: Trainer) -> bool:
    """Return whether a callback would fail now for want of its value."""
    if isinstance(watching, EarlyStopping):
        return not watching._check_on_train_epoch_end
    if isinstance(watching, ModelCheckpoint):
        every = watching._every_n_epochs
        due = every >= 1 and (trainer.current_epoch + 1) % every == 0
        return due and not watching._should_save_on_train_epoch_end(trainer)
    return False


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
