"""Pseudo-positive mining (thesis 3.2.4): which proposals are likely objects that nobody annotated."""

import torch
from torch import Tensor
from torchvision.ops import box_iou, nms


def pseudo_positives(boxes: Tensor, objectness: Tensor, annotated: Tensor, tau_ppm: float, tau_bg: float) -> Tensor:
    """Return which proposals are unlabeled regions: objects for the RPN, and far from all annotations.

    Without annotations the second condition holds for every proposal.

    Args:
        boxes: (P, 4) xyxy, proposals.
        objectness: (P,) in [0, 1].
        annotated: (N, 4) xyxy, the sparse ground truth.
        tau_ppm: least objectness, exclusive.
        tau_bg: largest IoU with any annotation, inclusive as in the official code; the thesis writes "less than".

    Returns:
        (P,) bool.
    """
    mined = objectness > tau_ppm
    if len(annotated):
        mined &= box_iou(boxes.float(), annotated.float()).amax(1) <= tau_bg
    return mined


def thinned(boxes: Tensor, objectness: Tensor, iou: float) -> Tensor:
    """Return the boxes that class-agnostic NMS leaves of the mined ones (thesis 3.2.5), by descending objectness.

    Args:
        boxes: (P, 4) xyxy.
        objectness: (P,).
        iou: above which the less certain of two boxes goes.
    """
    return boxes[nms(boxes.float(), objectness.float(), iou)]


def overlapping(boxes: Tensor, others: Tensor, iou: float = 0.5) -> Tensor:
    """Return which (P,) of ``boxes`` (P, 4) reach an IoU with any of ``others`` (N, 4)."""
    if not len(others):
        return torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    return (box_iou(boxes.float(), others.float()) >= iou).any(1)
