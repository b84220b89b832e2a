"""Figures about what is mined and merged while training, where the annotations that are missing are known."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torchvision.ops import box_iou

from lightning_modules.sparsedet.mining import overlapping
from networks.detection.labelled import LabelledBoxes


def mining_quality(mined: Sequence[Tensor], removed: Sequence[Tensor] | None) -> dict[str, Tensor]:
    """Return how much PPM mines and, where the removed boxes are known, how well, at an IoU of 0.5.

    Args:
        mined: B x (n, 4) xyxy.
        removed: B x (R, 4) xyxy.

    Returns:
        "mined" boxes a picture, "ppm_precision", the share of them that hit a removed box, and "ppm_recall", the share
        of removed boxes that is hit. A share of nothing is left out.
    """
    figures = {"mined": mean_count(mined)}
    if removed is None:
        return figures
    hits = [overlapping(each, gone) for each, gone in zip(mined, removed, strict=True)]
    found = [overlapping(gone, each) for each, gone in zip(mined, removed, strict=True)]
    return figures | share("ppm_precision", hits) | (share("ppm_recall", found) if sum(map(len, mined)) else {})


def merge_quality(
    targets: Sequence[LabelledBoxes], annotated: Sequence[LabelledBoxes], batch: Mapping[str, Any]
) -> dict[str, Tensor]:
    """Return how many detections joined the ground truth and, where removed boxes are known, how many are right.

    Args:
        targets: B x merged ground truth.
        annotated: B x sparse ground truth.
        batch: may have "removed_boxes" and "removed_labels".

    Returns:
        "merged" boxes a picture; "merge_precision", the share of them that hits a removed box of their class;
        "merge_recall", the share of removed boxes that is hit. A share of nothing is left out.
    """
    added = [_new(target, own) for target, own in zip(targets, annotated, strict=True)]
    figures = {"merged": mean_count([each.boxes for each in added])}
    if "removed_boxes" not in batch:
        return figures
    removed = [LabelledBoxes(*pair) for pair in zip(batch["removed_boxes"], batch["removed_labels"], strict=True)]
    right = [same_class_hits(new, gone) for new, gone in zip(added, removed, strict=True)]
    found = [same_class_hits(gone, new) for new, gone in zip(added, removed, strict=True)]
    return figures | share("merge_precision", right) | share("merge_recall", found)


def _new(target: LabelledBoxes, own: LabelledBoxes) -> LabelledBoxes:
    """Return what joined; an annotation may have gone, so that their number says nothing."""
    same = (target.boxes[:, None] == own.boxes).all(2) & (target.labels[:, None] == own.labels)
    joined = (~same.any(1)).nonzero()[:, 0]
    return LabelledBoxes(target.boxes[joined], target.labels[joined])


def same_class_hits(first: LabelledBoxes, second: LabelledBoxes, iou: float = 0.5) -> Tensor:
    """Return which (P,) boxes of ``first`` reach an IoU with a box of their class in ``second``."""
    alike = first.labels[:, None] == second.labels
    return ((box_iou(first.boxes.float(), second.boxes.float()) >= iou) & alike).any(1)


def mean_count(boxes: Sequence[Tensor]) -> Tensor:
    """Return the mean number of boxes a picture."""
    return torch.tensor([float(len(each)) for each in boxes]).mean()


def share(name: str, hits: Sequence[Tensor]) -> dict[str, Tensor]:
    """Return the share of True over all pictures by name, nothing if there is nothing to share."""
    every = torch.cat(list(hits))
    return {name: every.float().mean()} if len(every) else {}
