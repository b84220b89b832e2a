"""The ViT that the supervisions of chapter 2 train."""

import math
from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from lightning_modules.method import Method
from lightning_modules.supervision.exporting import dense_vit
from networks.cells import Cells
from networks.vit_features import create_vit
from visionscapes.errors import UserError
from visionscapes.exporting.parts import Exportable

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

    def normalise(self, images: Tensor) -> Tensor:
        """Return images (B, 3, H, W) in [0, 1] with the channels' mean and standard deviation taken out."""
        return (images - self.mean) / self.std

    @override
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        tokens = self.vit.forward_features(self.normalise(images))
        h, w = (side // self.vit.patch_embed.patch_size[0] for side in images.shape[-2:])
        patches = tokens[:, self.vit.num_prefix_tokens :]
        return tokens[:, 0], patches.transpose(1, 2).unflatten(2, (h, w))


class KeptViT(NamedTuple):
    """The ViT that a training is about, without what it learns with.

    Attributes:
        vit: of timm.
        normalise: takes mean and deviation of the channels out of images (B, 3, H, W) in [0, 1].
    """

    vit: Any
    normalise: Callable[[Tensor], Tensor]


class ViTSupervision(Method):
    """Base of the ways to train a ViT: predicting gives the patch tokens of the ViT, dense features of a picture."""

    gives = "the ViT's patch tokens (C, h, w) float32, a cell a patch"

    @abstractmethod
    def kept_vit(self) -> KeptViT:
        """Return the ViT whose weights ``backbone_state`` gives."""

    @override
    def predict_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Return the patch tokens (B, C, h, w) of ``batch["image"]`` (B, 3, H, W) in [0, 1], after the last norm."""
        return patch_tokens(self.kept_vit(), batch["image"])

    def check_image(self, height: int, width: int) -> None:
        """Check that an image of this size in pixels has patch tokens.

        Raises:
            UserError: it is smaller than a patch.
        """
        _check_size(self.kept_vit().vit, height, width)

    def cells(self) -> Cells | None:
        """Return where the patches lie in any picture; None for a ViT of one size, which pictures are resized to."""
        vit = self.kept_vit().vit
        return Cells(0.0, float(vit.patch_embed.patch_size[0])) if getattr(vit, "dynamic_img_size", False) else None

    def exportable(self) -> list[Exportable]:
        """Return the ViT to export: images to patch tokens, normalising inside."""
        kept, name = self.kept_vit(), type(self).__name__.lower()
        return [dense_vit(*kept, reference=partial(patch_tokens, kept), name=f"{name}_vit")]

    @override
    def default_inputs(self) -> dict[str, Any]:
        """Return twice the size that the ViT was built for, as the analysis of chapter 2 shows it photographs."""
        return {"longer_side": 2 * max(self.kept_vit().vit.patch_embed.img_size)}


def patch_tokens(kept: KeptViT, images: Tensor) -> Tensor:
    """Return the patch tokens (B, C, h, w) of images (B, 3, H, W) in [0, 1], after the last norm.

    Pixels to the right and below the last whole patch are not seen. A ViT of one size only, such as timm's ``Beit``,
    sees the image resized to that.

    Args:
        kept: the ViT.
        images: of any size from a patch on.

    Raises:
        UserError: an image is smaller than a patch.
    """
    vit = kept.vit
    patch = vit.patch_embed.patch_size[0]
    _check_size(vit, *images.shape[-2:])
    if not getattr(vit, "dynamic_img_size", False):
        images = F.interpolate(images, tuple(vit.patch_embed.img_size), mode="bilinear", antialias=True)
    h, w = (side // patch for side in images.shape[-2:])
    tokens = vit.forward_features(kept.normalise(images[..., : h * patch, : w * patch]))
    return tokens[:, vit.num_prefix_tokens :].transpose(1, 2).unflatten(2, (h, w))


def hold_patch_embedding(vit: Any) -> None:
    """Freeze the patch embedding of a new ``vit`` at random weights, as MoCo-v3 does to train stably (its 4.2).

    The weights are uniform within MoCo-v3's bound, with biases of 0.
    """
    projection = vit.patch_embed.proj
    fan_in = projection.weight[0].numel()
    bound = math.sqrt(6 / (fan_in + vit.embed_dim))
    nn.init.uniform_(projection.weight, -bound, bound)
    if projection.bias is not None:
        nn.init.zeros_(projection.bias)
    vit.patch_embed.requires_grad_(False)


def fix_positions(vit: Any) -> None:
    """Put fixed 2-D sine-cosine position embeddings into ``vit``, as MoCo-v3 and MAE have; prefix tokens get zeros.

    Raises:
        UserError: the ViT has no table of absolute positions over a square grid.
    """
    from lightly.models.utils import initialize_2d_sine_cosine_positional_embedding

    table, (h, w) = getattr(vit, "pos_embed", None), vit.patch_embed.grid_size
    if table is None or h != w or vit.embed_dim % 4:
        raise UserError(
            "fixed positions need a ViT with a table of absolute positions, a square img_size and an embed_dim that is "
            "a multiple of 4: choose another model, or keep its own positions with model.fixed_positions=false"
        )
    prefix = 0 if vit.no_embed_class else vit.num_prefix_tokens
    initialize_2d_sine_cosine_positional_embedding(table, num_prefix_tokens=prefix)


def require_native_size(vit: Any, images: Tensor) -> None:
    """Refuse images (B, 3, H, W) of another size than the one that ``vit`` is built for.

    Raises:
        UserError: says both sizes.
    """
    height, width = vit.patch_embed.img_size
    if tuple(images.shape[-2:]) != (height, width):
        raise UserError(
            f"this ViT is built for images of {width}x{height} pixels, not {images.shape[-1]}x{images.shape[-2]}: "
            "change the size of the data's crops, or the ViT's with model_args: {img_size: ...}"
        )


def _check_size(vit: Any, height: int, width: int) -> None:
    """Check that an image has at least a patch, unless it is resized to the one size that the ViT takes."""
    patch = vit.patch_embed.patch_size[0]
    if getattr(vit, "dynamic_img_size", False) and min(height, width) < patch:
        raise UserError(f"an image of {width}x{height} pixels is smaller than a patch of {patch}: enlarge it")
