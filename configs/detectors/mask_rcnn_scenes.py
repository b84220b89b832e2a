# The small Faster R-CNN of the procedural scenes with a mask head, as Mask R-CNN has one: 1.0 million parameters.
_base_ = "faster_rcnn_scenes.py"
model = {
    "type": "MaskRCNN",
    "roi_head": {
        "mask_roi_extractor": {
            "type": "SingleRoIExtractor",
            "roi_layer": {"type": "RoIAlign", "output_size": 10, "sampling_ratio": 1},
            "out_channels": 32,
            "featmap_strides": [4, 8, 16, 32],
            "finest_scale": 28,  # as for boxes
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
    "train_cfg": {"rcnn": {"mask_size": 20}},
    "test_cfg": {"rcnn": {"mask_thr_binary": 0.5}},
}
