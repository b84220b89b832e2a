# ViTDet with LiFT between its frozen ViT and its pyramid (thesis 8.2.5, table 8.3); a change to vitdet.py.
# Without fine-tuning: evaluate with the weights of a trained ViTDet and those of LiFT
# (overrides: {backbone.lift.weights: <file>}). With fine-tuning: train from the same; ViT and LiFT stay as they are,
# pyramid and heads learn, or the heads alone with {neck.frozen: true}.
_base_ = "vitdet.py"
model = {
    "backbone": {"frozen": True, "lift": {"weights": None, "frozen": True}},
    "pyramid_base": "halve_strides",
}
