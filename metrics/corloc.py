"""Correct localisation: how often the one box proposed for an image finds an object."""

from typing import Any, Literal

import torch
from torch import Tensor
from torchmetrics import Metric
from typing_extensions import override

from metrics.estimate import Estimate


class CorLoc(Metric):
    """Fraction of images whose box overlaps any annotated box with an IoU of at least ``iou_threshold``.

    ``compute`` returns {"CorLoc": Estimate}, a fraction p in [0, 1] with its binomial standard error,
    sqrt(p (1 - p) / N). The denominator is the number of images, as in the official TokenCut
    evaluation that thesis section 8.3.3 uses.

    Args:
        iou_threshold: in (0, 1].
        without_boxes: what an image without any annotated box counts as: a "miss", or "skip" to leave it out. The
            official data sets have no such image.
    """

    full_state_update = False
    correct: Tensor
    images: Tensor

    def __init__(self, iou_threshold: float = 0.5, without_boxes: Literal["miss", "skip"] = "miss", **kwargs: Any):
        super().__init__(**kwargs)
        if without_boxes not in ("miss", "skip"):
            raise ValueError(f'without_boxes is "miss" or "skip", not {without_boxes!r}')
        self.iou_threshold, self.without_boxes = iou_threshold, without_boxes
        self.add_state("correct", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("images", torch.tensor(0), dist_reduce_fx="sum")

    @override
    def update(self, predicted: Tensor, boxes: Tensor) -> None:
        """Count one image.

        Args:
            predicted: (4,) xyxy in pixels.
            boxes: (N, 4) xyxy in the same pixels, the annotated objects.
        """
        from torchvision.ops import box_iou

        if len(boxes) == 0 and self.without_boxes == "skip":
            return
        self.images += 1
        if len(boxes) > 0:
            # In float64: an IoU that is exactly the threshold counts, and must not depend on rounding.
            overlap = box_iou(predicted[None].double(), boxes.to(predicted.device).double())
            self.correct += bool((overlap >= self.iou_threshold).any())

    @override
    def compute(self) -> dict[str, Estimate]:
        """Return the fraction of images found."""
        count = int(self.images)
        fraction = self.correct.double() / count if count else torch.tensor(torch.nan)
        error = (fraction * (1 - fraction) / count).sqrt() if count > 1 else torch.tensor(torch.nan)
        return {"CorLoc": Estimate(fraction, error, count)}
