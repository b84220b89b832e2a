"""The ViT that a training is about, as a network of its own."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from networks.any_size import prepare_vit, top_left, with_same_weights
from visionscapes.exporting.parts import BATCH, Exportable, Input, Size


class DenseViT(nn.Module):
    """The patch tokens of a ViT, in a form that can be followed once for images of all sizes.

    Args:
        vit: of timm.
        normalise: takes mean and deviation of the channels out of images in [0, 1].
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, vit: Any, normalise: Callable[[Tensor], Tensor]):
        super().__init__()
        self.vit = with_same_weights(vit)
        prepare_vit(self.vit)
        # What checks its own values, as torchvision's does, cannot be followed: what it does to colours can.
        colours = torch.arange(2.0, device=vit.patch_embed.proj.weight.device)[:, None, None, None].expand(2, 3, 1, 1)
        black, white = normalise(colours)
        self.register_buffer("shift", black)
        self.register_buffer("scale", white - black)
        self.any_size = bool(getattr(vit, "dynamic_img_size", False))

    @override
    def forward(self, images: Tensor) -> Tensor:
        """Return patch tokens (B, C, h, w) of images (B, 3, H, W) in [0, 1], after the last norm."""
        patch = self.vit.patch_embed.patch_size[0]
        if self.any_size:
            h, w = images.shape[2] // patch, images.shape[3] // patch
            images = top_left(images, h * patch, w * patch)
        else:
            h, w = self.vit.patch_embed.grid_size
            images = F.interpolate(images, tuple(self.vit.patch_embed.img_size), mode="bilinear", antialias=True)
        tokens = self.vit.forward_features(images * self.scale + self.shift)
        return tokens[:, self.vit.num_prefix_tokens :].transpose(1, 2).unflatten(2, (h, w))


def dense_vit(
    vit: Any, normalise: Callable[[Tensor], Tensor], reference: Callable[[Tensor], Tensor], name: str
) -> Exportable:
    """Return a ViT as it is exported.

    Args:
        vit: of timm.
        normalise: takes mean and deviation of the channels out of images in [0, 1].
        reference: what predicting makes of images.
        name: of the files.
    """
    patch, native = vit.patch_embed.patch_size[0], vit.patch_embed.img_size
    return Exportable(
        name=name,
        network=DenseViT(vit, normalise),
        inputs={"images": Input(shape=("batch", 3, "height", "width"), meaning="RGB images; normalised inside")},
        outputs={"features": "the ViT's patch tokens, a cell a patch"},
        sizes={
            "batch": BATCH,
            "height": Size(5 * patch + 3, (3 * patch, native[0]), fixed=native[0]),
            "width": Size(4 * patch + 1, (7 * patch + 2, native[1]), fixed=native[1]),
        },
        reference=reference,
        about={"patch_size": patch, "channels": vit.embed_dim},
    )
