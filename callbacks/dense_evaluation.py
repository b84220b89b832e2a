"""What every evaluation of dense features shares: which batches it takes, how it is summed up, logged and written."""

import csv
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torchmetrics import Metric

from errors import UserError
from networks.dense import HasDenseFeatures


@dataclass(frozen=True)
class Result:
    """One figure of one protocol: a row of ``results/<protocol>.csv`` in the run folder."""

    protocol: str
    metric: str
    method: str
    image_size: int
    value: float
    standard_error: float
    count: int


class Precise(nn.Module):
    """Dense features computed in the Trainer's precision and handed on in float32."""

    def __init__(self, features: nn.Module, trainer: Trainer):
        super().__init__()
        self.features, self.trainer = features, trainer

    def forward(self, images: Tensor) -> Tensor:  # noqa: D102
        with self.trainer.precision_plugin.forward_context():
            return self.features(images).float()


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


class DenseEvaluation(Callback, ABC):
    """Base of the protocols that need dense features and nothing else.

    It takes the validation and test batches whose ``batch["task"]`` is ``task``, computes one metric for every dense
    features of the module and every image size, and at the end of the epoch logs
    ``<protocol>/<metric>/<method>@<size>``, writes ``results/<protocol>.csv`` into the run folder and keeps the rows in
    ``results``; the protocol is named as the task unless the class says otherwise. Exact under DDP: samples are
    dealt without padding and the metrics gather them.

    Args:
        methods: which of the module's dense features to evaluate; all if None.
    """

    task: str
    protocol: str | None = None

    def __init__(self, methods: list[str] | None = None):
        self.methods = methods
        self.results: list[Result] = []
        self._metrics: dict[tuple[str, int], Metric] = {}

    @abstractmethod
    def new_metric(self) -> Metric:
        """Return an empty metric whose ``compute`` gives a dict of name to ``metrics.estimate.Estimate``."""

    @abstractmethod
    def update(self, metric: Metric, features: nn.Module, batch: Mapping[str, Any]) -> None:
        """Evaluate one batch of this task with one dense features."""

    @abstractmethod
    def image_size(self, batch: Mapping[str, Any]) -> int:
        """Return the side of the square images of this batch in pixels."""

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: D102
        self._metrics = {}

    def on_validation_batch_end(  # noqa: D102
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
        for name, features in dense_features_of(pl_module, self.methods).items():
            if (name, size) not in self._metrics:
                self._metrics[name, size] = self.new_metric().to(pl_module.device)
            with torch.no_grad():
                self.update(self._metrics[name, size], Precise(features, trainer), batch)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: D102
        self._complete_metrics(pl_module.device)
        if trainer.sanity_checking or not self._metrics:
            return
        self.results = []
        protocol = self.protocol or self.task
        for (method, size), metric in self._metrics.items():
            for name, estimate in metric.compute().items():
                value, error = float(estimate.value), float(estimate.standard_error)
                self.results.append(Result(protocol, name, method, size, value, error, int(estimate.count)))
                # Already equal on every rank: compute() has gathered the samples.
                pl_module.log(f"{protocol}/{name}/{method}@{size}", value, sync_dist=False)
        self._metrics = {}
        if trainer.is_global_zero:
            write_results(self.results, Path(trainer.default_root_dir) / "results" / f"{protocol}.csv")

    def _complete_metrics(self, device: torch.device) -> None:
        """Give every rank, in one order, a metric for what any rank has seen, because computing them is collective."""
        if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            return
        seen: list[list[tuple[str, int]]] = [[] for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather_object(seen, list(self._metrics))
        for key in dict.fromkeys(chain.from_iterable(seen)):
            mine = self._metrics.pop(key, None)
            self._metrics[key] = self.new_metric().to(device) if mine is None else mine

    on_test_epoch_start = on_validation_epoch_start
    on_test_batch_end = on_validation_batch_end
    on_test_epoch_end = on_validation_epoch_end


def write_results(results: list[Result], path: Path) -> None:
    """Write one row a figure, columns as in ``Result``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Result)])
        writer.writeheader()
        writer.writerows(asdict(result) for result in results)
