import pytest
import torch

from networks.detection.build import build_detector
from networks.detection.precision import in_float32

SIZE = 640  # pixels, where bfloat16 knows every fourth only


@pytest.fixture(scope="module")
def detector():
    detector = build_detector("configs/detectors/faster_rcnn_scenes.py").eval()
    torch.nn.init.zeros_(detector.rpn_head.rpn_reg.weight)  # proposals are the anchors
    return detector


def proposals(detector, dtype):
    from mmdet.structures import DetDataSample

    meta = {"img_shape": (SIZE, SIZE), "ori_shape": (SIZE, SIZE), "pad_shape": (SIZE, SIZE), "scale_factor": (1, 1)}
    images = torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        features = detector.extract_feat(images)
        (found,) = detector.rpn_head.predict(features, [DetDataSample(metainfo=meta)])
    return features, found.bboxes


def test_anchors_stay_where_they_are_in_bfloat16(detector):
    features, boxes = proposals(detector, torch.bfloat16)
    assert all(level.dtype == torch.float32 for level in features)
    anchors = torch.cat(detector.rpn_head.prior_generator.grid_priors([f.shape[-2:] for f in features], device="cpu"))
    anchors = anchors.clamp(0, SIZE)
    assert boxes.dtype == torch.float32
    assert float(boxes.max()) > 512
    distances = torch.cdist(boxes, anchors, compute_mode="donot_use_mm_for_euclid_dist")
    assert float(distances.amin(1).max()) < 1e-2


def test_nothing_changes_in_float32(detector):
    features, _ = proposals(detector, torch.float32)
    detector.neck._forward_hooks.clear()
    again, _ = proposals(detector, torch.float32)
    assert all(torch.equal(a, b) for a, b in zip(features, again, strict=True))


def test_only_tensors_of_16_bits_are_cast():
    values = ([torch.ones(2, dtype=torch.bfloat16), None], torch.ones(1, dtype=torch.int64), {"a": 1})
    cast = in_float32(values)
    assert cast[0][0].dtype == torch.float32
    assert cast[0][1] is None
    assert cast[1] is values[1]
    assert cast[2] is values[2]
