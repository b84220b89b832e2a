"""What every evaluation of generated images shares: which batches it takes, how it is summed up, logged and written."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torchmetrics import Metric
from typing_extensions import override

from callbacks.results.presentation import Presentation
from callbacks.results.result import Result, write_results
from networks.generated import Generated, Generates, frames_of
from visionscapes.errors import UserError
from visionscapes.processes import union_in_order

TASK = "translation"
Key = tuple[str, int]  # method and side of the images
Metrics = dict[Key, Metric]


class MethodEvaluation(Callback, ABC):
    """Base of the protocols that sum up what a module generates, by method, over an epoch.

    A metric sums up each method and size of images, and at the end of the epoch the rows are logged as
    ``<protocol>/<metric>/<method>`` (with ``@<size>`` where there are several sizes), written to
    results/<protocol>.csv in the run folder and kept in ``results``. Exact under DDP: samples are dealt without
    padding, processes may have different numbers of batches, and the metrics add up at the end of the epoch alone.

    Args:
        validate: whether to measure in validation epochs too, and not in tests alone.

    Attributes:
        protocol: its name in records, logs and files.
        presentation: how its rows are shown.
    """

    protocol: str
    presentation: Presentation

    def __init__(self, validate: bool):
        self.validate = validate
        self.results: list[Result] = []
        self._metrics: Metrics = {}

    @abstractmethod
    def new_metric(self, key: Key) -> Metric:
        """Return an empty metric of one method for images of one size."""

    @abstractmethod
    def measure(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Mapping[str, Any]) -> None:
        """Measure what a step has returned for a batch, if the batch is of a task of this protocol's."""

    @abstractmethod
    def rows(self, metrics: Metrics) -> list[Result]:
        """Return the rows; called by all processes, which have the same metrics in the same order."""

    def finish(self, trainer: Trainer, pl_module: LightningModule, metrics: Metrics) -> None:
        """Write more than rows, such as pictures; called by the first process after ``rows``."""

    def metric(self, pl_module: LightningModule, method: str, size: int) -> Any:
        """Return the metric of a method for images of a size, a new one if there is none yet."""
        if (method, size) not in self._metrics:
            self._metrics[method, size] = self.new_metric((method, size)).to(pl_module.device)
        return self._metrics[method, size]

    @override
    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._metrics = {}

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
        if isinstance(batch, Mapping):
            with torch.no_grad():
                self.measure(trainer, pl_module, outputs, batch)

    @override
    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._complete_metrics(pl_module.device)
        if not self._metrics:
            return
        self.results = self.rows(self._metrics)
        report(self.results, self.protocol, trainer, pl_module)
        if trainer.is_global_zero:
            self.finish(trainer, pl_module, self._metrics)
        self._metrics = {}

    @override
    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._metrics = {}

    @override
    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, *rest: Any) -> None:
        if self.validate and not trainer.sanity_checking:
            self.on_test_batch_end(trainer, pl_module, *rest)

    @override
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.validate and not trainer.sanity_checking:
            self.on_test_epoch_end(trainer, pl_module)

    def _complete_metrics(self, device: torch.device) -> None:
        """Give every process, in one order, a metric for what any has seen, because computing them is collective."""
        mine = self._metrics
        keys = union_in_order(list(mine))
        self._metrics = {key: mine[key] if key in mine else self.new_metric(key).to(device) for key in keys}


class GenerationEvaluation(MethodEvaluation):
    """Base of the protocols that measure translated images.

    It takes what ``validation_step`` or ``test_step`` returns for batches of task "translation", a
    ``networks.generated.Generated``, with the truth ``batch["image"]`` (B, 3, H, W) in [0, 1]. Methods are "image" for
    the output and the names of its parts. Of videos (B, T, 3, H, W), the generated and the true ones, every frame
    counts as an image where that makes sense.

    Args:
        validate: whether to measure in validation epochs too, and not in tests alone.

    Attributes:
        takes_videos: whether it measures videos frame by frame; otherwise it refuses them.

    Raises:
        UserError: in the run, a module that returns no ``Generated``, or videos for a protocol of images.
    """

    takes_videos: ClassVar[bool] = False

    @abstractmethod
    def update(self, trainer: Trainer, pl_module: LightningModule, generated: Generated, batch: Any) -> None:
        """Measure one batch of images; ``metric`` gives the metrics."""

    @override
    def measure(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Mapping[str, Any]) -> None:
        if batch.get("task") != TASK:
            return
        generated = generated_of(self, pl_module, outputs)
        if self.takes_videos and generated.times is not None:
            generated, batch = generated.frames(), {**batch, "image": frames_of(batch["image"])}
        check_images(self, generated)
        self.update(trainer, pl_module, generated, batch)


def report(results: list[Result], protocol: str, trainer: Trainer, pl_module: LightningModule) -> None:
    """Log rows that are equal on every process, and write them to results/<protocol>.csv."""
    several = len({row.image_size for row in results}) > 1
    for row in results:
        name = f"{protocol}/{row.metric}/{row.method}"
        pl_module.log(f"{name}@{row.image_size}" if several else name, row.value, sync_dist=False)
    if trainer.is_global_zero:
        write_results(results, Path(trainer.default_root_dir) / "results" / f"{protocol}.csv")


def generated_of(callback: Callback, pl_module: LightningModule, outputs: Any) -> Generated:
    """Return what a step has returned for a batch of task "translation".

    Raises:
        UserError: it is no ``Generated``.
    """
    if not isinstance(outputs, Generated):
        raise UserError(
            f"{type(callback).__name__} needs generated images, which {type(pl_module).__name__} does not return for a "
            "batch of task 'translation': use it with a module that translates images, or leave the callback out"
        )
    return outputs


def check_images(callback: Callback, generated: Generated) -> None:
    """Refuse videos.

    Raises:
        UserError: what was generated has frames.
    """
    if generated.times is not None:
        raise UserError(
            f"{type(callback).__name__} takes generated images, not videos (of {generated.times} frames here): leave "
            "the callback out"
        )


def generator_of(callback: Callback, pl_module: LightningModule) -> Generates:
    """Return the module as one that generates images whenever it is asked to.

    Raises:
        UserError: it has no ``generate``.
    """
    if not isinstance(pl_module, Generates):
        raise UserError(
            f"{type(callback).__name__} generates images anew, which {type(pl_module).__name__} cannot: use it with a "
            "module that translates images, or leave the callback out"
        )
    return pl_module


@contextmanager
def generating(trainer: Trainer) -> Iterator[None]:
    """Run what stands inside in the Trainer's precision and without gradients."""
    with torch.no_grad(), trainer.precision_plugin.forward_context():
        yield
