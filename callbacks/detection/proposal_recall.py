"""How many objects the proposals of a two-stage detector cover, also those of classes that it was not taught."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pytorch_lightning import LightningModule, Trainer
from typing_extensions import override

from callbacks.detection.evaluation import DetectionEvaluation, Figure, as_array, datamodule_of
from callbacks.results.presentation import SHARE, Presentation
from visionscapes.checks import NonNegativeInt, PositiveInt, check_options
from visionscapes.errors import UserError

THRESHOLD = 0.5  # of the IoU


@dataclass(frozen=True)
class RecalledObjects:
    """The objects of a picture that are neither crowd nor difficult; N objects.

    Attributes:
        image_id: as the data set names it.
        labels: (N,) int64.
        recalled: (N,) bool, whether a proposal covers it.
    """

    image_id: int | str
    labels: np.ndarray
    recalled: np.ndarray


class ProposalRecall(DetectionEvaluation):
    """Recall of a two-stage detector's proposals at an IoU of 0.5 (thesis sections 3.3.7 and 3.5.1).

    Proposals know no classes, so that they may cover objects of classes which were not annotated in training: the
    recall is given for all classes and, where it is said that some are not known, for the known and the unknown ones.
    Crowds and difficult objects are left out. A proposal covers one object: pairs are formed from the highest IoU
    downwards, as in Detectron2's and mmdet's evaluation of proposals; the thesis does not say how.

    Takes test batches of task "detection" of a module with ``proposals(batch)``, which returns "boxes" (P, 4) xyxy in
    pixels of the original picture for every picture, the best first. Rows of protocol "proposals", method "boxes",
    metrics "recall@0.5", "recall@0.5 known" and "recall@0.5 unknown": recalled objects / objects, with the binomial
    standard error and the number of objects.

    Args:
        count: how many proposals of a picture to take, the best ones.
        known: labels in [0, K) of the known classes; the datamodule's ``known`` if None, if it has that.
        validation: whether to measure after validation epochs, too, which takes another pass through the network.

    Raises:
        UserError: ``count`` is below 1; in ``setup``, if the module has no proposals or ``known`` is not among the
            classes.
    """

    protocol = "proposals"
    presentation = Presentation("Recall of proposals", SHARE, ranked=False)

    def __init__(self, count: PositiveInt = 1000, known: list[NonNegativeInt] | None = None, validation: bool = False):
        check_options(ProposalRecall, locals())
        super().__init__()
        self.count, self.known, self.validation = count, known, validation

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not hasattr(pl_module, "proposals"):
            raise UserError(
                f"ProposalRecall needs a detector of two stages, and {type(pl_module).__name__} makes no proposals: "
                "leave the callback out"
            )
        datamodule = datamodule_of(trainer, self)
        strange = sorted(set(self._known(datamodule) or ()) - set(range(len(datamodule.classes))))
        if strange:
            raise UserError(
                f"known={strange} of ProposalRecall are no labels: they go from 0 to {len(datamodule.classes) - 1}"
            )

    @override
    def collect(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Mapping[str, Any]
    ) -> list[RecalledObjects]:
        if not (trainer.testing or self.validation):
            return []
        with torch.no_grad(), trainer.precision_plugin.forward_context():
            proposals = pl_module.proposals(batch)  # type: ignore[operator]
        records = []
        for image_id, truth, proposed in zip(batch["image_id"], batch["truth"], proposals, strict=True):
            wanted = ~truth["ignored"]
            boxes = as_array(truth["boxes"][wanted])
            recalled = covered(boxes, as_array(proposed["boxes"][: self.count]))
            records.append(RecalledObjects(image_id, as_array(truth["labels"][wanted]), recalled))
        return records

    @override
    def figures(self, images: Sequence[RecalledObjects], datamodule: Any) -> list[Figure]:
        labels = np.concatenate([image.labels for image in images])
        recalled = np.concatenate([image.recalled for image in images])
        figures = [_recall("recall@0.5", recalled)]
        known = self._known(datamodule)
        if known is not None and len(set(known)) < len(datamodule.classes):
            is_known = np.isin(labels, list(known))
            figures.append(_recall("recall@0.5 known", recalled[is_known]))
            figures.append(_recall("recall@0.5 unknown", recalled[~is_known]))
        return figures

    def _known(self, datamodule: Any) -> Sequence[int] | None:
        return getattr(datamodule, "known", None) if self.known is None else self.known


def covered(boxes: np.ndarray, proposals: np.ndarray) -> np.ndarray:
    """Return which boxes have a proposal of their own with an IoU of at least 0.5, pairs formed from the highest down.

    Args:
        boxes: (N, 4) xyxy.
        proposals: (P, 4) xyxy.

    Returns:
        (N,) bool.
    """
    from torchvision.ops import box_iou

    found = np.zeros(len(boxes), dtype=bool)
    if not len(boxes) or not len(proposals):
        return found
    overlaps = box_iou(torch.from_numpy(boxes).double(), torch.from_numpy(proposals).double()).numpy()
    while overlaps.max() >= THRESHOLD:
        box, proposal = np.unravel_index(overlaps.argmax(), overlaps.shape)
        found[box] = True
        overlaps[box], overlaps[:, proposal] = -1, -1
    return found


def _recall(metric: str, recalled: np.ndarray) -> Figure:
    count = len(recalled)
    if not count:
        return Figure(metric, "boxes", float("nan"), count=0)
    value = float(recalled.mean())
    error = (value * (1 - value) / count) ** 0.5 if count > 1 else float("nan")
    return Figure(metric, "boxes", value, count=count, standard_error=error)
