"""Merged ground truth (thesis 3.2.5): the sparse annotations together with confident detections."""

import torch
from torch import Tensor
from torchvision.ops import batched_nms, box_iou

from networks.detection.labelled import Detections, LabelledBoxes


def merged(
    annotated: LabelledBoxes, found: Detections, tau_m: float, iou: float = 0.5, keep_all: bool = True
) -> LabelledBoxes:
    """Combine annotations with the detections above ``tau_m`` by class-specific NMS, annotations first.

    Annotations carry score 1. The thesis ensures that none is discarded; the official code runs plain NMS, in which
    two overlapping annotations of a class suppress one another.

    Args:
        annotated: the sparse ground truth.
        found: detections of the same picture.
        tau_m: least score, exclusive.
        iou: above which a detection is another view of a box that is there already.
        keep_all: whether every annotation stays, as the thesis has it.

    Returns:
        The annotations, then the detections that are left, by descending score.
    """
    sure = found.scores > tau_m
    if keep_all:
        sure &= ~_covered(found, annotated, iou)
    count = len(annotated.boxes)
    sure = sure.nonzero()[:, 0]  # counted once: a GPU is waited for
    boxes = torch.cat([annotated.boxes.float(), found.boxes[sure].float()])
    labels = torch.cat([annotated.labels, found.labels[sure]])
    # Above every score that a detection can have, so that annotations win against ties.
    scores = torch.cat([boxes.new_full((count,), 2.0), found.scores[sure].float()])
    if keep_all:
        new = count + batched_nms(boxes[count:], scores[count:], labels[count:], iou)
        kept = torch.cat([torch.arange(count, device=new.device), new])
    else:
        kept = batched_nms(boxes, scores, labels, iou)
        kept = torch.cat([kept[kept < count].sort().values, kept[kept >= count]])
    return LabelledBoxes(boxes[kept], labels[kept])


def _covered(found: Detections, annotated: LabelledBoxes, iou: float) -> Tensor:
    """Return which (M,) detections are another view of an annotation of their class."""
    alike = found.labels[:, None] == annotated.labels
    return ((box_iou(found.boxes.float(), annotated.boxes.float()) > iou) & alike).any(1)
