"""How well predicted label maps agree with the true ones: mIoU and pixel accuracy."""

import torch
from torch import Tensor
from torchmetrics.classification import MulticlassConfusionMatrix
from typing_extensions import override


class SegmentationScores(MulticlassConfusionMatrix):
    """mIoU and pixel accuracy over all pixels of all label maps; those without a label do not count.

    The intersection over union of a class is that of its pixels in all maps together; the mean is over the classes that
    are predicted or true anywhere, as in the evaluation of SPADE (Park et al., CVPR 2019).

    Args:
        classes: number of labels.
        ignored: the label of pixels without one.

    Returns:
        ``compute`` gives "mIoU" and "pixel accuracy", in [0, 1]; NaN without any pixel.
    """

    images: Tensor

    def __init__(self, classes: int, ignored: int = 255):
        super().__init__(classes, ignore_index=ignored, validate_args=False)
        self.add_state("images", torch.tensor(0), dist_reduce_fx="sum")

    @override
    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add label maps.

        Args:
            preds: (B, H, W) integers, 0 to classes - 1.
            target: (B, H, W) integers, the same, or ``ignored``.
        """
        super().update(preds.long(), target.long())
        self.images += len(target)

    @override
    def compute(self) -> dict[str, Tensor]:  # type: ignore[override]
        """Return both figures, float64 scalars."""
        confusion = super().compute().double()
        right, all_of = confusion.diagonal(), confusion.sum(0) + confusion.sum(1) - confusion.diagonal()
        return {"mIoU": (right / all_of)[all_of > 0].mean(), "pixel accuracy": right.sum() / confusion.sum()}
