"""How hard annotated objects are for a detector: what each costs it at its own box (thesis 9.1.1).

The thesis wants pictures "which incur a higher loss" and gives no formula. Here the annotated boxes themselves are
handed to the box head as proposals: nothing has to be matched, and the loss can be differentiated by the picture.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_modules.gen2det.loss import BOXES
from networks.detection.federated_loss import FederatedLoss
from networks.detection.samples import preprocess
from visionscapes.errors import UserError

# By their exact class: those derived from them ask other features, or more than boxes.
ROI_HEADS = ("StandardRoIHead", "MaskScoringRoIHead", "CascadeRoIHead", "CenterNet2RoIHead")
LEAST_SIDE = 1e-2  # pixels; a box without area has no logarithm of its sides


class BoxStage(NamedTuple):
    """A stage of a detector that classifies proposals and moves their boxes.

    Attributes:
        extractor: of the features of proposals.
        head: for their classes and boxes.
        weight: of its loss among those of all stages.
    """

    extractor: Any
    head: Any
    weight: float


def instance_losses(
    detector: Any, images: Sequence[Tensor], boxes: Sequence[Tensor], labels: Sequence[Tensor]
) -> list[Tensor]:
    """Return what every annotated object costs a detector: -log p(class) + loss of its box, at the annotated box.

    Both are weighed as in the detector's training. Of a cascade it is the weighted mean of its stages, each of which
    gets the annotated boxes. A picture's hardness is the mean over its objects.

    Args:
        detector: of mmdet, of two stages, in evaluation mode, see `box_stages`.
        images: B x (3, H, W) RGB in [0, 255], uint8, or float to differentiate by; the sizes may differ.
        boxes: B x (N, 4) xyxy in pixels of these pictures.
        labels: B x (N,) int64, of the detector.

    Returns:
        B x (N,) float32, not negative.

    Raises:
        UserError: a detector with other heads.
    """
    from mmdet.structures.bbox import bbox2roi

    stages = box_stages(detector)
    counts = [len(each) for each in boxes]
    if not sum(counts):
        return [each.new_zeros(0, dtype=torch.float32) for each in boxes]
    inputs, _ = preprocess(detector, images, [], training=False)
    rois = bbox2roi([_with_area(each.to(inputs.device, torch.float32)) for each in boxes])
    wanted = torch.cat([each.to(inputs.device) for each in labels])
    # In float32: mmdet rounds the coordinates of RoIs to the type of the features.
    features = [level.float() for level in detector.extract_feat(inputs)]
    losses = []
    for extractor, head, weight in stages:
        pooled = extractor(features[: extractor.num_inputs], rois)
        if detector.roi_head.with_shared_head:
            pooled = detector.roi_head.shared_head(pooled)
        logits, deltas = (each.float() for each in head(pooled))
        losses.append(weight * (class_losses(head.loss_cls, logits, wanted) + box_losses(head, deltas, rois, wanted)))
    return list((torch.stack(losses).sum(0) / sum(stage.weight for stage in stages)).split(counts))


def box_stages(detector: Any) -> list[BoxStage]:
    """Return the stages of a detector whose losses can be asked for single objects.

    Raises:
        UserError: it has other heads.
    """
    roi_head = getattr(detector, "roi_head", None)
    heads = getattr(roi_head, "bbox_head", None)
    found = list(heads) if isinstance(heads, nn.ModuleList) else [heads]
    names = [type(each).__name__ for each in (roi_head, *found)]
    unknown = [name for name in names if name not in (*ROI_HEADS, *BOXES)]
    if unknown:
        what = "no head for the boxes of proposals" if heads is None else f"the head {unknown[0]}"
        raise UserError(
            f"{type(detector).__name__} has {what}, so that it cannot be asked what a single object costs: choose a "
            f"detector of two stages, with {', '.join(ROI_HEADS)}, such as "
            "mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"
        )
    extractors: Any = detector.roi_head.bbox_roi_extractor
    if not isinstance(heads, nn.ModuleList):
        return [BoxStage(extractors, heads, weight=1.0)]
    return [BoxStage(*each) for each in zip(extractors, found, detector.roi_head.stage_loss_weights, strict=True)]


def class_losses(loss: Any, logits: Tensor, labels: Tensor) -> Tensor:
    """Return -log p(class) of every row, (N,), weighed as in training.

    Args:
        loss: module of mmdet that these logits are made for.
        logits: (N, K) of sigmoids, (N, K + 1) of a softmax with background last, or what a loss of its own activates.
        labels: (N,) int64 in [0, K).
    """
    if isinstance(loss, FederatedLoss) or getattr(loss, "use_sigmoid", False):
        scores = F.logsigmoid(logits)
    elif getattr(loss, "custom_activation", False):
        scores = loss.get_activation(logits).clamp(min=torch.finfo(logits.dtype).tiny).log()
    else:
        scores = logits.log_softmax(1)
    return -scores.gather(1, labels[:, None])[:, 0] * getattr(loss, "loss_weight", 1.0)


def box_losses(head: Any, deltas: Tensor, rois: Tensor, labels: Tensor) -> Tensor:
    """Return what a head's boxes cost where the right ones were its proposals, (N,), weighed as in training.

    Args:
        head: of mmdet.
        deltas: (N, 4) or (N, 4 K), what it moves boxes by.
        rois: (N, 5), number of the picture and box xyxy, which is the right one.
        labels: (N,) int64 in [0, K).
    """
    boxes = rois[:, 1:]
    targets = boxes if head.reg_decoded_bbox else head.bbox_coder.encode(boxes, boxes)
    ones = torch.ones_like(rois[:, 0])
    # Without logits mmdet's head gives the loss of the boxes alone.
    found = head.loss(
        deltas[:0], deltas, rois, labels, ones, targets, torch.ones_like(targets), reduction_override="none"
    )
    return found["loss_bbox"].reshape(len(rois), -1).sum(1)


def _with_area(boxes: Tensor) -> Tensor:
    return torch.cat([boxes[:, :2], torch.maximum(boxes[:, 2:], boxes[:, :2] + LEAST_SIDE)], 1)
