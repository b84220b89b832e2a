"""CenterNet2's second stage as X-Paste sets it up: what mmdet's cascade lacks (thesis chapter 7, table 7.1).

Imported by `networks.detection.build.setup_mmdet`, after which configs can name what is registered here.
"""

import math
from typing import Any

import torch
from mmdet.models.layers import multiclass_nms
from mmdet.models.roi_heads import CascadeRoIHead
from mmdet.models.roi_heads.bbox_heads import Shared2FCBBoxHead
from mmdet.models.utils import unpack_gt_instances
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox2roi, scale_boxes
from mmengine.structures import InstanceData
from torch import Tensor, nn
from typing_extensions import override

from networks.detection.centernet_proposals import CenterNetProposals
from networks.detection.federated_loss import FederatedLoss

__all__ = ["CenterNet2BBoxHead", "CenterNet2RoIHead", "CenterNetProposals"]

MODELS.register_module(module=FederatedLoss)


@MODELS.register_module()
class CenterNet2BBoxHead(Shared2FCBBoxHead):
    """Box head with a sigmoid for every class and one box for all of them.

    Args:
        prior_prob: probability that every class starts with.
        options: of mmdet's ``Shared2FCBBoxHead``.
    """

    def __init__(self, *args: Any, prior_prob: float = 0.01, **options: Any):
        super().__init__(*args, reg_class_agnostic=True, **options)
        self.prior_prob = prior_prob

    @override
    def init_weights(self) -> None:
        """Initialise as mmdet does, then the bias of the classes."""
        super().init_weights()
        nn.init.constant_(self.fc_cls.bias, -math.log((1 - self.prior_prob) / self.prior_prob))

    @override
    def loss(
        self, cls_score: Tensor, bbox_pred: Tensor, rois: Tensor, labels: Tensor, *args: Any, **options: Any
    ) -> Any:
        """Return "loss_cls" and "loss_bbox"; arguments as in mmdet's ``BBoxHead``.

        The loss of the boxes is a mean over positives and coordinates, as in X-Paste's code; mmdet and Detectron2
        divide its sum by the number of samples.
        """
        losses = super().loss(cls_score, bbox_pred, rois, labels, *args, **options)
        losses.setdefault("loss_cls", cls_score.sum())  # no RoI at all: zero, but every parameter gets a gradient
        positives = int((labels < self.num_classes).sum())
        losses["loss_bbox"] = losses["loss_bbox"] * len(labels) / max(4 * positives, 1)
        return losses


@MODELS.register_module()
class CenterNet2RoIHead(CascadeRoIHead):
    """Cascade with class-agnostic boxes, one mask head, and scores that the proposals have a say in.

    It follows X-Paste's code, on Detectron2, where that differs from mmdet's cascade:

    * RoIs are sampled once. Later stages take all refined boxes, those of appended objects too; samplers in train_cfg
      decide it, so that "PseudoSampler" is the one for later stages.
    * Stages weigh the same, and their gradients reach the pyramid divided by the number of stages.
    * There is one mask head. It learns from the RoIs of the first stage and is applied to final boxes.
    * Class probabilities, and not logits, are averaged over stages. The score is sqrt(probability * proposal's score).

    Args:
        multiply_proposal_score: whether the proposal's score has that say; else the score is the class probability.
        options: of mmdet's ``CascadeRoIHead``; mask_head and mask_roi_extractor are single configs.
    """

    def __init__(self, *, multiply_proposal_score: bool = True, **options: Any):
        super().__init__(**options)
        self.multiply_proposal_score = multiply_proposal_score

    @override
    def init_mask_head(self, mask_roi_extractor: Any, mask_head: Any) -> None:
        """Build the mask head."""
        self.mask_head: Any = nn.ModuleList([MODELS.build(mask_head)])
        self.mask_roi_extractor = nn.ModuleList([MODELS.build(mask_roi_extractor)])

    @override
    def loss(self, x: tuple[Tensor, ...], rpn_results_list: list[Any], batch_data_samples: list[Any]) -> dict[str, Any]:
        """Return the losses of all stages, "s0.loss_cls" and so on; arguments as in mmdet's ``BaseRoIHead``."""
        objects, ignored, metas = unpack_gt_instances(batch_data_samples)
        boxes = [proposals.bboxes for proposals in rpn_results_list]
        losses: dict[str, Any] = {}
        for stage in range(self.num_stages):
            self.current_stage = stage
            samples = [self._sample(stage, *each) for each in zip(boxes, objects, ignored, strict=True)]
            result = self.bbox_loss(stage, x, samples)
            found = dict(result["loss_bbox"])
            if stage == 0 and self.with_mask:
                found |= self.mask_loss(stage, x, samples, objects)["loss_mask"]
            weight = self.stage_loss_weights[stage]
            losses |= {f"s{stage}.{name}": value * weight if "loss" in name else value for name, value in found.items()}
            boxes = self._refined(stage, result["rois"], result["bbox_pred"].detach(), metas)
        return losses

    @override
    def predict_bbox(
        self,
        x: tuple[Tensor, ...],
        batch_img_metas: list[dict[str, Any]],
        rpn_results_list: list[Any],
        rcnn_test_cfg: Any,
        rescale: bool = False,
    ) -> list[Any]:
        """Return "bboxes", "scores" and "labels" of every picture; arguments as in mmdet's ``CascadeRoIHead``."""
        boxes = [proposals.bboxes for proposals in rpn_results_list]
        counts = [len(each) for each in boxes]
        stages = []
        for stage in range(self.num_stages):
            rois = bbox2roi(boxes)
            result = self._bbox_forward(stage, x, rois)
            stages.append(self.bbox_head[stage].loss_cls.get_activation(result["cls_score"]))
            boxes = self._refined(stage, rois, result["bbox_pred"], batch_img_metas)
        probabilities = torch.stack(stages).mean(0).split(counts)
        return [
            self._detections(*each, rcnn_test_cfg, rescale)
            for each in zip(boxes, probabilities, rpn_results_list, batch_img_metas, strict=True)
        ]

    @override
    def predict_mask(
        self,
        x: tuple[Tensor, ...],
        batch_img_metas: list[dict[str, Any]],
        results_list: list[Any],
        rescale: bool = False,
    ) -> list[Any]:
        """Add "masks" to the detections; arguments as in mmdet's ``CascadeRoIHead``."""
        rois = bbox2roi([result.bboxes for result in results_list])
        masks = self._mask_forward(0, x, rois)["mask_preds"].float().split([len(result) for result in results_list])
        return self.mask_head[0].predict_by_feat(
            masks, results_list, batch_img_metas, rcnn_test_cfg=self.test_cfg, rescale=rescale
        )

    @override
    def _bbox_forward(self, stage: int, x: tuple[Tensor, ...], rois: Tensor) -> dict[str, Tensor]:
        pooled = self._pool(self.bbox_roi_extractor[stage], x, rois)
        if pooled.requires_grad:
            pooled.register_hook(lambda gradient: gradient / self.num_stages)
        cls_score, bbox_pred = self.bbox_head[stage](pooled)
        return {"cls_score": cls_score, "bbox_pred": bbox_pred.float(), "bbox_feats": pooled}

    @override
    def _mask_forward(self, stage: int, x: tuple[Tensor, ...], rois: Tensor) -> dict[str, Tensor]:
        return {"mask_preds": self.mask_head[stage](self._pool(self.mask_roi_extractor[stage], x, rois))}

    def _pool(self, extractor: Any, x: tuple[Tensor, ...], rois: Tensor) -> Tensor:
        # In float32: mmdet rounds the coordinates of RoIs to the type of the features.
        return extractor([level.float() for level in x[: extractor.num_inputs]], rois)

    def _sample(self, stage: int, boxes: Tensor, objects: Any, ignored: Any) -> Any:
        proposals = InstanceData(priors=boxes)
        assigned = self.bbox_assigner[stage].assign(proposals, objects, ignored)
        return self.bbox_sampler[stage].sample(assigned, proposals, objects)

    def _refined(self, stage: int, rois: Tensor, deltas: Tensor, metas: list[dict[str, Any]]) -> list[Tensor]:
        """Return the boxes that a stage makes of its RoIs (R, 5), cut at the borders, for every picture."""
        decode = self.bbox_head[stage].bbox_coder.decode
        of_picture = [rois[:, 0] == k for k in range(len(metas))]
        return [
            decode(rois[own, 1:], deltas[own], max_shape=meta["img_shape"])
            for own, meta in zip(of_picture, metas, strict=True)
        ]

    def _detections(
        self, boxes: Tensor, probabilities: Tensor, proposals: Any, meta: dict[str, Any], config: Any, rescale: bool
    ) -> InstanceData:
        if rescale:
            boxes = scale_boxes(boxes, [1 / factor for factor in meta["scale_factor"]])
        if self.multiply_proposal_score:
            probabilities = (probabilities * proposals.scores[:, None]).sqrt()
        found, labels = multiclass_nms(boxes, probabilities, config.score_thr, config.nms, config.max_per_img)
        return InstanceData(bboxes=found[:, :4], scores=found[:, 4], labels=labels)
