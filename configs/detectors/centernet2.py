# CenterNet2 with ResNet-50 for LVIS, as X-Paste trains it (thesis table 7.1): instance segmentation of 1203 classes.
# It starts from a ResNet-50 trained on ImageNet-21k (backbone_weights). The federated loss has to be told how many
# pictures show each class, see networks.detection.federated_loss; for data sets with complete annotations take
# roi_head.bbox_head.<stage>.loss_cls.num_sampled = None.
strides = [8, 16, 32, 64, 128]  # P3 to P7
stages = [
    (0.6, [1 / 10, 1 / 10, 1 / 5, 1 / 5]),
    (0.7, [1 / 20, 1 / 20, 1 / 10, 1 / 10]),
    (0.8, [1 / 30, 1 / 30, 1 / 15, 1 / 15]),
]
nms = {"type": "nms", "iou_threshold": 0.9}
model = {
    "type": "CascadeRCNN",
    "data_preprocessor": {
        "type": "DetDataPreprocessor",
        "mean": [123.675, 116.28, 103.53],
        "std": [58.395, 57.12, 57.375],
        "bgr_to_rgb": True,
        "pad_mask": True,
        "pad_size_divisor": 32,
    },
    "backbone": {
        "type": "ResNet",
        "depth": 50,
        "num_stages": 4,
        "out_indices": (1, 2, 3),
        "frozen_stages": -1,
        "norm_cfg": {"type": "BN", "requires_grad": False},
        "norm_eval": True,
        "style": "pytorch",
    },
    "neck": {
        "type": "FPN",
        "in_channels": [512, 1024, 2048],
        "out_channels": 256,
        "add_extra_convs": "on_output",
        "relu_before_extra_convs": True,
        "num_outs": 5,
    },
    "rpn_head": {
        "type": "CenterNetProposals",
        "num_classes": 1,
        "in_channels": 256,
        "feat_channels": 256,
        "stacked_convs": 4,
        "strides": strides,
        "regress_ranges": ((0, 80), (64, 160), (128, 320), (256, 640), (512, 10_000_000)),
        "conv_bias": True,
        "norm_cfg": {"type": "GN", "num_groups": 32},
        "hm_min_radius": 4,
        "hm_min_overlap": 0.8,
        "more_positives": False,
        "more_pos_thresh": 0.2,
        "more_pos_topk": 9,
        "loss_cls": {
            "type": "HeatmapFocalLoss",
            "alpha": 0.25,
            "gamma": 2.0,
            "beta": 4.0,
            "ignore_high_fp": 0.85,
            "pos_weight": 0.5,
            "neg_weight": 0.5,
        },
        "loss_bbox": {"type": "GIoULoss", "loss_weight": 1.0},
    },
    "roi_head": {
        "type": "CenterNet2RoIHead",
        "multiply_proposal_score": True,
        "num_stages": 3,
        "stage_loss_weights": [1, 1, 1],
        "bbox_roi_extractor": {
            "type": "SingleRoIExtractor",
            "roi_layer": {"type": "RoIAlign", "output_size": 7, "sampling_ratio": 0},
            "out_channels": 256,
            "featmap_strides": strides[:3],
            "finest_scale": 112,
        },
        "bbox_head": [
            {
                "type": "CenterNet2BBoxHead",
                "in_channels": 256,
                "fc_out_channels": 1024,
                "roi_feat_size": 7,
                "num_classes": 1203,
                "prior_prob": 0.01,
                "bbox_coder": {
                    "type": "DeltaXYWHBBoxCoder",
                    "target_means": [0.0, 0.0, 0.0, 0.0],
                    "target_stds": target_stds,
                },
                "loss_cls": {"type": "FederatedLoss", "num_sampled": 50, "power": 0.5, "loss_weight": 1.0},
                "loss_bbox": {"type": "L1Loss", "loss_weight": 1.0},
            }
            for _, target_stds in stages
        ],
        "mask_roi_extractor": {
            "type": "SingleRoIExtractor",
            "roi_layer": {"type": "RoIAlign", "output_size": 14, "sampling_ratio": 0},
            "out_channels": 256,
            "featmap_strides": strides[:3],
            "finest_scale": 112,
        },
        "mask_head": {
            "type": "FCNMaskHead",
            "num_convs": 4,
            "in_channels": 256,
            "conv_out_channels": 256,
            "num_classes": 1203,
            "class_agnostic": True,
            "loss_mask": {"type": "CrossEntropyLoss", "use_mask": True, "loss_weight": 1.0},
        },
    },
    "train_cfg": {
        "rpn": {},
        "rpn_proposal": {"score_thr": 1e-4, "nms_pre": 4000, "max_per_img": 2000, "nms": nms, "min_bbox_size": 0},
        "rcnn": [
            {
                "assigner": {
                    "type": "MaxIoUAssigner",
                    "pos_iou_thr": iou,
                    "neg_iou_thr": iou,
                    "min_pos_iou": iou,
                    "match_low_quality": False,
                    "ignore_iof_thr": -1,
                },
                # Later stages take what the first one has drawn.
                "sampler": {"type": "PseudoSampler"}
                if number
                else {
                    "type": "RandomSampler",
                    "num": 512,
                    "pos_fraction": 0.25,
                    "neg_pos_ub": -1,
                    "add_gt_as_proposals": True,
                },
                "mask_size": 28,
                "pos_weight": -1,
                "debug": False,
            }
            for number, (iou, _) in enumerate(stages)
        ],
    },
    "test_cfg": {
        "rpn": {"score_thr": 1e-4, "nms_pre": 1000, "max_per_img": 256, "nms": nms, "min_bbox_size": 0},
        "rcnn": {
            "score_thr": 0.02,
            "nms": {"type": "nms", "iou_threshold": 0.5},
            "max_per_img": 300,
            "mask_thr_binary": 0.5,
        },
    },
}
