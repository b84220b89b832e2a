# A small Faster R-CNN with FPN for the procedural scenes: 0.9 million parameters, quick on a CPU.
# mmdet's own names throughout; datamodules.DetectionScenes has twelve classes.
norm = {"type": "BN", "requires_grad": True}
anchors = {
    "type": "AnchorGenerator",
    "scales": [4],  # objects of the scenes are 16 to 60 pixels wide
    "ratios": [0.5, 1.0, 2.0],
    "strides": [4, 8, 16, 32],
}
model = {
    "type": "FasterRCNN",
    "data_preprocessor": {
        "type": "DetDataPreprocessor",
        "mean": [123.675, 116.28, 103.53],
        "std": [58.395, 57.12, 57.375],
        "bgr_to_rgb": True,
        "pad_size_divisor": 32,
    },
    "backbone": {
        "type": "ResNet",
        "depth": 18,
        "base_channels": 16,
        "num_stages": 4,
        "out_indices": (0, 1, 2, 3),
        "frozen_stages": 1,  # as the detectors of the thesis: stem, first stage and all statistics stay
        "norm_cfg": norm,
        "norm_eval": True,
        "style": "pytorch",
    },
    "neck": {"type": "FPN", "in_channels": [16, 32, 64, 128], "out_channels": 32, "num_outs": 4},
    "rpn_head": {
        "type": "RPNHead",
        "in_channels": 32,
        "feat_channels": 32,
        "anchor_generator": anchors,
        "bbox_coder": {"type": "DeltaXYWHBBoxCoder"},
        "loss_cls": {"type": "CrossEntropyLoss", "use_sigmoid": True, "loss_weight": 1.0},
        "loss_bbox": {"type": "L1Loss", "loss_weight": 1.0},
    },
    "roi_head": {
        "type": "StandardRoIHead",
        "bbox_roi_extractor": {
            "type": "SingleRoIExtractor",
            "roi_layer": {"type": "RoIAlign", "output_size": 5, "sampling_ratio": 1},
            "out_channels": 32,
            "featmap_strides": [4, 8, 16, 32],
            "finest_scale": 28,  # 56 is made for pictures of 800 pixels: a box of 28 goes to stride 4 here
        },
        "bbox_head": {
            "type": "Shared2FCBBoxHead",
            "in_channels": 32,
            "fc_out_channels": 128,
            "roi_feat_size": 5,
            "num_classes": 12,
            "bbox_coder": {"type": "DeltaXYWHBBoxCoder", "target_stds": [0.1, 0.1, 0.2, 0.2]},
            "reg_class_agnostic": False,
            "loss_cls": {"type": "CrossEntropyLoss", "use_sigmoid": False, "loss_weight": 1.0},
            "loss_bbox": {"type": "L1Loss", "loss_weight": 1.0},
        },
    },
    "train_cfg": {
        "rpn": {
            "assigner": {
                "type": "MaxIoUAssigner",
                "pos_iou_thr": 0.7,
                "neg_iou_thr": 0.3,
                "min_pos_iou": 0.3,
                "ignore_iof_thr": -1,
            },
            "sampler": {
                "type": "RandomSampler",
                "num": 64,
                "pos_fraction": 0.5,
                "neg_pos_ub": -1,
                "add_gt_as_proposals": False,
            },
            "allowed_border": -1,
            "pos_weight": -1,
        },
        "rpn_proposal": {"nms_pre": 200, "max_per_img": 120, "nms": {"type": "nms", "iou_threshold": 0.7}},
        "rcnn": {
            "assigner": {
                "type": "MaxIoUAssigner",
                "pos_iou_thr": 0.5,
                "neg_iou_thr": 0.5,
                "min_pos_iou": 0.5,
                "match_low_quality": False,
                "ignore_iof_thr": -1,
            },
            "sampler": {
                "type": "RandomSampler",
                "num": 48,
                "pos_fraction": 0.5,
                "neg_pos_ub": -1,
                "add_gt_as_proposals": True,
            },
            "pos_weight": -1,
        },
    },
    "test_cfg": {
        "rpn": {"nms_pre": 200, "max_per_img": 120, "nms": {"type": "nms", "iou_threshold": 0.7}},
        "rcnn": {"score_thr": 0.05, "nms": {"type": "nms", "iou_threshold": 0.5}, "max_per_img": 100},
    },
}
