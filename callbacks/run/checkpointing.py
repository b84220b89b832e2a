"""Checkpoints that survive: written atomically, when it is safe to, and as many as are wanted."""

from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.trainer.states import TrainerStatus
from pytorch_lightning.utilities.exceptions import SIGTERMException
from typing_extensions import override

from callbacks.run.averaged_weights import without_left_out
from callbacks.run.checkpoint_files import read_checkpoint
from callbacks.run.interruption import LeftAtOnce
from visionscapes.checks import Bounds, NonNegativeInt, check_options
from visionscapes.errors import UserError
from visionscapes.files import atomic_write, remedy


class CheckpointNotSavedError(UserError):
    """A checkpoint could not be written; the earlier ones are untouched."""


class UntrustedStateError(UserError):
    """The weights are spoilt (NaN) and must not replace an earlier checkpoint."""


class SafeCheckpointIO(TorchCheckpointIO):
    """Writes next to the target and renames, so that a target is always whole; reads tensors and plain values only."""

    @override
    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write ``checkpoint`` to ``path`` or leave what was there.

        Raises:
            CheckpointNotSavedError: no space, no permission or no folder.
        """
        path = Path(path)
        try:
            with atomic_write(path, durable=True) as file:
                torch.save(without_left_out(checkpoint), file)
        except OSError as error:
            raise CheckpointNotSavedError(
                f"the checkpoint {path} could not be written ({error.strerror}). What was saved before is untouched: "
                f"{remedy(error) or 'see to the disk'} and go on with --resume --name {path.parent.parent.name}"
            ) from error

    @override
    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Read a checkpoint as ``read_checkpoint`` does."""
        return read_checkpoint(Path(path))


class Checkpointing(ModelCheckpoint):
    """Saves into ``checkpoints/`` of the run folder: regularly, at the end, and when the run is interrupted.

    Args:
        every_n_train_steps: optimiser steps between two checkpoints; None: once an epoch.
        every_n_epochs: epochs between two checkpoints; None: 1 unless ``every_n_train_steps`` is given.
        monitor: logged value that ranks the checkpoints; None: the newest is kept.
        mode: "min" or "max", whether a small or a large ``monitor`` is good.
        save_top_k: number of ranked checkpoints to keep; -1 keeps all.
        save_last: also keep the newest as ``last.ckpt``, which ``--resume`` continues from.

    Raises:
        UserError: an option is out of its bounds, or two contradict each other.
    """

    def __init__(
        self,
        every_n_train_steps: NonNegativeInt | None = None,
        every_n_epochs: NonNegativeInt | None = None,
        monitor: str | None = None,
        mode: Literal["min", "max"] = "min",
        save_top_k: Annotated[int, Bounds(least=-1)] = 1,
        save_last: bool = True,
    ):
        check_options(Checkpointing, locals())
        if monitor is None and save_top_k not in (-1, 0, 1):
            raise UserError(
                f"Checkpointing.save_top_k is {save_top_k}, and nothing ranks the checkpoints: give "
                "--checkpoint.monitor, or -1 to keep all"
            )
        if every_n_train_steps and every_n_epochs:
            raise UserError(
                f"Checkpointing.every_n_train_steps is {every_n_train_steps} and every_n_epochs {every_n_epochs}: give "
                "one of them"
            )
        super().__init__(
            every_n_train_steps=every_n_train_steps,
            every_n_epochs=every_n_epochs,
            monitor=monitor,
            mode=mode,
            save_top_k=save_top_k,
            save_last=save_last,
            save_on_exception=True,
            # The run folder is unique: a file of the same name is the same point of the same run.
            enable_version_counter=False,
        )
        self._batch_ended = False
        self._under_way = False  # something has been trained or validated that the files do not hold

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Choose the folder; the two files of one step are to be equal, so that either can be the last."""
        super().setup(trainer, pl_module, stage)
        self._under_way = False
        if self.save_last:
            self.last_model_path = self.format_checkpoint_name({}, self.CHECKPOINT_NAME_LAST)

    @override
    def state_dict(self) -> dict[str, Any]:
        """Return the state of the ranking, and what is still to be saved of the step that was reached."""
        due = {"saved_step": self._last_global_step_saved, "batch_ended": self._batch_ended}
        return super().state_dict() | due | {"deferred": self._defer_save_until_validation}

    @override
    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Find the ranked files where they are now: a run folder may have been moved or copied since."""
        states, folder = checkpoint.get("callbacks", {}), Path(self.dirpath or "")
        come_from = Path(str(trainer.ckpt_path)).absolute().parent
        if self.state_key in states and come_from in (folder.absolute(), folder.absolute().parent):
            states[self.state_key] = _moved(states[self.state_key], folder)

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the ranking up again if the checkpoint is one of this run; another run's is not this one's."""
        super().load_state_dict(state_dict)
        if state_dict.get("dirpath") == self.dirpath:
            self._last_global_step_saved = state_dict.get("saved_step", 0)
            self._batch_ended = state_dict.get("batch_ended", False)
            self._defer_save_until_validation = state_dict.get("deferred", False)
        else:
            self.best_model_path = ""

    @override
    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Wait: this batch is not yet logged, nor the validation done that may follow it."""
        self._batch_ended = True

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Save if the batch before called for it; ``ReproducibleSteps`` takes care that the new one comes again."""
        self._save_after_batch(trainer, pl_module)
        self._under_way = True

    @override
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note that there is something to save from now on."""
        self._under_way |= not trainer.sanity_checking

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save if the batch before the validation called for it, or the validation does."""
        self._save_after_batch(trainer, pl_module)
        super().on_validation_end(trainer, pl_module)

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save if the last batch called for it, or the epoch does."""
        self._save_after_batch(trainer, pl_module)
        super().on_train_epoch_end(trainer, pl_module)
        if trainer.global_step == trainer.max_steps:
            self.on_train_end(trainer, pl_module)  # Here the epoch can still be taken up again with more steps.

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the final weights, which no interval may have fallen on."""
        if self.save_last and not self._should_skip_saving_checkpoint(trainer):
            self._save_last_checkpoint(trainer, self._monitor_candidates(trainer))

    @override
    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save what a training of no step has left as it began: for Lightning it has neither started nor ended."""
        begun = trainer.global_step or self._last_checkpoint_saved
        if self.save_last and not begun and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            self._save_last_checkpoint(trainer, self._monitor_candidates(trainer))

    @override
    def _save_checkpoint(self, trainer: Trainer, filepath: str) -> None:
        if trainer.state.status != TrainerStatus.INTERRUPTED:
            self._last_global_step_saved = trainer.global_step  # the file says so itself
        super()._save_checkpoint(trainer, filepath)

    @override
    def _should_remove_checkpoint(self, trainer: Trainer, previous: str, current: str) -> bool:
        # Lightning keeps the file that a run was resumed from for ever; here a newer one is in its place by now.
        own = Path(self.dirpath or "").absolute() in Path(previous).absolute().parents
        return own and previous != current

    @override
    def _should_save_on_exception(self, trainer: Trainer) -> bool:
        # Before the first batch a run that goes on is still half restored.
        return self._under_way and super()._should_save_on_exception(trainer)

    def _save_after_batch(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._batch_ended and not trainer.sanity_checking:
            self._batch_ended = False
            super().on_train_batch_end(trainer, pl_module, None, None, 0)

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Save what is worth saving: nothing if weights are spoilt, the disk has just refused, or it is to be quick."""
        if isinstance(exception, CheckpointNotSavedError | UntrustedStateError | LeftAtOnce):
            return
        # Saving is collective. SIGTERM reaches every rank at the same step; another exception may be of one rank only,
        # which would then wait for ever for the others.
        if self._should_save_on_exception(trainer) and (
            trainer.world_size == 1 or isinstance(exception, SIGTERMException)
        ):
            # One file, not the ranked one too: a cluster grants little time.
            self._save_last_checkpoint(trainer, self._monitor_candidates(trainer))


def _moved(state: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the state of a checkpoint callback with its files in ``folder``."""
    paths = ("best_model_path", "kth_best_model_path", "last_model_path")
    moved = {name: str(folder / Path(state[name]).name) for name in paths if state.get(name)}
    ranked = {str(folder / Path(path).name): value for path, value in state["best_k_models"].items()}
    return state | moved | {"best_k_models": ranked, "dirpath": str(folder)}
