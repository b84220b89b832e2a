"""The ViT that the supervisions of chapter 2 train."""

from typing import Any

import torch
from torch import Tensor, nn

from networks.vit_features import create_vit

# Of the data rather than of a checkpoint: the networks start from random weights.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class TrainableViT(nn.Module):
    """A ViT from random weights: images (B, 3, H, W) in [0, 1] to class tokens (B, C) and patch tokens (B, C, h, w).

    Args:
        model: name of a timm vision transformer.
        model_args: further arguments of ``timm.create_model``.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: str, model_args: dict[str, Any] | None = None):
        super().__init__()
        self.vit = create_vit(model, None, model_args or {})
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:  # noqa: D102
        tokens = self.vit.forward_features((images - self.mean) / self.std)
        h, w = (side // self.vit.patch_embed.patch_size[0] for side in images.shape[-2:])
        patches = tokens[:, self.vit.num_prefix_tokens :]
        return tokens[:, 0], patches.transpose(1, 2).unflatten(2, (h, w))
