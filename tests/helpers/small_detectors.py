"""Detectors of mmdet with few weights, by the configuration that they are cut down from."""

from typing import Any

FPN = "configs/detectors/faster_rcnn_scenes.py"
C4 = "mmdet::faster_rcnn/faster-rcnn_r50-caffe_c4-1x_coco.py"
MASKS = "mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py"
CASCADE = "mmdet::cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py"
FCOS_RPN = "mmdet::faster_rcnn/faster-rcnn_r50_fpn_fcos-rpn_1x_coco.py"
FCOS = "mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py"
RETINA = "mmdet::retinanet/retinanet_r50_fpn_1x_coco.py"
CENTERNET = "configs/detectors/centernet2.py"
# What makes mmdet's ResNet-50 with FPN small.
PYRAMID: dict[str, Any] = {
    "backbone.depth": 18,
    "backbone.base_channels": 8,
    "backbone.frozen_stages": -1,
    "neck.in_channels": [8, 16, 32, 64],
    "neck.out_channels": 16,
}
TWO_STAGES: dict[str, Any] = {
    "roi_head.bbox_roi_extractor.out_channels": 16,
    "roi_head.bbox_head.in_channels": 16,
    "roi_head.bbox_head.fc_out_channels": 32,
    "roi_head.bbox_head.num_classes": 12,
    "train_cfg.rpn_proposal.max_per_img": 40,
    "train_cfg.rcnn.sampler.num": 16,
    "test_cfg.rpn.max_per_img": 40,
    "test_cfg.rcnn.max_per_img": 5,
}
ONE_STAGE: dict[str, Any] = {
    "bbox_head.num_classes": 12,
    "bbox_head.in_channels": 16,
    "bbox_head.feat_channels": 32,
    "bbox_head.stacked_convs": 1,
}
# Batch norm is frozen unless a test asks for it: what a picture gives then does not depend on its neighbours.
SMALL: dict[str, dict[str, Any]] = {
    FPN: {
        "backbone.base_channels": 8,
        "backbone.frozen_stages": -1,
        "backbone.norm_eval": True,
        "backbone.norm_cfg.requires_grad": True,
        "neck.in_channels": [8, 16, 32, 64],
        "neck.out_channels": 16,
        "rpn_head.in_channels": 16,
        "rpn_head.feat_channels": 16,
        "roi_head.bbox_roi_extractor.out_channels": 16,
        "roi_head.bbox_roi_extractor.roi_layer.output_size": 5,
        "roi_head.bbox_head.roi_feat_size": 5,
        "roi_head.bbox_head.in_channels": 16,
        "roi_head.bbox_head.fc_out_channels": 32,
        "train_cfg.rpn.sampler.num": 64,
        "train_cfg.rpn_proposal.nms_pre": 200,
        "train_cfg.rpn_proposal.max_per_img": 40,
        "train_cfg.rcnn.sampler.num": 16,
        "test_cfg.rpn.nms_pre": 200,
        "test_cfg.rpn.max_per_img": 40,
    },
    C4: {
        "backbone.depth": 18,
        "backbone.frozen_stages": -1,
        "rpn_head.in_channels": 256,
        "rpn_head.feat_channels": 256,
        "roi_head.shared_head.depth": 18,
        "roi_head.bbox_roi_extractor.out_channels": 256,
        "roi_head.bbox_head.in_channels": 512,
        "roi_head.bbox_head.num_classes": 12,
        "train_cfg.rpn_proposal.nms_pre": 60,
        "train_cfg.rpn_proposal.max_per_img": 8,
        "train_cfg.rcnn.sampler.num": 4,
        "test_cfg.rpn.max_per_img": 8,
    },
    MASKS: PYRAMID
    | TWO_STAGES
    | {
        "rpn_head.in_channels": 16,
        "rpn_head.feat_channels": 16,
        "roi_head.mask_roi_extractor.out_channels": 16,
        "roi_head.mask_head": {"in_channels": 16, "conv_out_channels": 8, "num_convs": 1, "num_classes": 12},
    },
    CASCADE: PYRAMID
    | {key: value for key, value in TWO_STAGES.items() if "sampler" not in key}
    | {"rpn_head.in_channels": 16, "rpn_head.feat_channels": 16},
    FCOS_RPN: PYRAMID
    | TWO_STAGES
    | {"rpn_head.in_channels": 16, "rpn_head.feat_channels": 32, "rpn_head.stacked_convs": 1},
    FCOS: PYRAMID | ONE_STAGE,
    RETINA: PYRAMID | ONE_STAGE,
    CENTERNET: {
        "backbone.depth": 18,
        "backbone.base_channels": 8,
        "backbone.norm_cfg": {"type": "BN", "requires_grad": True},
        "neck.in_channels": [16, 32, 64],
        "neck.out_channels": 16,
        "rpn_head.in_channels": 16,
        "rpn_head.feat_channels": 16,
        "rpn_head.stacked_convs": 1,
        "rpn_head.norm_cfg": {"type": "GN", "num_groups": 4},
        "roi_head.bbox_roi_extractor.out_channels": 16,
        "roi_head.mask_roi_extractor.out_channels": 16,
        "roi_head.mask_head.in_channels": 16,
        "roi_head.mask_head.conv_out_channels": 16,
        "roi_head.mask_head.num_convs": 1,
        "train_cfg.rpn_proposal.max_per_img": 20,
        "test_cfg.rpn.max_per_img": 10,
        "train_cfg.rcnn.0.sampler.num": 16,
    }
    | {
        f"roi_head.bbox_head.{stage}.{key}": value
        for stage in range(3)
        for key, value in {"in_channels": 16, "fc_out_channels": 16, "loss_cls.power": 0}.items()
    },
}
ONE = [(8, 8, 40, 40, 0)]
TWO = [(4, 4, 28, 28, 0), (30, 34, 60, 62, 1)]
