"""Heads of mmdet with a fixed number of boxes; that they find the same is asked in tests of exported detectors."""

import pytest
import torch

from lightning_modules.detector_exporting import exported_detector
from networks.detection.fixed_number import of_fixed_number, pooled_at_all_levels
from tests.helpers.exported_detectors import DETECTORS, SIZE
from visionscapes.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore")


def parts_of(family: str) -> tuple:
    detector = DETECTORS[family]()
    return detector, {part.name: part for part in exported_detector(detector, SIZE, [])}


def test_boxes_are_pooled_at_their_levels():
    detector, _ = parts_of("Faster R-CNN")
    extractor = detector.roi_head.bbox_roi_extractor
    features = [torch.rand(2, 16, 64 // 2**level, 96 // 2**level) for level in range(4)]
    corners = 150 * torch.rand(40, 2)
    rois = torch.cat([(torch.arange(40) % 2)[:, None], corners, corners + 1 + 200 * torch.rand(40, 2)], 1)
    assert len(set(extractor.map_roi_levels(rois, 4).tolist())) > 1
    torch.testing.assert_close(pooled_at_all_levels(extractor, features, rois), extractor(features, rois))


def test_mmdet_is_as_it_was_afterwards():
    from mmdet.models.dense_heads import base_dense_head

    detector, _ = parts_of("Faster R-CNN")
    before = base_dense_head.batched_nms, detector.roi_head.bbox_roi_extractor.forward.__func__
    with of_fixed_number(detector):
        assert base_dense_head.batched_nms is not before[0]
    assert (base_dense_head.batched_nms, detector.roi_head.bbox_roi_extractor.forward.__func__) == before


def test_a_suppression_without_counterpart_is_refused():
    detector, parts = parts_of("RetinaNet")
    detector.test_cfg.nms = detector.bbox_head.test_cfg.nms = {"type": "soft_nms", "iou_threshold": 0.5}
    with pytest.raises(UserError, match="no counterpart"), torch.no_grad():
        parts["detector"].network(*parts["detector"].example())


def test_a_pooling_of_another_kind_is_refused():
    with pytest.raises(UserError, match="Linear cannot be exported, SingleRoIExtractor with RoIAlign can"):
        pooled_at_all_levels(torch.nn.Linear(1, 1), [], torch.zeros(0, 5))
