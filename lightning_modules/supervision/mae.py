"""Masked autoencoder (He et al., CVPR 2022; thesis 2.7.1.2): three quarters of a picture are painted from the rest."""

from typing import Annotated, Any

import torch
from lightly.models.modules import MaskedVisionTransformerDecoderTIMM, MaskedVisionTransformerTIMM
from lightly.models.utils import get_at_index, normalize_mean_var, patchify, random_token_mask, set_at_index
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.transforms import Normalize
from typing_extensions import override

from lightning_modules.schedule import adamw_with_cosine, decayed_apart
from lightning_modules.supervision.vit import MEAN, STD, KeptViT, ViTSupervision, require_native_size
from networks.vit_features import create_vit
from visionscapes.checks import (
    Bounds,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Share,
    ShareBelowOne,
    check_options,
)
from visionscapes.errors import UserError


class MAE(ViTSupervision):
    """Trains a ViT on the few patches of a picture that it is shown, so that a small decoder can paint the others.

    Batches are dictionaries with "image" (B, 3, S, S) float32 RGB in [0, 1], S the ViT's own image size. Positions are
    the fixed 2-D sines and cosines of the paper, in the ViT's own ``pos_embed``; weights start as in the authors' code.
    The decoder is not part of what is kept.

    Args:
        model: name of a timm vision transformer with absolute positions and one class token, trained from random
            weights.
        model_args: further arguments of ``timm.create_model``.
        mask_ratio: share of the patches that the ViT is not shown, in (0, 1).
        normalise_patches: the decoder predicts pixels that have mean 0 and variance 1 within their patch.
        decoder_dim: width of the decoder.
        decoder_depth: blocks of the decoder.
        decoder_heads: attention heads of the decoder.
        lr: peak learning rate of AdamW, after ``warmup`` steps, then along a cosine to ``lr_floor`` of it.
        weight_decay: of AdamW; vectors, biases and gains do not decay.
        betas: of AdamW.
        warmup: steps.
        lr_floor: share of ``lr`` at the end.

    Raises:
        UserError: ``mask_ratio`` leaves nothing to see or to predict, the ViT has no absolute positions or not just one
            class token, its image is not square, or a width is not a multiple of 4; in training, images of another size
            than the ViT's.
    """

    def __init__(
        self,
        model: str,
        model_args: dict[str, Any] | None = None,
        mask_ratio: Annotated[float, Bounds(above=0, below=1)] = 0.75,
        normalise_patches: bool = True,
        decoder_dim: PositiveInt = 512,
        decoder_depth: PositiveInt = 8,
        decoder_heads: PositiveInt = 16,
        lr: PositiveFloat = 1e-3,
        weight_decay: NonNegativeFloat = 0.05,
        betas: tuple[ShareBelowOne, ShareBelowOne] = (0.9, 0.95),
        warmup: NonNegativeInt = 100,
        lr_floor: Share = 0.01,
    ):
        check_options(MAE, locals())
        super().__init__()
        self.save_hyperparameters()
        vit = create_vit(model, None, model_args or {})
        plain = getattr(vit, "pos_embed", None) is not None and not getattr(vit, "no_embed_class", True)
        if not plain or vit.num_prefix_tokens != 1:
            raise UserError(
                f"MAE needs absolute positions and exactly one class token, which '{model}' has not; take a plain one "
                "such as vit_base_patch16_224"
            )
        h, w = vit.patch_embed.grid_size
        if h != w or vit.embed_dim % 4 or decoder_dim % 4 or decoder_dim % decoder_heads:
            raise UserError(
                f"MAE's positions need a square image and widths that are multiples of 4, not {h}x{w} patches, "
                f"embed_dim {vit.embed_dim} and decoder_dim {decoder_dim}; decoder_heads has to divide decoder_dim"
            )
        patches = h * w
        if not 0 < int(patches * (1 - mask_ratio)) < patches:
            raise UserError(
                f"mask_ratio {mask_ratio} leaves nothing to see or predict of {patches} patches: choose one like 0.75"
            )
        # lightly's wrapper has a mask token, which MAE's encoder never uses: if it were trained, DDP would wait for it.
        unused = nn.Parameter(torch.zeros(1, 1, vit.embed_dim), requires_grad=False)
        # lightly draws the weights anew and freezes sines and cosines in pos_embed: both as the authors' code does.
        self.encoder = MaskedVisionTransformerTIMM(vit, unused, pos_embed_initialization="sincos")
        self.bridge = nn.Linear(vit.embed_dim, decoder_dim)
        self.decoder = MaskedVisionTransformerDecoderTIMM(patches, decoder_dim, decoder_depth, num_heads=decoder_heads)
        self.patch_size: int = vit.patch_embed.patch_size[0]
        self.paint = nn.Linear(decoder_dim, 3 * self.patch_size**2)
        for layer in (self.bridge, self.paint):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.normalise = Normalize(MEAN, STD)
        self.mask_ratio, self.normalise_patches = mask_ratio, normalise_patches

    @override
    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        images = self.normalise(batch["image"])
        require_native_size(self.encoder.vit, images)
        shown, hidden = random_token_mask(
            (len(images), self.encoder.sequence_length), self.mask_ratio, device=images.device
        )
        seen = self.encoder.encode(images, idx_keep=shown)
        painted = self.predict_hidden(seen, shown, hidden)
        loss = masked_pixel_loss(painted, images, hidden - 1, self.patch_size, self.normalise_patches)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(images))
        return loss

    def predict_hidden(self, seen: Tensor, shown: Tensor, hidden: Tensor) -> Tensor:
        """Return what the decoder paints in the hidden patches.

        Args:
            seen: (B, 1 + K, C), what the ViT makes of the class token and of the patches that it is shown.
            shown: (B, 1 + K) int64, their places in the sequence, where 0 is the class token.
            hidden: (B, M) int64, the places of the others.

        Returns:
            (B, M, 3 p^2), pixels in lightly's order: row, column, channel.
        """
        seen = self.bridge(seen)
        tokens = self.decoder.mask_token.to(seen.dtype).expand(len(seen), self.decoder.sequence_length, -1)
        decoded = self.decoder(set_at_index(tokens, shown, seen))
        return self.paint(get_at_index(decoded, hidden))

    @override
    def kept_vit(self) -> KeptViT:
        return KeptViT(self.encoder.vit, self.normalise)

    def backbone_state(self) -> dict[str, Tensor]:
        """Return the weights of the ViT alone, without decoder, as ``networks.vit_features.create_vit`` names them."""
        return self.encoder.vit.state_dict()

    @override
    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return AdamW with linear warm-up and cosine decay over the whole training."""
        wanted = self.hparams
        return adamw_with_cosine(
            decayed_apart([self]),
            wanted["lr"],
            wanted["weight_decay"],
            wanted["warmup"],
            self.trainer.estimated_stepping_batches,
            floor=wanted["lr_floor"],
            betas=wanted["betas"],
        )


def masked_pixel_loss(
    painted: Tensor, images: Tensor, hidden: Tensor, patch_size: int, normalise_patches: bool = True
) -> Tensor:
    """Return the mean squared error of the hidden patches' pixels (He et al., section 3, "reconstruction target").

    Args:
        painted: (B, M, 3 p^2), the prediction.
        images: (B, 3, S, S).
        hidden: (B, M) int64, which patches those are, row by row from 0.
        patch_size: p in pixels.
        normalise_patches: compare with pixels that have mean 0 and (unbiased) variance 1 within their patch, which
            makes about 1 the loss of a prediction of nothing but zeros.
    """
    wanted = get_at_index(patchify(images, patch_size), hidden)
    if normalise_patches:
        wanted = normalize_mean_var(wanted)
    return F.mse_loss(painted, wanted)
