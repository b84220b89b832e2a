"""Detectors of mmdet's collection, made small, train a step and predict, all with the stand-in operators.

Each is one of the collection's own configurations. What is small are widths, depths and the numbers of samples.
"""

import pytest
import torch

from networks.detection.build import build_detector
from tests.helpers.drawn_detection import drawn_batch, losses_of, predicted, total_of, without_gradient
from tests.helpers.left_behind import left_behind

SIZE = (64, 96)
PICTURES = [[(8, 8, 56, 48, 0), (40, 20, 90, 60, 1)], [(20, 4, 80, 60, 1), (2, 30, 30, 62, 0)]]

RESNET = {"backbone.depth": 18, "backbone.base_channels": 8, "backbone.frozen_stages": -1}
FPN = RESNET | {"neck.in_channels": [8, 16, 32, 64], "neck.out_channels": 16}
# mmdet starts bottlenecks as identities, inside which gradients are 0 at the first step.
BOTTLENECKS = {
    "backbone.depth": 50,
    "backbone.zero_init_residual": False,
    "neck.in_channels": [32, 64, 128, 256],
}
RPN = {
    "rpn_head.in_channels": 16,
    "rpn_head.feat_channels": 16,
    "train_cfg.rpn_proposal.max_per_img": 30,
    "test_cfg.rpn.max_per_img": 10,
}
BOXES = {
    "roi_head.bbox_roi_extractor.out_channels": 16,
    "roi_head.bbox_head.in_channels": 16,
    "roi_head.bbox_head.fc_out_channels": 16,
    "train_cfg.rcnn.sampler.num": 16,
    "test_cfg.rcnn.max_per_img": 5,
    "test_cfg.rcnn.score_thr": 0.0,
}
MASKS = {
    "roi_head.mask_roi_extractor.out_channels": 16,
    "roi_head.mask_head.in_channels": 16,
    "roi_head.mask_head.conv_out_channels": 16,
    "roi_head.mask_head.num_convs": 1,
}
FASTER = FPN | RPN | BOXES
MASK = FASTER | MASKS
C4 = {
    "backbone.depth": 18,
    "backbone.frozen_stages": -1,
    "backbone.norm_cfg.requires_grad": True,
    "roi_head.shared_head.depth": 18,
    "roi_head.shared_head.norm_cfg.requires_grad": True,
    "rpn_head.in_channels": 256,
    "rpn_head.feat_channels": 16,
    "roi_head.bbox_roi_extractor.out_channels": 256,
    "roi_head.bbox_roi_extractor.roi_layer.output_size": 6,
    "roi_head.bbox_head.in_channels": 512,
    "roi_head.bbox_head.roi_feat_size": 3,
    "train_cfg.rcnn.sampler.num": 8,
    "train_cfg.rpn_proposal.max_per_img": 20,
    "test_cfg.rpn.max_per_img": 5,
    "test_cfg.rcnn.max_per_img": 5,
    "test_cfg.rcnn.score_thr": 0.0,
}
DENSE = {
    "bbox_head.in_channels": 32,
    "bbox_head.feat_channels": 32,
    "bbox_head.stacked_convs": 1,
    "test_cfg.max_per_img": 5,
    "test_cfg.score_thr": 0.0,
}
ONE_STAGE = FPN | DENSE | {"neck.out_channels": 32}
FFN = {"self_attn_cfg.embed_dims": 32, "ffn_cfg.embed_dims": 32, "ffn_cfg.feedforward_channels": 32}
TRANSFORMER = {
    **RESNET,
    "backbone.norm_cfg.requires_grad": True,
    "num_queries": 10,
    "neck.out_channels": 32,
    "encoder.num_layers": 1,
    "decoder.num_layers": 2,
    **{f"encoder.layer_cfg.{key}": value for key, value in FFN.items()},
    **{f"decoder.layer_cfg.{key}": value for key, value in FFN.items()},
    "decoder.layer_cfg.cross_attn_cfg.embed_dims": 32,
    "positional_encoding.num_feats": 16,
    "test_cfg.max_per_img": 5,
}
SPARSE = {
    **FPN,
    "neck.out_channels": 32,
    "rpn_head.num_proposals": 10,
    "rpn_head.proposal_feature_channel": 32,
    "roi_head.proposal_feature_channel": 32,
    "roi_head.bbox_roi_extractor.out_channels": 32,
    "roi_head.bbox_head.in_channels": 32,
    "roi_head.bbox_head.feedforward_channels": 32,
    "roi_head.bbox_head.dynamic_conv_cfg.in_channels": 32,
    "roi_head.bbox_head.dynamic_conv_cfg.feat_channels": 8,
    "roi_head.bbox_head.dynamic_conv_cfg.out_channels": 32,
    "test_cfg.rcnn.max_per_img": 5,
}
YOLOX = {
    "backbone.widen_factor": 0.125,
    "backbone.deepen_factor": 0.1,
    "neck.in_channels": [32, 64, 128],
    "neck.out_channels": 32,
    "neck.num_csp_blocks": 1,
    "bbox_head.in_channels": 32,
    "bbox_head.feat_channels": 32,
    "test_cfg.score_thr": 0.0,
}
MASK2FORMER = {
    **RESNET,
    "backbone.norm_cfg.requires_grad": True,
    "panoptic_head.in_channels": [8, 16, 32, 64],
    "panoptic_head.feat_channels": 32,
    "panoptic_head.out_channels": 32,
    "panoptic_head.num_queries": 6,
    "panoptic_head.pixel_decoder.encoder.num_layers": 1,
    "panoptic_head.pixel_decoder.encoder.layer_cfg.self_attn_cfg.embed_dims": 32,
    "panoptic_head.pixel_decoder.encoder.layer_cfg.ffn_cfg.embed_dims": 32,
    "panoptic_head.pixel_decoder.encoder.layer_cfg.ffn_cfg.feedforward_channels": 32,
    "panoptic_head.pixel_decoder.positional_encoding.num_feats": 16,
    "panoptic_head.positional_encoding.num_feats": 16,
    "panoptic_head.transformer_decoder.num_layers": 2,
    **{f"panoptic_head.transformer_decoder.layer_cfg.{key}": value for key, value in FFN.items()},
    "panoptic_head.transformer_decoder.layer_cfg.cross_attn_cfg.embed_dims": 32,
    "train_cfg.num_points": 50,
    "test_cfg.max_per_image": 5,
}
CENTERNET = {
    **RESNET,
    "neck.in_channels": 64,
    "neck.num_deconv_filters": [16, 16, 16],
    "bbox_head.in_channels": 16,
    "bbox_head.feat_channels": 16,
    "test_cfg.max_per_img": 5,
}
DYHEAD = {
    **RESNET,
    "neck.0.in_channels": [8, 16, 32, 64],
    "neck.0.out_channels": 32,
    "neck.1.in_channels": 32,
    "neck.1.out_channels": 32,
    "neck.1.num_blocks": 2,
    **DENSE,
    "bbox_head.stacked_convs": 0,
}
SOFT_NMS = {"test_cfg.rcnn.nms": {"type": "soft_nms", "iou_threshold": 0.5, "min_score": 0.01}}

FAMILIES = {
    "faster_rcnn/faster-rcnn_r50_fpn_1x_coco": FASTER,
    "mask_rcnn/mask-rcnn_r50_fpn_1x_coco": MASK,
    "cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco": MASK,
    "retinanet/retinanet_r50_fpn_1x_coco": ONE_STAGE,
    "fcos/fcos_r50-caffe_fpn_gn-head_1x_coco": ONE_STAGE | {"backbone.norm_cfg.requires_grad": True},
    "atss/atss_r50_fpn_1x_coco": ONE_STAGE,
    "gfl/gfl_r50_fpn_1x_coco": ONE_STAGE,
    "yolox/yolox_tiny_8xb8-300e_coco": YOLOX,
    "detr/detr_r50_8xb2-150e_coco": TRANSFORMER | {"neck.in_channels": [64], "bbox_head.embed_dims": 32},
    "deformable_detr/deformable-detr_r50_16xb2-50e_coco": (
        TRANSFORMER | {"neck.in_channels": [16, 32, 64], "bbox_head.embed_dims": 32}
    ),
    "dcn/faster-rcnn_r50-dconv-c3-c5_fpn_1x_coco": FASTER | BOTTLENECKS,
    "dcnv2/faster-rcnn_r50-mdconv-c3-c5_fpn_1x_coco": FASTER | BOTTLENECKS | SOFT_NMS,
    "faster_rcnn/faster-rcnn_r50-caffe_c4-1x_coco": C4,
    "mask_rcnn/mask-rcnn_r50-caffe-c4_1x_coco": (
        C4
        | {
            "roi_head.mask_head.in_channels": 512,
            "roi_head.mask_head.conv_out_channels": 16,
            "train_cfg.rcnn.mask_size": 6,
        }
    ),
    "dcn/faster-rcnn_r50_fpn_dpool_1x_coco": (
        FASTER
        | {
            "roi_head.bbox_roi_extractor.roi_layer.output_channels": 16,
            "roi_head.bbox_roi_extractor.roi_layer.deform_fc_channels": 16,
        }
    ),
    "sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco": SPARSE,
    "tood/tood_r50_fpn_1x_coco": ONE_STAGE | {"bbox_head.stacked_convs": 2, "bbox_head.num_dcn": 1},
    "htc/htc_r50_fpn_1x_coco": MASK,
    "mask2former/mask2former_r50_8xb2-lsj-50e_coco": MASK2FORMER,
    "mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic": MASK2FORMER,
    "pisa/faster-rcnn_r50_fpn_pisa_1x_coco": FASTER,
    "seesaw_loss/mask-rcnn_r50_fpn_seesaw-loss_random-ms-2x_lvis-v1": MASK,
    "ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco": {"test_cfg.max_per_img": 5},
    "carafe/mask-rcnn_r50_fpn-carafe_1x_coco": MASK,
    "centernet/centernet_r18-dcnv2_8xb16-crop512-140e_coco": CENTERNET,
    "dyhead/atss_r50_fpn_dyhead_1x_coco": DYHEAD,
}


def step_of(name, overrides, bf16=False):
    torch.manual_seed(0)
    detector = build_detector(f"mmdet::{name}", overrides, num_classes=2)
    batch = drawn_batch(PICTURES, SIZE)
    loss = total_of(losses_of(detector, batch, bf16))
    loss.backward()
    return detector, batch, loss


def check(name, overrides, bf16=False):
    detector, batch, loss = step_of(name, overrides, bf16)
    assert loss.isfinite()
    assert loss > 0
    assert without_gradient(detector) == []
    grads = [p.grad for p in detector.parameters() if p.grad is not None]
    assert all(grad.isfinite().all() for grad in grads)
    assert sum(bool(grad.any()) for grad in grads) > len(grads) / 2

    detections = predicted(detector, batch, bf16)
    assert len(detections) == len(PICTURES)
    for found in detections:
        assert found["boxes"].shape == (len(found["scores"]), 4)
        assert found["boxes"].isfinite().all()
        assert (found["labels"] < 2).all()
    assert sum(len(found["boxes"]) for found in detections)
    assert left_behind(torch.nn.ModuleList([detector]).to("meta"), "meta") == []


@pytest.mark.filterwarnings("ignore:the branches for stuff", "ignore:the backbone has no weights")
@pytest.mark.parametrize("name", FAMILIES)
def test_small_detectors_train_and_predict(name):
    check(name, FAMILIES[name])


@pytest.mark.filterwarnings("ignore:the backbone has no weights")
@pytest.mark.parametrize(
    "name",
    [
        "mask_rcnn/mask-rcnn_r50_fpn_1x_coco",
        "dcn/faster-rcnn_r50-dconv-c3-c5_fpn_1x_coco",
        "deformable_detr/deformable-detr_r50_16xb2-50e_coco",
    ],
)
def test_small_detectors_train_and_predict_in_bfloat16(name):
    check(name, FAMILIES[name], bf16=True)
