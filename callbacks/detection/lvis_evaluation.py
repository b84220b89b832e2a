"""Average precision as LVIS defines it, where not every class is annotated in every picture."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from pytorch_lightning import LightningModule, Trainer
from typing_extensions import override

from callbacks.detection.evaluation import DetectionEvaluation, EvaluatedImage, Figure, columns, datamodule_of
from callbacks.results.presentation import SHARE, Presentation
from metrics.coco_average_precision import Curves, Federated, coco_curves
from visionscapes.errors import UserError


class LVISEvaluation(DetectionEvaluation):
    """LVIS' AP, AP50, APr, APc and APf of boxes, and of masks where detector and data set have them.

    "AP" is the mean over the IoU thresholds 0.50 to 0.95 and over the classes that have an object; "APr", "APc" and
    "APf" are of the rare, common and frequent classes. The 300 best detections of a picture count, without those of
    classes about which nothing is known in that picture. Where a class is not annotated exhaustively, detections
    without an object are no misses. The numbers are those of the lvis package.

    Takes validation and test batches of task "detection" (see ``DetectionEvaluation``) of a datamodule that has
    ``frequencies``; rows of protocol "lvis", methods "boxes" and "masks".

    Raises:
        UserError: in ``setup``, if the datamodule has no ``frequencies``.
    """

    protocol = "lvis"
    presentation = Presentation("Average precision (LVIS)", SHARE, ranked=False)

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not hasattr(datamodule_of(trainer, self), "frequencies"):
            raise UserError(
                "LVISEvaluation needs to know which classes are rare, and this datamodule has no frequencies: use it "
                "with LVISDetection, or evaluate with COCOEvaluation"
            )

    @override
    def figures(self, images: Sequence[EvaluatedImage], datamodule: Any) -> list[Figure]:
        annotated, detected = columns(images)
        federated = Federated(
            [image.negative for image in images],
            [image.not_exhaustive for image in images],
            datamodule.frequencies,
        )
        sizes, figures = [image.size for image in images], []
        for method in ["boxes"] if annotated.masks is None else ["boxes", "masks"]:
            curves = coco_curves(
                annotated, detected, sizes, len(datamodule.classes), masks=method == "masks", federated=federated
            )
            values = _summary(curves, np.array(federated.frequencies))
            figures += [Figure(name, method, value, count=len(images)) for name, value in values.items()]
        return figures


def _summary(curves: Curves, frequencies: np.ndarray) -> dict[str, float]:
    groups = {f"AP{group}": curves.average_precision(classes=frequencies == group) for group in "rcf"}
    return {"AP": curves.average_precision(), "AP50": curves.average_precision(50)} | groups
