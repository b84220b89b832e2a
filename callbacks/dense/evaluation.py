"""What every evaluation of dense features shares: which batches it takes, how it is summed up, logged and written."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torchmetrics import Metric
from typing_extensions import override

from callbacks.results.array_store import Arrays, store_of
from callbacks.results.presentation import Presentation
from callbacks.results.result import Result, layer_results, plain_settings, write_results
from networks.cells import Cells, Grid, cells_of
from networks.dense import HasDenseFeatures, by_layer, check_finite
from networks.frozen import remembering
from networks.vit_features import ViTFeatures
from networks.vit_layers import HasLayers, Layered
from visionscapes.errors import UserError
from visionscapes.processes import union_in_order

MetricOfLayer = Callable[[str], Metric]


class Precise(nn.Module):
    """Dense features computed in the Trainer's precision and handed on in float32, as one map (B, C, h, w) a layer.

    The name of the layer is empty where the features are those of one layer.

    Args:
        features: dense features.
        trainer: of the run.
        name: under which results report them.

    Raises:
        UserError: in ``forward``, features that are not finite.
    """

    def __init__(self, features: nn.Module, trainer: Trainer, name: str = "features"):
        super().__init__()
        self.features, self.trainer, self.name = features, trainer, name

    @override
    def forward(self, images: Tensor) -> dict[str, Tensor]:
        with self.trainer.precision_plugin.forward_context():
            maps = by_layer(self.features(images))
        for layer, features in maps.items():
            check_finite(features, f"'{self.name}'{layer and f', layer {layer},'}", self.trainer.precision)
        return {layer: features.float() for layer, features in maps.items()}


def dense_features_of(module: nn.Module, names: list[str] | None = None) -> dict[str, nn.Module]:
    """Return the dense features that ``module`` offers, by name.

    Args:
        module: has ``dense_features()``, or is dense features itself (then its name is "features").
        names: the ones wanted, in this order; all if None.

    Raises:
        UserError: a name that the module does not offer.
    """
    offered = dict(module.dense_features()) if isinstance(module, HasDenseFeatures) else {"features": module}
    unknown = set(names or ()) - offered.keys()
    if unknown:
        raise UserError(f"methods {sorted(unknown)} are not offered by {type(module).__name__}; it has {list(offered)}")
    return {name: offered[name] for name in names or offered}


def check_methods(module: nn.Module, names: list[str] | None) -> None:
    """Look at names of dense features before a training at whose end they are wanted.

    Raises:
        UserError: a name that the module does not offer.
    """
    if names is not None:
        dense_features_of(module, names)


def check_grid(module: nn.Module, names: list[str] | None, grid: Grid) -> None:
    """Look before a training whether dense features say where their cells lie, where that is wanted at its end.

    Raises:
        UserError: they do not.
    """
    if grid == "covered":
        for name, features in dense_features_of(module, names).items():
            cells_of(features, name)


def shared_networks(module: nn.Module) -> list[nn.Module]:
    """Return the frozen ViTs of a module, which several of its dense features begin with."""
    return [part for part in module.modules() if isinstance(part, ViTFeatures)]


class DenseEvaluation(Callback, ABC):
    """Base of the protocols that need dense features and nothing else.

    It takes the validation and test batches whose ``batch["task"]`` is ``task``, computes one metric for every method
    that the module offers in ``dense_features()`` and every image size, and at the end of the epoch logs
    ``<protocol>/<metric>/<method>@<size>``, writes ``results/<protocol>.csv`` into the run folder and keeps the rows in
    ``results``; the protocol is named as the task unless the class says otherwise. Exact under DDP: samples are
    dealt without padding and the metrics gather them.

    A protocol that speaks of pixels has ``grid``: "official" takes the cells of features to tile the image evenly, as
    the authors' code does; "covered" takes them where they are, see ``networks.cells``.

    Dense features of several layers (``networks.vit_layers.Layered``) come from one pass and have a metric a layer;
    their results are kept beside the runs (``callbacks.results.array_store``) and not measured again.

    Args:
        methods: which of the module's dense features to evaluate; all if None.
    """

    task: str
    protocol: str | None = None
    presentation: Presentation
    grid: Grid = "official"

    def __init__(self, methods: list[str] | None = None):
        self.methods = methods
        self.results: list[Result] = []
        self._metrics: dict[tuple[str, int, str], Metric] = {}
        self._kept: dict[str, Arrays] = {}

    @abstractmethod
    def new_metric(self) -> Metric:
        """Return an empty metric whose ``compute`` gives a dict of name to ``metrics.estimate.Estimate``."""

    @abstractmethod
    def update(self, metrics: MetricOfLayer, features: Precise, batch: Mapping[str, Any]) -> None:
        """Measure a batch of this task on one method's dense features; ``metrics(layer)`` is the metric of a layer."""

    @abstractmethod
    def image_size(self, batch: Mapping[str, Any]) -> int:
        """Return the side of the square images of this batch in pixels."""

    def cells_of(self, features: Precise) -> Cells | None:
        """Return where the cells of features lie; None if they are taken to tile every image evenly.

        Raises:
            UserError: ``grid`` is "covered" and the features do not say.
        """
        return None if self.grid == "official" else cells_of(features.features, features.name)

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        check_methods(pl_module, self.methods)
        check_grid(pl_module, self.methods, self.grid)

    @override
    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._metrics, self._kept = {}, self.kept(trainer, pl_module)

    @override
    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if not isinstance(batch, Mapping) or batch.get("task") != self.task:
            return
        size = self.image_size(batch)
        with torch.no_grad(), remembering(shared_networks(pl_module)):
            for name, features in dense_features_of(pl_module, self.methods).items():
                if name not in self._kept:
                    metrics = partial(self._metric, pl_module.device, name, size)
                    self.update(metrics, Precise(features, trainer, name), batch)

    def _metric(self, device: torch.device, name: str, size: int, layer: str) -> Metric:
        if (name, size, layer) not in self._metrics:
            self._metrics[name, size, layer] = self.new_metric().to(device)
        return self._metrics[name, size, layer]

    @override
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._complete_metrics(pl_module.device)
        if trainer.sanity_checking or not (self._metrics or self._kept):
            return
        protocol = self.protocol or self.task
        self.results = [
            Result(
                protocol,
                name,
                method,
                image_size=size,
                value=float(each.value),
                standard_error=float(each.standard_error),
                count=int(each.count),
            )
            for (method, size, layer), metric in self._metrics.items()
            if not layer
            for name, each in metric.compute().items()
        ]
        self.results += self._results_of_layers(trainer, pl_module, protocol)
        for row in self.results:
            # Already equal on every rank: compute() has gathered the samples.
            if " @" not in row.metric:
                name = f"{protocol}/{row.metric}/{row.method}@{row.image_size}"
                pl_module.log(name, row.value, sync_dist=False)
        self._metrics = {}
        if trainer.is_global_zero:
            write_results(self.results, Path(trainer.default_root_dir) / "results" / f"{protocol}.csv")

    def kept(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Arrays]:
        """Return what was measured before of dense features of several layers, by their name."""
        found = {}
        for name in self._layered(pl_module):
            store, settings = store_of(trainer, pl_module), plain_settings(self)
            found[name] = store.find(name, self.protocol or self.task, [self.task], settings)
        return {name: arrays for name, arrays in found.items() if arrays is not None}

    def needed_tasks(self, trainer: Trainer, pl_module: LightningModule) -> set[str]:
        """Return the task, or nothing if all dense features were measured before."""
        known = self.kept(trainer, pl_module)
        return set() if known.keys() == dense_features_of(pl_module, self.methods).keys() else {self.task}

    def _layered(self, pl_module: LightningModule) -> dict[str, Layered]:
        """Return those of the dense features that give several layers."""
        if not isinstance(pl_module, HasLayers):
            return {}
        features = dense_features_of(pl_module, self.methods)
        return {name: each for name, each in features.items() if isinstance(each, Layered)}

    def _results_of_layers(self, trainer: Trainer, pl_module: LightningModule, protocol: str) -> list[Result]:
        """Return rows for dense features of several layers, from the metrics or as kept, and keep them."""
        results: list[Result] = []
        for name, vit in self._layered(pl_module).items():
            if name not in self._kept:
                by_layer = {int(layer): m for (method, _, layer), m in self._metrics.items() if method == name}
                if not by_layer:
                    continue
                estimates = [by_layer[layer].compute() for layer in sorted(by_layer)]
                self._kept[name] = {key: np.array([float(e[key].value) for e in estimates]) for key in estimates[0]}
                store_of(trainer, pl_module).keep(name, protocol, [self.task], plain_settings(self), self._kept[name])
            for metric, values in self._kept[name].items():
                label = f"dense {metric}" if self.task.startswith("dense-") else metric
                results += layer_results(protocol, label, name, vit.data_size, values)
        if self._kept:
            store_of(trainer, pl_module).show(protocol, self._kept)
        return results

    def _complete_metrics(self, device: torch.device) -> None:
        """Give every rank, in one order, a metric for what any rank has seen, because computing them is collective."""
        for key in union_in_order(list(self._metrics)):
            mine = self._metrics.pop(key, None)
            self._metrics[key] = self.new_metric().to(device) if mine is None else mine

    on_test_epoch_start = on_validation_epoch_start
    on_test_batch_end = on_validation_batch_end
    on_test_epoch_end = on_validation_epoch_end
