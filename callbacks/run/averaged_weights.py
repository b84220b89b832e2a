"""What Lightning's averages of weights need to be saved small and taken up again exactly."""

from collections.abc import Callable
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor
from typing_extensions import override

CURRENT = "current_model_state"  # where WeightAveraging keeps the weights that are trained


class AveragedWeights(Callback):
    """Stands before a ``WeightAveraging`` such as ``EMAWeightAveraging``; does nothing in a run without one.

    - What a module leaves out of its checkpoints, a frozen backbone, is left out of both copies of the weights.
    - The average of a weight that does not change is that weight: 0.999 x + 0.001 x is not always x.
    - During validation the average and the trained weights have changed places; an interruption changes them back
      before the checkpoint is saved.
    """

    def __init__(self) -> None:
        self._swapped = False

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for callback in averagings(trainer):
            average = callback._average_model
            if average is not None and average.avg_fn is not None:
                average.avg_fn = exact_where_equal(average.avg_fn)

    @override
    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._swapped = True

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._swapped = False

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Put the trained weights back; the callbacks that save come later."""
        for callback in averagings(trainer) if self._swapped else ():
            if callback._average_model is not None:
                callback._swap_models(pl_module)
        self._swapped = False

    @override
    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Put the module's own weights in the place of those that were left out; its own state is restored by now."""
        if CURRENT in checkpoint:
            for name in ("state_dict", CURRENT):
                checkpoint[name] = pl_module.state_dict() | checkpoint[name]


def averagings(trainer: Trainer) -> list[WeightAveraging]:
    """Return the callbacks of a trainer that average weights."""
    return [callback for callback in trainer.callbacks if isinstance(callback, WeightAveraging)]  # type: ignore[attr-defined]


def exact_where_equal(average: Callable[[Tensor, Tensor, Any], Tensor]) -> Callable[[Tensor, Tensor, Any], Tensor]:
    """Return a rule of averaging that leaves a number as it is where both are the same.

    Args:
        average: of (the average so far, the current values, the number of values so far).
    """

    def averaged(so_far: Tensor, current: Tensor, count: Any) -> Tensor:
        return torch.where(so_far == current, current, average(so_far, current, count))

    return averaged


def without_left_out(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Return a checkpoint whose trained weights lack what the module has left out of their average."""
    if CURRENT not in checkpoint:
        return checkpoint
    kept = checkpoint["state_dict"].keys()
    return checkpoint | {CURRENT: {name: value for name, value in checkpoint[CURRENT].items() if name in kept}}
