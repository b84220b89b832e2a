"""A plain ViT as the backbone of a detector, with LiFT behind it where asked for (thesis 8.2.5).

Imported by `networks.detection.vit_pyramid`.
"""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from networks.lift_block import LiFTBlock, load_block
from networks.vit_features import create_vit, remove_final_norm
from visionscapes.errors import UserError


@MODELS.register_module()
class TimmViT(BaseModule):
    """A timm ViT that gives one map: normalised images (B, 3, H, W) to ((B, C, H / stride, W / stride),).

    The map is the output of the last block, without the final norm and without prefix tokens, as in Li et al.,
    "Exploring plain vision transformer backbones for object detection" (2022). Attention is global in every block:
    the windows of that paper save time at large images, but a ViT that is kept as it was pretrained would compute
    other features with them. Position embeddings are resized as timm does it.

    Args:
        model: see ``networks.vit_features.ViTFeatures``, likewise the next two.
        weights: "timm", a local file, or None for random weights.
        model_args: further arguments of ``timm.create_model``, such as drop_path_rate.
        frozen: keep the ViT as it is: no gradients, no drop path.
        lift: None, or options of a LiFT block behind the ViT, which doubles the map: "weights", a file of ours or of
            the authors (None: untrained); "frozen", keep the block as it is; "use_image", "stem" and "stem_blocks",
            see ``LiFTBlock``. The block sees the image as the ViT does. Or "bilinear", which doubles the map by
            bilinear interpolation and is what LiFT is compared with.

    Attributes:
        out_channels: C.
        patch_size: pixels.
        stride: of the map, pixels.
        mean: of the channels, that images have to be normalised with, in [0, 1].
        std: likewise.
        loaded: whether ViT and LiFT came with weights, and may be frozen.
        brought: names of parts with weights from a file of their own, which that of a whole detector may lack.

    Raises:
        UserError: there is no such model, or weights cannot be read or do not fit; in ``forward``, for an image that
            the ViT cannot take.
    """

    def __init__(
        self,
        model: str,
        weights: str | None = None,
        model_args: Mapping[str, Any] | None = None,
        frozen: bool = False,
        lift: Mapping[str, Any] | Literal["bilinear"] | None = None,
    ):
        super().__init__()
        self.vit = create_vit(model, weights, dict(model_args or {}))
        remove_final_norm(self.vit)  # would get no gradient
        self.frozen, self.out_channels = frozen, int(self.vit.embed_dim)
        self.patch_size = self.stride = int(self.vit.patch_embed.patch_size[0])
        self.mean, self.std = (tuple(self.vit.pretrained_cfg[key]) for key in ("mean", "std"))
        lift_loaded = isinstance(lift, Mapping) and lift.get("weights") is not None
        self.loaded = weights is not None and (not isinstance(lift, Mapping) or lift_loaded)
        self.brought = ("lift",) if lift_loaded else ()
        self.lift: LiFTBlock | Bilinear | None = None
        self.lift_frozen = False
        if lift is not None:
            if self.patch_size % 2:
                raise UserError(f"LiFT behind '{model}': its patch of {self.patch_size} pixels cannot be halved")
            if not (isinstance(lift, Mapping) or lift == "bilinear"):
                raise UserError(f"backbone.lift is '{lift}': give options of a LiFT block, 'bilinear', or None")
            self.lift, self.lift_frozen = (
                (Bilinear(), True) if isinstance(lift, str) else _lift_block(self.out_channels, self.patch_size, **lift)
            )
            self.stride //= 2
        self.vit.requires_grad_(not frozen)
        self.train()

    @override
    def init_weights(self) -> None:
        """Do nothing: weights are in place. mmengine would otherwise call timm's method, which draws new ones."""

    @override
    def train(self, mode: bool = True) -> "TimmViT":
        """Keep what is frozen in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.vit.eval()
        if self.lift is not None and self.lift_frozen:
            self.lift.eval()
        return self

    @override
    def forward(self, images: Tensor) -> tuple[Tensor]:
        self._check(*images.shape[-2:])
        last = [len(self.vit.blocks) - 1]
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            (features,) = self.vit.forward_intermediates(images, last, stop_early=True, intermediates_only=True)
        return (features if self.lift is None else self.lift(features, images),)

    def _check(self, height: int, width: int) -> None:
        if height % self.patch_size or width % self.patch_size:
            raise UserError(
                f"an image of {width}x{height} pixels is no multiple of the ViT's patch of {self.patch_size}: "
                "leave pad_size_divisor out of the detector's data_preprocessor, it is then set to fit"
            )
        fixed = None if getattr(self.vit, "dynamic_img_size", False) else self.vit.patch_embed.img_size
        if fixed is not None and tuple(fixed) != (height, width):
            raise UserError(
                f"this ViT takes images of {fixed[1]}x{fixed[0]} pixels only, not {width}x{height}: it has relative "
                "positions of one size; take one with absolute or rotary positions"
            )


class Bilinear(nn.Module):
    """Doubles the resolution of features as LiFT does, but by bilinear interpolation, without regard to the image."""

    @override
    def forward(self, features: Tensor, image: Tensor) -> Tensor:
        return F.interpolate(features, scale_factor=2, mode="bilinear", align_corners=False)


def _lift_block(
    dim: int, patch_size: int, weights: str | None = None, frozen: bool = True, **size: Any
) -> tuple[LiFTBlock, bool]:
    block = LiFTBlock(dim, patch_size, **size)
    if weights is not None:
        load_block(block, weights)
    return block.requires_grad_(not frozen), frozen
