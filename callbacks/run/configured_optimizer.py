"""Lets the configuration decide the optimiser's settings when a run goes on with other ones than it was begun with."""

from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from typing_extensions import override


class ConfiguredOptimizer(Callback):
    """Puts the configured learning rate, weight decay, ... in place of those that a checkpoint restores.

    An optimiser's state holds its settings beside its moments: without this, ``--model.lr`` would have no effect on a
    run that goes on from a checkpoint. A scheduler keeps its place: its learning rate is scaled by new/old. The command
    line adds this callback only where the configuration differs from the checkpoint, so that an unchanged run
    resumes exactly, whatever it has made of its settings meanwhile.
    """

    def __init__(self) -> None:
        self._configured: list[list[dict[str, Any]]] = []

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember the settings as configured: the optimisers exist, their state is not restored yet."""
        self._configured = [[_settings(group) for group in optimizer.param_groups] for optimizer in trainer.optimizers]

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put them back over the restored ones."""
        for optimizer, groups in zip(trainer.optimizers, self._configured, strict=True):
            for group, configured in zip(optimizer.param_groups, groups, strict=True):
                old, new = (values.get("initial_lr", values["lr"]) for values in (group, configured))
                scheduled = group["lr"] * (new / old) if old else new
                group.update(configured | {"lr": scheduled})
        for config in trainer.lr_scheduler_configs:
            scheduler = config.scheduler
            if hasattr(scheduler, "base_lrs"):
                scheduler.base_lrs = [group["initial_lr"] for group in scheduler.optimizer.param_groups]


def _settings(group: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in group.items() if key != "params"}
