"""The stages of mmdet's two-stage detectors one by one, for methods that choose regions and labels themselves."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from networks.detection.labelled import Detections, LabelledBoxes
from networks.detection.samples import as_instances
from visionscapes.errors import UserError

Features = tuple[Tensor, ...]  # one map (B, C, h, w) a level
Proposals = list[Any]  # of one batch: mmdet's InstanceData with bboxes and scores


def of_two_stages(detector: Any) -> Any:
    """Return a detector of mmdet if its stages can be taken one by one.

    Raises:
        UserError: it has not an RPN of anchors and one head for boxes, or it has a head for masks, which would be left
            untrained.
    """
    from mmdet.models import RPNHead, StandardRoIHead

    rpn_head, roi_head = getattr(detector, "rpn_head", None), getattr(detector, "roi_head", None)
    if isinstance(rpn_head, RPNHead) and isinstance(roi_head, StandardRoIHead) and not detector.with_mask:
        return detector
    raise UserError(
        f"{type(detector).__name__} has other stages than an RPN of anchors and one head for boxes, which the method "
        "needs: choose a Faster R-CNN, such as mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"
    )


def relabelled(samples: Sequence[Any], targets: Sequence[LabelledBoxes]) -> list[Any]:
    """Return mmdet's samples with other ground truth."""
    result = []
    for sample, target in zip(samples, targets, strict=True):
        sample = copy.copy(sample)
        sample.gt_instances = as_instances(target.boxes, target.labels)
        result.append(sample)
    return result


def ground_truth(samples: Sequence[Any]) -> list[LabelledBoxes]:
    """Return the ground truth in mmdet's samples."""
    return [LabelledBoxes(each.gt_instances.bboxes, each.gt_instances.labels) for each in samples]


def rpn(detector: Any, features: Features, samples: Sequence[Any]) -> tuple[dict[str, Tensor], Proposals]:
    """Return Eq. 3.1, and the proposals of all pictures.

    Pictures without any ground truth have proposals but no loss: for them it cannot be computed (thesis 3.2.5,
    discussion). mmdet's own rule would take all of their anchors for background.

    Args:
        detector: with an RPN.
        features: of the views that proposals are made of.
        samples: of the B pictures.

    Returns:
        "loss_rpn_cls" and "loss_rpn_bbox", and B x proposals.
    """
    from mmdet.models.utils import unpack_gt_instances

    head = detector.rpn_head
    scores, deltas = head(features)
    targets, ignored, metas = unpack_gt_instances(samples)
    with torch.no_grad():
        levels = [level.detach() for level in scores], [level.detach() for level in deltas]
        config = detector.train_cfg.get("rpn_proposal", detector.test_cfg.rpn)
        proposals = head.predict_by_feat(*levels, batch_img_metas=metas, cfg=config)
    for each in proposals:
        each.bboxes, each.scores = each.bboxes.detach().float(), each.scores.detach().float()
    labelled = [k for k, target in enumerate(targets) if len(target)]
    # Every rank runs through all parameters in every step, or DDP would wait for their gradients.
    zero = sum(0.0 * level.float().sum() for level in (*scores, *deltas))
    if not labelled:
        return {"loss_rpn_cls": zero, "loss_rpn_bbox": zero.detach()}, proposals
    objects = []
    for k in labelled:
        target = copy.copy(targets[k])
        target.labels = torch.zeros_like(target.labels)  # to the RPN all objects are alike
        objects.append(target)
    losses = head.loss_by_feat(
        [level[labelled] for level in scores],
        [level[labelled] for level in deltas],
        objects,
        [metas[k] for k in labelled],
        [ignored[k] for k in labelled],
    )
    return {name: sum(value) + zero for name, value in losses.items()}, proposals


def sampled(detector: Any, proposals: Proposals, samples: Sequence[Any]) -> list[Any]:
    """Return which proposals the box head is trained on, mmdet's sampling results, one a picture."""
    head = detector.roi_head
    results = []
    for found, sample in zip(proposals, samples, strict=True):
        # mmdet renames the boxes in place, and they are sampled twice.
        candidates = as_instances(found.bboxes)
        candidates.priors = candidates.pop("bboxes")
        ignored = getattr(sample, "ignored_instances", None)
        assigned = head.bbox_assigner.assign(candidates, sample.gt_instances, ignored)
        results.append(head.bbox_sampler.sample(assigned, candidates, sample.gt_instances))
    return results


class BoxHead:
    """What the box head says about sampled regions of one view: losses, and detections.

    Args:
        detector: two-stage.
        features: of the view.
        regions: B x mmdet's sampling results.
        samples: of the B pictures.
    """

    def __init__(self, detector: Any, features: Features, regions: list[Any], samples: Sequence[Any]):
        from mmdet.structures.bbox import bbox2roi

        self.detector, self.regions, self.samples = detector, regions, samples
        self.rois = bbox2roi([each.priors for each in regions])
        outputs = detector.roi_head._bbox_forward(features, self.rois)
        self.scores, self.deltas = outputs["cls_score"], outputs["bbox_pred"]

    def losses(self) -> dict[str, Tensor]:
        """Return Eq. 3.2 (or 3.3), over the pictures that have ground truth; zero if there is none.

        Returns:
            "loss_cls" and "loss_bbox".
        """
        zero = 0.0 * (self.scores.float().sum() + self.deltas.float().sum())
        counts = [len(each.priors) for each in self.regions]
        labelled = [k for k, sample in enumerate(self.samples) if len(sample.gt_instances)]
        if not sum(counts[k] for k in labelled):
            return {"loss_cls": zero, "loss_bbox": zero.detach()}

        def of_labelled(rows: Tensor) -> Tensor:  # by known places; for a mask the host would wait for a GPU
            parts = rows.split(counts)
            return torch.cat([parts[k] for k in labelled])

        head = self.detector.roi_head
        losses = head.bbox_head.loss_and_target(
            cls_score=of_labelled(self.scores),
            bbox_pred=of_labelled(self.deltas),
            rois=of_labelled(self.rois),
            sampling_results=[self.regions[k] for k in labelled],
            rcnn_train_cfg=head.train_cfg,
        )["loss_bbox"]
        return {name: losses[name].sum() + zero for name in ("loss_cls", "loss_bbox")}

    @torch.no_grad()
    def detections(self) -> list[Detections]:
        """Return what would be detected in these regions, in pixels of the pictures as they are trained on."""
        counts = [len(each.priors) for each in self.regions]
        results = self.detector.roi_head.bbox_head.predict_by_feat(
            rois=self.rois.split(counts),
            cls_scores=self.scores.detach().float().split(counts),
            bbox_preds=self.deltas.detach().float().split(counts),
            batch_img_metas=[each.metainfo for each in self.samples],
            rcnn_test_cfg=self.detector.test_cfg.rcnn,
            rescale=False,
        )
        return [Detections(each.bboxes, each.labels, each.scores) for each in results]


def embedded(detector: Any, features: Features, boxes: Sequence[Tensor]) -> Tensor:
    """Return what the box head classifies regions by: the input of its last layer (thesis 3.2.5, f^d).

    After the two fully connected layers of an FPN detector, the spatial mean of res5 of a C4 detector.

    Args:
        detector: two-stage.
        features: of one view.
        boxes: B x (n, 4) xyxy.

    Returns:
        (sum of n, D).
    """
    from mmdet.structures.bbox import bbox2roi

    captured: list[Tensor] = []
    classifier = detector.roi_head.bbox_head.fc_cls
    handle = classifier.register_forward_pre_hook(lambda _, inputs: captured.append(inputs[0]))
    try:
        detector.roi_head._bbox_forward(features, bbox2roi(list(boxes)))
    finally:
        handle.remove()
    return captured[0]


@torch.no_grad()
def detected(detector: Any, features: Features, samples: Sequence[Any]) -> list[Detections]:
    """Return what the whole detector finds, in pixels of the pictures as they are trained on."""
    metas = [each.metainfo for each in samples]
    detached = tuple(level.detach() for level in features)
    proposals = detector.rpn_head.predict(detached, samples, rescale=False)
    results = detector.roi_head.predict_bbox(detached, metas, proposals, detector.test_cfg.rcnn, rescale=False)
    return [Detections(each.bboxes.float(), each.labels, each.scores.float()) for each in results]


def plain_losses(detector: Any, features: Features, samples: Sequence[Any]) -> dict[str, Tensor]:
    """Return mmdet's own losses of a two-stage detector from features that are there already."""
    config = detector.train_cfg.get("rpn_proposal", detector.test_cfg.rpn)
    objects = [copy.copy(sample) for sample in samples]
    for sample in objects:
        sample.gt_instances = as_instances(sample.gt_instances.bboxes, torch.zeros_like(sample.gt_instances.labels))
    losses, proposals = detector.rpn_head.loss_and_predict(features, objects, proposal_cfg=config)
    losses = {
        # As mmdet does, because an RPN's losses may have the names of the box head's.
        name if "rpn" in name else f"rpn_{name}": sum(value) if isinstance(value, list) else value
        for name, value in losses.items()
    }
    return losses | detector.roi_head.loss(features, proposals, list(samples))


def averaged(losses: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return the mean of losses of the same names."""
    return {name: sum(each[name] for each in losses) / len(losses) for name in losses[0]}  # type: ignore[misc]
