"""Average precision as COCO defines it, of several kinds of pictures, each by itself, and their mean."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.utilities import rank_zero_warn
from typing_extensions import override

from callbacks.detection.coco_evaluation import COCOEvaluation
from callbacks.detection.evaluation import EvaluatedImage, Figure, datamodule_of
from callbacks.results.presentation import SHARE, Presentation
from visionscapes.errors import UserError

MEAN = "mean"  # in place of a domain


class DomainEvaluation(COCOEvaluation):
    """COCO's figures of boxes of every domain of a data set, as if it were one of its own, and their mean.

    The figures are those of ``COCOEvaluation``. The mean weighs all domains alike, however many pictures they have,
    which is how the "mean AP" of thesis 7.5.2 is read here; a domain that has nothing to find for a figure, such as no
    small objects, is left out of its mean. Where a domain has no picture, as with limited batches, there is no mean.

    Takes validation and test batches of task "detection" (see ``DetectionEvaluation``) of a datamodule that has
    ``domains``, names in order, and ``domain_of``, image id -> domain, such as ``datamodules.COCOO``; rows of protocol
    "domains", methods the domains and "mean".

    Raises:
        UserError: in ``setup``, if the datamodule has no domains.
    """

    protocol = "domains"
    presentation = Presentation("Average precision (COCO) by domain", SHARE, ranked=False, columns=7)

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not hasattr(datamodule_of(trainer, self), "domain_of"):
            raise UserError(
                "DomainEvaluation needs to know of which domain pictures are, and this datamodule has no domain_of: "
                "use it with COCOO, or evaluate with COCOEvaluation"
            )

    @override
    def figures(self, images: Sequence[EvaluatedImage], datamodule: Any) -> list[Figure]:
        parts: dict[str, list[EvaluatedImage]] = {domain: [] for domain in datamodule.domains}
        for image in images:
            parts[datamodule.domain_of(image.image_id)].append(replace(image, found_masks=None, true_masks=None))
        found = [
            replace(figure, method=domain)
            for domain, own in parts.items()
            if own
            for figure in super(DomainEvaluation, self).figures(own, datamodule)
        ]
        if empty := [domain for domain, own in parts.items() if not own]:
            rank_zero_warn(f"there is no mean over the domains: of {', '.join(empty)} no picture was evaluated")
            return found
        return found + means(found)


def means(figures: Sequence[Figure]) -> list[Figure]:
    """Return for every metric the mean of its figures that are not NaN; NaN where all are."""
    by_metric: dict[str, list[Figure]] = {}
    for figure in figures:
        by_metric.setdefault(figure.metric, []).append(figure)
    return [
        Figure(metric, MEAN, _mean([each.value for each in own]), count=sum(each.count for each in own))
        for metric, own in by_metric.items()
    ]


def _mean(values: Sequence[float]) -> float:
    known = np.array(values)[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
