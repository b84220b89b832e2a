"""Arguments of timm that make a ViT small enough for tests."""

MODEL = "vit_tiny_patch16_224"
TINY = {"patch_size": 8, "img_size": 32, "embed_dim": 16, "depth": 2, "num_heads": 2}
TINIEST = TINY | {"img_size": 16, "depth": 1}  # one block on four patches, for what is not about the ViT
# 64 pixels and channels with the model's own patch: wide enough for LiFT, deep enough for a facet of an inner layer.
TINY_64 = {"img_size": 64, "embed_dim": 64, "depth": 2, "num_heads": 2}
TINY_DETECTOR = {"model": MODEL, "model_args": TINY_64 | {"embed_dim": 32}}  # what the backbone of ViTDet takes
