"""mmdet's heads such that the number of boxes depends on no values: exporters follow them once for all pictures."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torchvision import ops

from visionscapes.errors import UserError


def pooled_at_all_levels(extractor: Any, features: Sequence[Tensor], rois: Tensor) -> Tensor:
    """Return what mmdet's extractor pools (R, C, h, w): each box at its level, where no level is left out.

    At the other levels a box is one of a pixel, and counts for nothing.

    Args:
        extractor: ``SingleRoIExtractor`` of mmdet.
        features: of each level.
        rois: (R, 5), picture and xyxy.

    Raises:
        UserError: an extractor of another kind.
    """
    from mmcv.ops import RoIAlign
    from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor

    layers = getattr(extractor, "roi_layers", [None])
    if type(extractor) is not SingleRoIExtractor or not all(isinstance(layer, RoIAlign) for layer in layers):
        raise UserError(f"{type(extractor).__name__} cannot be exported, SingleRoIExtractor with RoIAlign can")
    level = extractor.map_roi_levels(rois, len(features)) if len(features) > 1 else torch.zeros_like(rois[:, 0])
    pixel = rois.new_tensor([0.0, 0.0, 0.0, 1.0, 1.0])
    total: Tensor | None = None
    for place, (layer, maps) in enumerate(zip(layers, features, strict=True)):
        here = level == place
        own = torch.where(here[:, None], rois, pixel)
        ratio, size = max(layer.sampling_ratio, 0) or -1, layer.output_size
        pooled = ops.roi_align(maps, own, size, layer.spatial_scale, ratio, layer.aligned) * here[:, None, None, None]
        total = pooled if total is None else total + pooled
    assert total is not None
    return total


@contextmanager
def of_fixed_number(detector: Any) -> Iterator[None]:
    """Have mmdet's heads choose and suppress such that the number of boxes depends on no values, meanwhile.

    Boxes that are suppressed or below the threshold have a score of -1; those above it are the same.

    Args:
        detector: of mmdet.

    Raises:
        UserError: a suppression of another kind.
    """
    from mmdet.models.dense_heads import base_dense_head, gfl_head, rpn_head, tood_head, yolox_head
    from mmdet.models.roi_heads.bbox_heads import bbox_head

    from networks.detection import centernet2

    final = detector.test_cfg.rcnn if hasattr(detector, "roi_head") else detector.test_cfg
    limit = int(final.get("max_per_img", 100))
    with ExitStack() as stack:
        for module in (base_dense_head, gfl_head, tood_head):
            stack.enter_context(patch.object(module, "filter_scores_and_topk", _best))
        for module in (base_dense_head, yolox_head):
            stack.enter_context(patch.object(module, "batched_nms", _suppressing(limit)))
        if hasattr(detector, "roi_head"):
            proposals = int(detector.test_cfg.rpn.max_per_img)
            stack.enter_context(patch.object(rpn_head, "batched_nms", _suppressing(proposals)))
            for module in (bbox_head, centernet2):
                stack.enter_context(patch.object(module, "multiclass_nms", _multiclass))
            extractors = detector.roi_head.bbox_roi_extractor
            for each in extractors if isinstance(extractors, nn.ModuleList) else [extractors]:
                stack.enter_context(patch.object(each, "forward", _pooling(each), create=True))
        if type(getattr(detector, "bbox_head", None)) is yolox_head.YOLOXHead:
            stack.enter_context(patch.object(detector.bbox_head, "predict_by_feat", _yolox(detector.bbox_head)))
        for config in {id(each): each for each in _configs(detector)}.values():
            if config.get("min_bbox_size", -1) >= 0:
                stack.enter_context(patch.dict(config, {"min_bbox_size": -1}))
        yield


def _configs(detector: Any) -> Iterator[Any]:
    for head in (detector, getattr(detector, "rpn_head", None), getattr(detector, "bbox_head", None)):
        config = getattr(head, "test_cfg", None)
        if config is not None:
            yield config
            yield from (each for each in config.values() if isinstance(each, dict))


def _pooling(extractor: Any) -> Callable[..., Tensor]:
    return lambda features, rois, roi_scale_factor=None: pooled_at_all_levels(extractor, features, rois)


def _yolox(head: Any) -> Callable[..., list[Any]]:
    """Return what stands in for ``predict_by_feat`` of YOLOX: no box is left out before the suppression."""
    from mmengine.structures import InstanceData

    def predict_by_feat(scores: Any, corrections: Any, objectness: Any, **_: Any) -> list[Any]:
        sizes = [each.shape[2:] for each in scores]
        priors = torch.cat(head.prior_generator.grid_priors(sizes, device=scores[0].device, with_stride=True))
        classes, moves, objects = (
            torch.cat([each[0].permute(1, 2, 0).flatten(0, 1) for each in levels])
            for levels in (scores, corrections, objectness)
        )
        best, labels = classes.sigmoid().max(1)
        boxes = head._bbox_decode(priors, moves[None])[0]
        found = InstanceData(bboxes=boxes, scores=best * objects[:, 0].sigmoid(), labels=labels)
        return [head._bbox_post_process(found, head.test_cfg, img_meta={})]

    return predict_by_feat


def _best(scores: Tensor, score_thr: float, topk: int, results: Any = None) -> tuple[Tensor, Tensor, Tensor, Any]:
    """Stand in for mmdet's ``filter_scores_and_topk``: the best, whether above the threshold or not."""
    kept, places = scores.flatten().topk(min(topk, scores.numel()))
    anchors, labels = places // scores.shape[1], places % scores.shape[1]
    if isinstance(results, dict):
        results = {name: each[anchors] for name, each in results.items()}
    elif results is not None:
        results = [each[anchors] for each in results] if isinstance(results, list) else results[anchors]
    return kept, labels, anchors, results


def _suppressing(limit: int) -> Callable[..., tuple[Tensor, Tensor]]:
    """Return what stands in for mmcv's ``batched_nms``: it keeps ``limit`` boxes, those too many with a score of -1."""

    def batched_nms(
        boxes: Tensor, scores: Tensor, idxs: Tensor, nms_cfg: Any, class_agnostic: bool = False
    ) -> tuple[Tensor, Tensor]:
        if nms_cfg.get("type", "nms") != "nms" or nms_cfg.get("score_threshold", 0):
            raise UserError(f"{nms_cfg} has no counterpart that can be exported, nms by a threshold of the IoU has one")
        together = class_agnostic or nms_cfg.get("class_agnostic", False)
        scores = torch.where((boxes[:, 2:] > boxes[:, :2]).all(1), scores, -1.0)
        apart = boxes if together else boxes + (idxs.to(boxes) * (boxes.max() + 1))[:, None]
        kept = ops.nms(apart, scores, float(nms_cfg["iou_threshold"]))
        count = torch.ones_like(kept).sum()
        kept = torch.cat([kept, kept.new_zeros(limit)])[:limit]
        scores = torch.where(torch.arange(limit, device=kept.device) < count, scores[kept], -1.0)
        return torch.cat([boxes[kept], scores[:, None]], 1), kept

    return batched_nms


def _multiclass(
    multi_bboxes: Tensor, multi_scores: Tensor, score_thr: float, nms_cfg: Any, max_num: int = -1, **_: Any
) -> tuple[Tensor, Tensor]:
    """Stand in for mmdet's ``multiclass_nms``."""
    classes = multi_scores.shape[1] - 1
    boxes = multi_bboxes.reshape(multi_bboxes.shape[0], -1, 4).expand(-1, classes, -1).reshape(-1, 4)
    scores = multi_scores[:, :-1].reshape(-1)
    places = (scores > score_thr).nonzero()[:, 0]
    # One more, which is none, so that there is always one.
    boxes = torch.cat([boxes[places], boxes.new_zeros(1, 4)])
    scores = torch.cat([scores[places], scores.new_full((1,), -1.0)])
    labels = torch.cat([places % classes, places.new_zeros(1)])
    found, kept = _suppressing(max_num)(boxes, scores, labels, nms_cfg)
    return found, labels[kept]
