from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pycocotools import mask as rle

from networks.detection.build import build_detector, setup_mmdet
from networks.detection.configs import read_config
from networks.detection.samples import (
    as_instances,
    compressed,
    predictions_of,
    preprocess,
    proposals_of,
    to_samples,
    with_area,
)

CONFIGS = Path(__file__).parents[3] / "configs" / "detectors"
RGB_MEAN, RGB_STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
ORIGINAL, RESIZED = (60, 100), (90, 125)  # height, width: factors of 1.5 and 1.25
BOXES = [[10.0, 12, 50, 42], [60, 6, 96, 54]]  # in the original


@pytest.fixture(scope="module", autouse=True)
def _ready():
    setup_mmdet()


def batch_of(*shapes, original=ORIGINAL, boxes=(), ignored=(), masks=False):
    generator = torch.Generator().manual_seed(0)
    batch = {"image": [], "boxes": [], "labels": [], "ignored": [], "size": [], "image_id": []}
    for k, shape in enumerate(shapes):
        batch["image"].append(torch.randint(256, (3, *shape), generator=generator, dtype=torch.uint8))
        batch["boxes"].append(torch.tensor(boxes, dtype=torch.float32).view(-1, 4))
        batch["labels"].append(torch.arange(len(boxes)))
        batch["ignored"].append(torch.tensor(ignored, dtype=torch.float32).view(-1, 4))
        batch["size"].append(torch.tensor(original))
        batch["image_id"].append(f"picture {k}")
    if masks:
        batch["masks"] = [torch.ones(len(boxes), *shape, dtype=torch.bool) for shape in shapes]
    return batch


def preprocessor(**options):
    from mmdet.registry import MODELS

    return SimpleNamespace(data_preprocessor=MODELS.build({"type": "DetDataPreprocessor", **options}))


def of_collection(config):
    options = read_config(f"mmdet::{config}")["data_preprocessor"]
    return preprocessor(**{key: value for key, value in options.items() if key != "type"})


# ------------------------------------------------------------------------------------------- samples


def test_samples_hold_what_mmdet_asks_for():
    batch = batch_of(RESIZED, (90, 150), boxes=BOXES, ignored=[[1, 2, 3, 4]])
    first, second = to_samples(batch)
    assert (first.img_shape, first.ori_shape, first.scale_factor) == (RESIZED, ORIGINAL, (1.25, 1.5))
    assert second.scale_factor == (1.5, 1.5)
    assert (first.img_id, second.img_id) == ("picture 0", "picture 1")
    for sample in (first, second):
        assert torch.equal(sample.gt_instances.bboxes, torch.tensor(BOXES))
        assert sample.gt_instances.labels.tolist() == [0, 1]
        assert sample.ignored_instances.bboxes.tolist() == [[1, 2, 3, 4]]
        assert "masks" not in sample.gt_instances


def test_masks_become_bitmaps():
    batch = batch_of((6, 9), boxes=BOXES)
    batch["masks"] = [torch.rand(2, 6, 9, generator=torch.Generator().manual_seed(0)) > 0.5]
    masks = to_samples(batch)[0].gt_instances.masks
    assert (masks.height, masks.width, masks.masks.dtype) == (6, 9, np.uint8)
    assert np.array_equal(masks.masks.astype(bool), batch["masks"][0].numpy())


def test_pictures_without_annotations_become_samples():
    (sample,) = to_samples(batch_of((6, 9), masks=True))
    assert sample.gt_instances.bboxes.shape == sample.ignored_instances.bboxes.shape == (0, 4)
    assert sample.gt_instances.labels.shape == (0,)
    assert sample.gt_instances.masks.masks.shape == (0, 6, 9)
    assert len(sample.gt_instances) == len(sample.ignored_instances) == 0


def test_instances_keep_what_is_known():
    boxes = torch.tensor(BOXES)
    assert as_instances(boxes).keys() == ["bboxes"]
    assert as_instances(boxes, torch.tensor([4, 5])).labels.tolist() == [4, 5]


# ---------------------------------------------------------------------------------------- preprocess


@pytest.mark.parametrize(
    ("config", "mean", "std", "order"),
    [
        ("faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py", RGB_MEAN, RGB_STD, [0, 1, 2]),
        ("faster_rcnn/faster-rcnn_r50-caffe_fpn_1x_coco.py", [103.53, 116.28, 123.675], [1, 1, 1], [2, 1, 0]),
    ],
)
def test_detectors_see_the_channels_and_values_their_weights_are_for(config, mean, std, order):
    batch = batch_of((32, 64))
    inputs, _ = preprocess(of_collection(config), batch["image"], to_samples(batch), training=False)
    picture = batch["image"][0].double()[order]
    expected = (picture - torch.tensor(mean).double()[:, None, None]) / torch.tensor(std).double()[:, None, None]
    assert inputs.dtype == torch.float32
    assert torch.allclose(inputs[0].double(), expected, atol=1e-4)


def test_red_arrives_as_red():
    red = torch.tensor([200, 0, 0], dtype=torch.uint8).view(3, 1, 1).expand(3, 32, 32)
    samples = to_samples(batch_of((32, 32)))
    seen, _ = preprocess(preprocessor(mean=[0, 0, 0], std=[1, 1, 1], bgr_to_rgb=True), [red], samples, True)
    assert seen[0, :, 0, 0].tolist() == [200, 0, 0]
    seen, _ = preprocess(preprocessor(mean=[0, 0, 0], std=[1, 1, 1], bgr_to_rgb=False), [red], samples, True)
    assert seen[0, :, 0, 0].tolist() == [0, 0, 200]


@pytest.mark.parametrize("training", [False, True])
def test_pictures_are_padded_to_one_shape_at_the_right_and_bottom(training):
    batch = batch_of((40, 60), (50, 30), boxes=[[1, 2, 30, 40]], masks=True)
    images = [image.clone() for image in batch["image"]]
    detector = preprocessor(mean=RGB_MEAN, std=RGB_STD, bgr_to_rgb=True, pad_size_divisor=32, pad_mask=True)
    inputs, samples = preprocess(detector, batch["image"], to_samples(batch), training)
    assert inputs.shape == (2, 3, 64, 64)
    for k, (height, width) in enumerate([(40, 60), (50, 30)]):
        assert (inputs[k, :, :height, :width] != 0).any(0).float().mean() > 0.99
        assert not inputs[k, :, height:].any()
        assert not inputs[k, :, :, width:].any()
        assert samples[k].batch_input_shape == (64, 64)
        assert samples[k].img_shape == (height, width)
        assert torch.equal(samples[k].gt_instances.bboxes, batch["boxes"][k])  # what is padded moves nothing
        masks = samples[k].gt_instances.masks
        assert masks.masks.shape == ((1, 64, 64) if training else (1, height, width))
        assert masks.masks[0].sum() == height * width
    assert all(torch.equal(*pair) for pair in zip(images, batch["image"], strict=True))


def test_a_batch_can_be_preprocessed_twice():
    batch = batch_of((40, 60), (50, 30), boxes=BOXES, masks=True)
    detector = preprocessor(mean=RGB_MEAN, std=RGB_STD, bgr_to_rgb=True, pad_mask=True)
    first, _ = preprocess(detector, batch["image"], to_samples(batch), True)
    # Two views of one picture share its sample.
    both, samples = preprocess(detector, batch["image"] * 2, to_samples(batch) * 2, True)
    assert torch.equal(both[:2], first)
    assert torch.equal(both[2:], first)
    assert [each.gt_instances.masks.masks.shape for each in samples] == [(2, 50, 60)] * 4


# --------------------------------------------------------------------------------------- predictions


def with_predictions(boxes, scores, labels, masks=None, dtype=torch.float32):
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    found = InstanceData(
        bboxes=torch.tensor(boxes, dtype=dtype).view(-1, 4),
        scores=torch.tensor(scores, dtype=dtype),
        labels=torch.tensor(labels, dtype=torch.int64),
    )
    if masks is not None:
        found.masks = masks
    sample = DetDataSample()
    sample.pred_instances = found
    return sample


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_predictions_are_sorted_and_float32(dtype):
    masks = torch.zeros(3, 5, 7, dtype=torch.bool)
    for k in range(3):
        masks[k, : k + 1, :3] = True
    boxes = [[0, 0, 3, 1], [0, 0, 3, 2], [0, 0, 3, 3]]
    (found,) = predictions_of([with_predictions(boxes, [0.25, 0.75, 0.5], [7, 8, 9], masks, dtype)])
    assert set(found) == {"boxes", "scores", "labels", "masks"}
    assert found["boxes"].dtype == found["scores"].dtype == torch.float32
    assert found["labels"].dtype == torch.int64
    assert found["scores"].tolist() == [0.75, 0.5, 0.25]
    assert found["labels"].tolist() == [8, 9, 7]
    assert found["boxes"].tolist() == [boxes[1], boxes[2], boxes[0]]
    assert [rle.area(mask) for mask in found["masks"]] == [6, 9, 3]
    assert [mask["size"] for mask in found["masks"]] == [[5, 7]] * 3
    found["boxes"].numpy()


def test_equal_scores_keep_their_order():
    (found,) = predictions_of([with_predictions([[0, 0, 1, 1]] * 40, [0.5] * 40, list(range(40)))])
    assert found["labels"].tolist() == list(range(40))


def test_nothing_found_is_a_prediction_too():
    none = torch.zeros(0, 5, 7, dtype=torch.bool)
    with_masks, without = predictions_of([with_predictions([], [], [], none), with_predictions([], [], [])])
    for found in (with_masks, without):
        assert (found["boxes"].shape, found["scores"].shape, found["labels"].shape) == ((0, 4), (0,), (0,))
    assert with_masks["masks"] == []
    assert "masks" not in without
    assert predictions_of([]) == []


def test_masks_are_compressed_without_loss():
    masks = torch.rand(4, 9, 13, generator=torch.Generator().manual_seed(0)) > 0.6
    masks[3] = False
    found = compressed(masks)
    assert np.array_equal(np.stack([rle.decode(each) for each in found]).astype(bool), masks.numpy())
    assert rle.area(found[3]) == 0
    assert compressed(masks[:0]) == []


def test_proposals_are_sorted_and_float32():
    result = with_predictions([[0, 0, 1, 1], [0, 0, 2, 2]], [0.25, 0.75], [0, 0], dtype=torch.bfloat16).pred_instances
    empty = with_predictions([], [], []).pred_instances
    found, none = proposals_of([result, empty])
    assert set(found) == {"boxes", "scores"}
    assert found["boxes"].dtype == found["scores"].dtype == torch.float32
    assert found["boxes"].tolist() == [[0, 0, 2, 2], [0, 0, 1, 1]]
    assert found["scores"].tolist() == [0.75, 0.25]
    assert none["boxes"].shape == (0, 4)


# ------------------------------------------------------------- original pixels, through mmdet's heads


@pytest.fixture(scope="module")
def segmenter():
    """A detector whose heads keep each proposal as it is, with the class of its place and a full mask."""
    torch.manual_seed(0)
    mask_head = {"type": "FCNMaskHead", "num_convs": 1, "in_channels": 32, "conv_out_channels": 8, "num_classes": 12}
    roi_layer = {"type": "RoIAlign", "output_size": 14, "sampling_ratio": 1}
    overrides = {
        "type": "MaskRCNN",
        "backbone.frozen_stages": -1,
        "backbone.norm_cfg.requires_grad": True,
        "roi_head.mask_head": mask_head,
        "roi_head.mask_roi_extractor": {
            "type": "SingleRoIExtractor",
            "roi_layer": roi_layer,
            "out_channels": 32,
            "featmap_strides": [4, 8, 16, 32],
        },
        "train_cfg.rcnn.mask_size": 28,
        "test_cfg.rcnn.mask_thr_binary": 0.5,
    }
    return build_detector(CONFIGS / "faster_rcnn_scenes.py", overrides).eval()


def detected(segmenter, monkeypatch, batch, proposals):
    from mmengine.structures import InstanceData

    head = segmenter.roi_head

    def as_proposed(features):
        scores = torch.full((len(features), 13), -20.0)
        scores[torch.arange(len(features)), torch.arange(len(features)) % 12] = 20.0
        return scores, torch.zeros(len(features), 48)

    def everywhere(features):
        return torch.full((len(features), 12, 28, 28), 20.0)

    monkeypatch.setattr(head.bbox_head, "forward", as_proposed)
    monkeypatch.setattr(head.mask_head, "forward", everywhere)
    inputs, samples = preprocess(segmenter, batch["image"], to_samples(batch), training=False)
    regions = [
        InstanceData(bboxes=each, scores=torch.ones(len(each)), labels=torch.zeros(len(each), dtype=torch.int64))
        for each in proposals
    ]
    with torch.no_grad():
        results = head.predict(segmenter.extract_feat(inputs), regions, samples, rescale=True)
    return predictions_of(segmenter.add_pred_to_datasample(samples, results))


def test_detections_come_back_in_pixels_of_the_original(segmenter, monkeypatch):
    shapes = [RESIZED, (30, 75), ORIGINAL]
    batch = batch_of(*shapes)
    factors = [torch.tensor([w / ORIGINAL[1], h / ORIGINAL[0]] * 2) for h, w in shapes]
    found = detected(segmenter, monkeypatch, batch, [torch.tensor(BOXES) * factor for factor in factors])
    for each in found:
        order = each["labels"].argsort()
        assert torch.allclose(each["boxes"][order], torch.tensor(BOXES), atol=1e-3)
        for k, (x1, y1, x2, y2) in zip(order.tolist(), BOXES, strict=True):
            mask = each["masks"][k]
            assert mask["size"] == list(ORIGINAL)
            filled = rle.decode(mask)
            assert filled[int(y1) : int(y2), int(x1) : int(x2)].mean() > 0.98
            assert filled.sum() == pytest.approx((x2 - x1) * (y2 - y1), rel=0.02)


def test_boxes_beyond_the_resized_picture_are_cut_at_the_originals_border(segmenter, monkeypatch):
    batch = batch_of(RESIZED)  # padded to 96 x 128
    (found,) = detected(segmenter, monkeypatch, batch, [torch.tensor([[50.0, 30, 128, 96]])])
    assert found["boxes"].tolist() == [[40, 20, 100, 60]]


def test_no_regions_give_empty_predictions(segmenter, monkeypatch):
    batch = batch_of(RESIZED, RESIZED)
    none, one = detected(segmenter, monkeypatch, batch, [torch.zeros(0, 4), torch.tensor([[10.0, 10, 40, 40]])])
    assert none["boxes"].shape == (0, 4)
    assert none["masks"] == []
    assert len(one["masks"]) == len(one["boxes"]) == 1
    assert all(each["masks"] == [] for each in detected(segmenter, monkeypatch, batch, [torch.zeros(0, 4)] * 2))


def test_proposals_come_back_in_pixels_of_the_original(segmenter):
    batch = batch_of(RESIZED)
    inputs, samples = preprocess(segmenter, batch["image"], to_samples(batch), training=False)
    with torch.no_grad():
        features = segmenter.extract_feat(inputs)
        ((resized,), (original,)) = (
            proposals_of(segmenter.rpn_head.predict(features, samples, rescale=rescale)) for rescale in (False, True)
        )
    assert torch.allclose(original["boxes"], resized["boxes"] / torch.tensor([1.25, 1.5, 1.25, 1.5]), atol=1e-4)
    assert original["boxes"][:, 2].max() <= ORIGINAL[1]
    assert original["boxes"][:, 3].max() <= ORIGINAL[0]
    assert torch.equal(original["scores"], original["scores"].sort(descending=True).values)


def test_a_detector_trains_on_batches_without_any_annotation(segmenter):
    batch = batch_of((64, 96), (96, 64), masks=True)
    with torch.no_grad():
        losses = segmenter.loss(*preprocess(segmenter, batch["image"], to_samples(batch), training=True))
    for name, value in losses.items():
        assert torch.isfinite(torch.stack([*value]) if isinstance(value, list) else value).all(), name


def test_detections_in_bfloat16_come_out_as_float32(segmenter):
    batch = batch_of((64, 96), (96, 64))
    inputs, samples = preprocess(segmenter, batch["image"], to_samples(batch), training=False)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        found = predictions_of(segmenter.predict(inputs, samples, rescale=True))
    assert sum(len(each["boxes"]) for each in found)
    for each in found:
        assert each["boxes"].dtype == each["scores"].dtype == torch.float32
        assert len(each["masks"]) == len(each["boxes"])


def test_detections_without_area_are_told_apart():
    boxes = torch.tensor([[0.0, 0, 5, 5], [3, 0, 3, 5], [0, 7, 5, 5], [1, 1, 1.5, 2], [0, 0, float("nan"), 5]])
    masks = [{"counts": number} for number in range(5)]
    found = {"boxes": boxes, "scores": torch.arange(5.0), "labels": torch.arange(5), "masks": masks}
    kept, flat = with_area(found)
    assert flat == 3
    assert torch.equal(kept["boxes"], boxes[[0, 3]])
    assert kept["scores"].tolist() == kept["labels"].tolist() == [0, 3]
    assert kept["masks"] == [masks[0], masks[3]]
    again, flat = with_area(kept)
    assert (again, flat) == (kept, 0)
    nothing = {"boxes": torch.zeros(0, 4), "scores": torch.zeros(0), "labels": torch.zeros(0, dtype=torch.int64)}
    assert with_area(nothing) == (nothing, 0)
