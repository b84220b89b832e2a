"""Objects without a mask among others that have one: their boxes are learnt, and no mask loss is made of them.

mmdet's heads would learn that such an object covers nothing. `networks.detection.samples.to_samples` marks them by a
field "with_mask" of the ground truth; here the two losses of masks that most detectors have learn to look at it.
"""

import functools
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

ROI_FIELDS = ("pos_priors", "pos_assigned_gt_inds", "pos_gt_labels")  # what the losses take of the sampled regions
DENSE_FIELDS = ("pos_priors", "pos_assigned_gt_inds", "pos_inds")


@functools.cache
def pass_over_absent_masks() -> None:
    """Let mmdet's mask head for regions, and that of RTMDet-Ins, pass over objects without a mask; once."""
    from mmdet.models.dense_heads.rtmdet_ins_head import RTMDetInsHead
    from mmdet.models.roi_heads.mask_heads import FCNMaskHead

    FCNMaskHead.loss_and_target = _of_regions(FCNMaskHead.loss_and_target)
    RTMDetInsHead.loss_mask_by_feat = _of_points(RTMDetInsHead.loss_mask_by_feat)


def passes_over_absent_masks(detector: Any) -> bool:
    """Return whether a detector of mmdet learns boxes of objects without a mask and passes over them in its mask loss.

    Those do whose masks are learnt by the heads that `pass_over_absent_masks` mends alone: Mask R-CNN, its cascade,
    CenterNet2 and RTMDet-Ins. Others compare masks in more places, or know objects by their masks only.
    """
    from mmdet.models.dense_heads.rtmdet_ins_head import RTMDetInsHead
    from mmdet.models.roi_heads import CascadeRoIHead, StandardRoIHead
    from mmdet.models.roi_heads.mask_heads import FCNMaskHead

    roi_head = getattr(detector, "roi_head", None)
    if roi_head is None:
        inside = getattr(detector, "bbox_head", None)
        return isinstance(inside, RTMDetInsHead) and type(inside).loss_mask_by_feat is RTMDetInsHead.loss_mask_by_feat
    heads = getattr(roi_head, "mask_head", None)
    heads = list(heads) if isinstance(heads, torch.nn.ModuleList) else [heads]
    return getattr(type(roi_head), "mask_loss", None) in (StandardRoIHead.mask_loss, CascadeRoIHead.mask_loss) and all(
        isinstance(head, FCNMaskHead) and type(head).loss_and_target is FCNMaskHead.loss_and_target for head in heads
    )


def with_boxes_for_masks(masks: Tensor, boxes: Tensor, with_mask: Tensor) -> Tensor:
    """Return masks with a filled box for every object that has none: some heads match objects by their masks' centres.

    Args:
        masks: (N, H, W) bool.
        boxes: (N, 4) xyxy pixels.
        with_mask: (N,) bool, on the CPU.
    """
    filled = masks.clone()
    for place in (~with_mask).nonzero().flatten().tolist():
        x1, y1, x2, y2 = boxes[place].round().int().tolist()
        filled[place, y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)] = True
    return filled


def _of_regions(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def loss_and_target(
        self: Any,
        mask_preds: Tensor,
        sampling_results: list[Any],
        batch_gt_instances: list[Any],
        *args: Any,
        **more: Any,
    ) -> Any:
        kept = _with_masks(sampling_results, batch_gt_instances)
        if kept is not None:
            mask_preds, sampling_results = mask_preds[torch.cat(kept)], _only(sampling_results, kept, ROI_FIELDS)
        return original(self, mask_preds, sampling_results, batch_gt_instances, *args, **more)

    return loss_and_target


def _of_points(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def loss_mask_by_feat(
        self: Any,
        mask_feats: Any,
        flatten_kernels: Tensor,
        sampling_results_list: list[Any],
        batch_gt_instances: list[Any],
    ) -> Any:
        kept = _with_masks(sampling_results_list, batch_gt_instances)
        if kept is not None:
            sampling_results_list = _only(sampling_results_list, kept, DENSE_FIELDS)
        loss = original(self, mask_feats, flatten_kernels, sampling_results_list, batch_gt_instances)
        return loss + 0 * flatten_kernels.float().sum()  # without any sample, too, DDP waits for their gradients

    return loss_mask_by_feat


def _with_masks(sampled: Sequence[Any], objects: Sequence[Any]) -> list[Tensor] | None:
    """Return which positive samples of each picture are of objects with a mask; None if no object lacks one."""
    if not any("with_mask" in each for each in objects):
        return None
    return [
        each.with_mask[result.pos_assigned_gt_inds]
        if "with_mask" in each
        else torch.ones_like(result.pos_assigned_gt_inds, dtype=torch.bool)
        for result, each in zip(sampled, objects, strict=True)
    ]


def _only(sampled: Sequence[Any], kept: Sequence[Tensor], fields: Sequence[str]) -> list[Any]:
    return [
        SimpleNamespace(**{field: getattr(result, field)[rows] for field in fields})
        for result, rows in zip(sampled, kept, strict=True)
    ]
