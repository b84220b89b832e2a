"""What the analyses of chapter 2 share: one pass a model and batch for all of them, results a layer, kept arrays."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torchmetrics import Metric
from typing_extensions import override

from callbacks.results.array_store import Arrays, store_of
from callbacks.results.presentation import Presentation
from callbacks.results.result import Result, layer_results, plain_settings, write_results
from networks.vit_layers import HasLayers, Layered, Observer
from visionscapes.errors import UserError
from visionscapes.processes import gather_objects


class LayerEvaluation(Callback, ABC):
    """Base of the protocols that look at every layer of every ViT that the module offers.

    A batch whose ``batch["task"]`` is in ``tasks`` passes once through each ViT, whichever and however many of these
    callbacks want it: the first of them does the pass and shows every block to all. What a model has gathered is
    turned into arrays as soon as the last loader of the tasks is through, written by ``callbacks.results.array_store``,
    and taken from there the next time, so that one more model costs one model and an interrupted run goes on.

    Exact under DDP: samples are dealt without padding, and states are ``torchmetrics.Metric``, which gather them.
    """

    protocol: str
    presentation: Presentation
    tasks: tuple[str, ...]
    needs_attention: bool = False

    def __init__(self) -> None:
        self.results: list[Result] = []
        self.arrays: dict[str, Arrays] = {}
        self._states: dict[str, Metric] = {}
        self._finished = False

    @abstractmethod
    def new_state(self, vit: Layered) -> Metric:
        """Return an empty state for one model; its ``compute`` gives the arrays by name (tensors or arrays)."""

    @abstractmethod
    def observer(self, state: Metric, vit: Layered, batch: Mapping[str, Any]) -> Observer:
        """Return what looks at every block while ``batch["image"]`` passes, and adds to ``state``."""

    @abstractmethod
    def figures(self, arrays: Arrays) -> dict[str, np.ndarray]:
        """Return the figures of one model by the name of the metric: (L,) one a layer, or () one in all."""

    def observe(self, vit: Layered, batch: Mapping[str, Any], peers: list[tuple["LayerEvaluation", Metric]]) -> None:
        """Let one batch pass through one ViT; ``peers`` are the callbacks that look on, with their states."""
        vit.check(batch["image"])  # before anything is counted
        observers = [peer.observer(state, vit, batch) for peer, state in peers]
        vit.visit(batch["image"], observers, attention=any(peer.needs_attention for peer, _ in peers))

    @override
    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        models = layered_of(pl_module)
        self.results, self._states, self._finished = [], {}, False
        self.arrays = self.kept(trainer, pl_module)
        for name, vit in models.items():
            if name not in self.arrays and self.measures(vit):
                self._states[name] = self.new_state(vit).to(pl_module.device)

    def kept(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Arrays]:
        """Return the arrays of the models that were measured before, by name."""
        store, settings = store_of(trainer, pl_module), plain_settings(self)
        found = {name: store.find(name, self.protocol, self.tasks, settings) for name in layered_of(pl_module)}
        return {name: arrays for name, arrays in found.items() if arrays is not None}

    def needed_tasks(self, trainer: Trainer, pl_module: LightningModule) -> set[str]:
        """Return the tasks of which this protocol still needs the data: none if all models were measured before."""
        kept, models = self.kept(trainer, pl_module), layered_of(pl_module)
        missing = any(name not in kept and self.measures(vit) for name, vit in models.items())
        return set(self.tasks) if missing else set()

    def measures(self, vit: Layered) -> bool:
        """Whether this protocol has anything to measure of a model; attention has not of random features."""
        return True

    @override
    def on_test_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if batch_idx == 0 and not self._finished and not self._expected(trainer, dataloader_idx):
            self._finish(trainer, pl_module)

    @override
    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if not self._wants(batch):
            return
        peers = [c for c in trainer.callbacks if isinstance(c, LayerEvaluation) and c._wants(batch)]  # type: ignore[attr-defined]
        if peers[0] is not self:
            return
        for name, vit in layered_of(pl_module).items():
            looking = [(peer, peer._states[name]) for peer in peers if name in peer._states]
            if looking:
                with torch.no_grad(), trainer.precision_plugin.forward_context():
                    self.observe(vit, batch, looking)

    @override
    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self._finished:
            self._finish(trainer, pl_module)

    def _wants(self, batch: Any) -> bool:
        return isinstance(batch, Mapping) and batch.get("task") in self.tasks and not self._finished

    def _expected(self, trainer: Trainer, first: int) -> bool:
        """Whether a loader from position ``first`` on still brings one of the tasks."""
        loaders = trainer.test_dataloaders
        names = list(loaders)[first:] if isinstance(loaders, Mapping) else []
        return not names or any(name.partition("@")[0] in self.tasks for name in names)

    def _finish(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Turn what every model has gathered into arrays, keep them, and write the figures."""
        self._finished = True
        store = store_of(trainer, pl_module)
        for name in layered_of(pl_module):
            state = self._states.pop(name, None)
            # Computing is collective: a rank that has seen no sample takes part as soon as another one has.
            if state is None or not any(gather_objects(state.update_called)):
                continue
            arrays = {key: _numpy(value) for key, value in state.compute().items()}
            self.arrays[name] = arrays
            store.keep(name, self.protocol, self.tasks, plain_settings(self), arrays)
        if not self.arrays:
            return
        self.results = self._results(layered_of(pl_module))
        store.show(self.protocol, self.arrays)
        if trainer.is_global_zero:
            write_results(self.results, Path(trainer.default_root_dir) / "results" / f"{self.protocol}.csv")

    def _results(self, models: dict[str, Layered]) -> list[Result]:
        return [
            row
            for name, vit in models.items()
            if name in self.arrays
            for metric, values in self.figures(self.arrays[name]).items()
            for row in layer_results(self.protocol, metric, name, vit.data_size, values)
        ]


def layered_of(module: LightningModule) -> dict[str, Layered]:
    """Return the ViTs that a module offers.

    Raises:
        UserError: it offers none.
    """
    if not isinstance(module, HasLayers):
        raise UserError(
            f"{type(module).__name__} offers no ViT layer by layer, which the analyses of chapter 2 need: "
            "run them with lightning_modules.ViTAnalysis"
        )
    return module.layered()


def _numpy(value: Any) -> np.ndarray:
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
