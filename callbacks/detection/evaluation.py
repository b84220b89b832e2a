"""What the protocols of object detection share: what they collect, how ranks come together, what is logged."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor
from typing_extensions import override

from callbacks.results.presentation import Presentation
from callbacks.results.result import Result, write_results
from metrics.detections import RLE, Annotated, Detected
from visionscapes.errors import UserError
from visionscapes.processes import computed_once


@dataclass(frozen=True)
class Figure:
    """One figure of a protocol.

    Attributes:
        metric: its name.
        method: what it was computed of, "boxes" or "masks".
        value: in [0, 1], or NaN where there is nothing to find.
        count: how many pictures or objects it is a figure of.
        standard_error: of the value, or NaN.
    """

    metric: str
    method: str
    value: float
    count: int
    standard_error: float = float("nan")


@dataclass(frozen=True)
class EvaluatedImage:
    """What an evaluation keeps of a picture until the end of the epoch; M detections, N annotated objects.

    Attributes:
        image_id: as the data set names it.
        size: height and width in pixels.
        found: "boxes" (M, 4) xyxy, "scores" (M,), "labels" (M,).
        truth: "boxes" (N, 4) xyxy, "labels" (N,), "areas" (N,), "ignored" (N,).
        found_masks: M compressed RLE, or None if the detector has no masks or the data set has none.
        true_masks: N compressed RLE, or None likewise.
        negative: labels that were verified to be absent (LVIS).
        not_exhaustive: labels of which not every object is annotated (LVIS).
    """

    image_id: int | str
    size: tuple[int, int]
    found: dict[str, np.ndarray]
    truth: dict[str, np.ndarray]
    found_masks: list[RLE] | None = None
    true_masks: list[RLE] | None = None
    negative: tuple[int, ...] = ()
    not_exhaustive: tuple[int, ...] = ()


class DetectionEvaluation(Callback, ABC):
    """Base of the protocols of object detection.

    It takes what the module's ``validation_step`` or ``test_step`` returns for batches of task "detection", a dict with
    "boxes" (M, 4) xyxy in pixels of the original picture, "scores" (M,), "labels" (M,) and, of a detector with masks,
    "masks" (M compressed RLE) for every picture, and compares it with ``batch["truth"]``. At the end of the epoch the
    pictures of all ranks come together on the first, which computes the figures; every rank logs
    ``<protocol>/<metric>/<method>``. The figures do not depend on the number of processes: pictures are sorted by
    their ids. They are written to results/<protocol>.csv in the run folder and kept as rows in ``results``.

    A figure is 0 if nothing is detected, and NaN if there is nothing to find. All detection batches of an epoch count
    as one set; without any, or in the sanity check, nothing is logged.
    """

    protocol: str
    presentation: Presentation

    def __init__(self) -> None:
        self.results: list[Result] = []
        self._collected: list[Any] = []

    @abstractmethod
    def figures(self, images: Sequence[Any], datamodule: Any) -> list[Figure]:
        """Return the figures of all pictures, sorted by their ids, at least one; called on one rank."""

    def collect(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Mapping[str, Any]) -> list:
        """Return what to keep of a batch: for every picture a record with an ``image_id`` that can be pickled."""
        found = detections(self, pl_module, outputs, batch)
        images = zip(batch["image_id"], batch["size"], found, batch["truth"], strict=True)
        return [evaluated(*image) for image in images]

    @override
    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._collected = []

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
        if trainer.sanity_checking or not isinstance(batch, Mapping) or batch.get("task") != "detection":
            return
        self._collected += self.collect(trainer, pl_module, outputs, batch)

    @override
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking:
            return
        mine, self._collected = self._collected, []
        datamodule = datamodule_of(trainer, self)

        def compute(images: list[Any]) -> list[Figure]:
            return self.figures(sorted(images, key=in_order), datamodule) if images else []

        size = datamodule.test_size
        self.results = [
            Result(
                self.protocol,
                each.metric,
                each.method,
                image_size=size,
                value=each.value,
                standard_error=each.standard_error,
                count=each.count,
            )
            for each in computed_once(mine, compute)
        ]
        for row in self.results:
            pl_module.log(f"{self.protocol}/{row.metric}/{row.method}", row.value, sync_dist=False)
        if self.results and trainer.is_global_zero:
            write_results(self.results, Path(trainer.default_root_dir) / "results" / f"{self.protocol}.csv")

    on_test_epoch_start = on_validation_epoch_start
    on_test_batch_end = on_validation_batch_end
    on_test_epoch_end = on_validation_epoch_end


def evaluated(image_id: int | str, size: Tensor, found: Mapping[str, Any], truth: Mapping[str, Any]) -> EvaluatedImage:
    """Return the record of one picture, on the CPU.

    Args:
        image_id: as the data set names it.
        size: (2,) height and width.
        found: the detections, as ``DetectionEvaluation`` says.
        truth: the annotations, as ``datamodules.detection.samples`` says.
    """
    found_masks, true_masks = found.get("masks"), truth.get("masks")
    if found_masks is None or true_masks is None:
        found_masks = true_masks = None
    height, width = (int(side) for side in size)
    return EvaluatedImage(
        image_id,
        (height, width),
        {key: as_array(found[key]) for key in ("boxes", "scores", "labels")},
        truth={key: as_array(truth[key]) for key in ("boxes", "labels", "areas", "ignored")},
        found_masks=found_masks,
        true_masks=true_masks,
        negative=tuple(truth.get("negative", ())),
        not_exhaustive=tuple(truth.get("not_exhaustive", ())),
    )


def as_array(tensor: Tensor) -> np.ndarray:
    """Return a tensor as an array of its own, floats in float32: numpy has no bfloat16."""
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()


def columns(images: Sequence[EvaluatedImage]) -> tuple[Annotated, Detected]:
    """Return the annotated and the detected objects of all pictures; with masks if every picture has both."""
    with_masks = all(image.found_masks is not None for image in images)
    truth, found = [image.truth for image in images], [image.found for image in images]
    annotated = Annotated(
        _pictures(truth),
        _joined(truth, "labels"),
        _joined(truth, "boxes"),
        areas=_joined(truth, "areas"),
        ignored=_joined(truth, "ignored"),
        masks=[mask for image in images for mask in image.true_masks or ()] if with_masks else None,
    )
    detected = Detected(
        _pictures(found),
        _joined(found, "labels"),
        _joined(found, "boxes"),
        scores=_joined(found, "scores"),
        masks=[mask for image in images for mask in image.found_masks or ()] if with_masks else None,
    )
    return annotated, detected


def _pictures(parts: list[dict[str, np.ndarray]]) -> np.ndarray:
    return np.repeat(np.arange(len(parts)), [len(part["labels"]) for part in parts])


def _joined(parts: list[dict[str, np.ndarray]], key: str) -> np.ndarray:
    return np.concatenate([part[key] for part in parts])


def in_order(image: Any) -> tuple[bool, int | str]:
    """Return by what pictures are sorted: numbers, then names."""
    return isinstance(image.image_id, str), image.image_id


def detections(
    callback: Callback, pl_module: LightningModule, outputs: Any, batch: Mapping[str, Any]
) -> Sequence[Mapping[str, Any]]:
    """Return what a step has given for a batch of task "detection", a dict for every picture.

    Raises:
        UserError: the module does not detect.
    """
    if not isinstance(outputs, Sequence) or len(outputs) != len(batch["image_id"]):
        raise UserError(
            f"{type(callback).__name__} needs the detections of every picture, which {type(pl_module).__name__} does "
            "not return for a batch of task 'detection': use it with a detector, or leave the callback out"
        )
    return outputs


def datamodule_of(trainer: Trainer, callback: Callback) -> Any:
    """Return the datamodule, which says what the classes are and how large pictures are.

    Raises:
        UserError: the data are not for detection.
    """
    datamodule = getattr(trainer, "datamodule", None)
    if not hasattr(datamodule, "test_size"):
        raise UserError(f"{type(callback).__name__} needs a datamodule of object detection, such as COCODetection")
    return datamodule
