# A small ViTDet for the procedural scenes: Mask R-CNN on the ViT of configs/lift.yaml, 1.1 million parameters.
# As in vitdet.py strides, channels of the ViT and padding are derived; datamodules.DetectionScenes has twelve classes.
deltas = {"type": "DeltaXYWHBBoxCoder"}
model = {
    "type": "ViTDet",
    # The ViT learned from pictures that were normalised so; its name stands for another way.
    "data_preprocessor": {
        "type": "DetDataPreprocessor",
        "mean": [123.675, 116.28, 103.53],
        "std": [58.395, 57.12, 57.375],
        "pad_mask": True,
    },
    "backbone": {
        "type": "TimmViT",
        "model": "vit_tiny_patch16_224",
        "model_args": {"patch_size": 8, "img_size": 64, "embed_dim": 128, "depth": 4, "num_heads": 4},
        "weights": None,
    },
    "neck": {"type": "SimpleFeaturePyramid", "scales": [2, 1, 0.5], "out_channels": 32},  # strides 4, 8, 16 and 32
    "rpn_head": {
        "type": "RPNHead",
        "in_channels": 32,
        "feat_channels": 32,
        "anchor_generator": {"type": "AnchorGenerator", "scales": [3], "ratios": [0.5, 1.0, 2.0]},
        "bbox_coder": deltas,
        "loss_cls": {"type": "CrossEntropyLoss", "use_sigmoid": True, "loss_weight": 1.0},
        "loss_bbox": {"type": "L1Loss", "loss_weight": 1.0},
    },
    "roi_head": {
        "type": "StandardRoIHead",
        "bbox_roi_extractor": {
            "type": "SingleRoIExtractor",
            "roi_layer": {"type": "RoIAlign", "output_size": 5, "sampling_ratio": 1},
            "out_channels": 32,
        },
        "bbox_head": {
            "type": "Shared2FCBBoxHead",
            "in_channels": 32,
            "fc_out_channels": 128,
            "roi_feat_size": 5,
            "num_classes": 12,
            "bbox_coder": {**deltas, "target_stds": [0.1, 0.1, 0.2, 0.2]},
            "reg_class_agnostic": False,
            "loss_cls": {"type": "CrossEntropyLoss", "use_sigmoid": False, "loss_weight": 1.0},
            "loss_bbox": {"type": "L1Loss", "loss_weight": 1.0},
        },
        "mask_roi_extractor": {
            "type": "SingleRoIExtractor",
            "roi_layer": {"type": "RoIAlign", "output_size": 10, "sampling_ratio": 1},
            "out_channels": 32,
        },
        "mask_head": {
            "type": "FCNMaskHead",
            "num_convs": 2,
            "in_channels": 32,
            "conv_out_channels": 32,
            "num_classes": 12,
            "loss_mask": {"type": "CrossEntropyLoss", "use_mask": True, "loss_weight": 1.0},
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
            "mask_size": 20,
            "pos_weight": -1,
        },
    },
    "test_cfg": {
        "rpn": {"nms_pre": 200, "max_per_img": 120, "nms": {"type": "nms", "iou_threshold": 0.7}},
        "rcnn": {
            "score_thr": 0.05,
            "nms": {"type": "nms", "iou_threshold": 0.5},
            "max_per_img": 100,
            "mask_thr_binary": 0.5,
        },
    },
}
