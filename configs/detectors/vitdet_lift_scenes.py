# The small ViTDet of the procedural scenes with LiFT between its frozen ViT and its pyramid: strides 2, 4, 8 and 16.
# What it starts from, a trained ViTDet and a LiFT block, is named where it is trained: configs/vitdet_lift.yaml.
_base_ = "vitdet_scenes.py"
model = {
    "backbone": {"frozen": True, "lift": {"weights": None, "frozen": True}},
    "pyramid_base": "halve_strides",
}
