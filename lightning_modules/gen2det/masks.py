"""The mask loss, left out for generated pictures, of whose objects nobody knows the outline (thesis 7.2.4)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from networks.detection.samples import learns_masks
from visionscapes.errors import UserError


def check_masks(detector: Any) -> None:
    """Check that a detector can learn boxes without masks.

    Raises:
        UserError: it learns both in one head.
    """
    if learns_masks(detector) and not _roi_masks(detector):
        raise UserError(
            f"{type(detector).__name__} learns masks and boxes in one head, and generated pictures have no masks: "
            "choose a detector of boxes, or one with a head of its own for masks, such as Mask R-CNN"
        )


@contextmanager
def masks_left_out(detector: Any) -> Iterator[Tensor | None]:
    """Take the mask head out of a detector while the context lasts, so that its loss is of boxes alone.

    Yields:
        A scalar 0 that depends on every parameter of the mask head, to be added to the loss: all parameters keep a
        gradient, which several processes wait for. None if there is no mask head.
    """
    if not _roi_masks(detector):
        yield None
        return
    head = detector.roi_head.mask_head
    trained = [each for each in head.parameters() if each.requires_grad]
    detector.roi_head.mask_head = None
    try:
        yield torch.stack([each.sum() for each in trained]).sum() * 0 if trained else None
    finally:
        detector.roi_head.mask_head = head


def _roi_masks(detector: Any) -> bool:
    return bool(getattr(getattr(detector, "roi_head", None), "with_mask", False))
