"""BEiT (Bao et al., ICLR 2022; thesis 2.7.1.2): the visual tokens of hidden patches are predicted from the others."""

from collections.abc import Iterator
from typing import Annotated, Any

import torch
from lightly.models.utils import random_block_mask
from pytorch_lightning.utilities.seed import isolate_rng
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.transforms import Normalize
from typing_extensions import override

from lightning_modules.schedule import adamw_with_cosine
from lightning_modules.supervision.visual_tokens import VisualTokens
from lightning_modules.supervision.vit import MEAN, STD, KeptViT, ViTSupervision, require_native_size
from networks.vit_features import create_vit
from visionscapes.checks import (
    Bounds,
    ChannelDeviations,
    ChannelMeans,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Share,
    ShareBelowOne,
    check_options,
)
from visionscapes.errors import UserError
from visionscapes.processes import overwrite_by_first


class BEiT(ViTSupervision):
    """Trains a ViT to name the visual tokens of the blocks of a picture that a mask token hides from it.

    Batches are dictionaries with "image" (B, 3, S, S) float32 RGB in [0, 1], S the ViT's own image size. Mask token and
    head are not part of what is kept. Masks come from Python's ``random``, which the framework seeds before every step
    as it does torch.

    Args:
        model: name of a timm vision transformer or ``Beit``, trained from random weights.
        tokenizer: gives the visual tokens; if they are to be learned, that happens before the first step, from training
            pictures of the first process.
        model_args: further arguments of ``timm.create_model``. ``Beit`` needs global_pool: token to end in a norm.
        mask_ratio: share of hidden patches, in (0, 1). It is an upper limit: where no further block fits, fewer are.
        min_block: patches of a block, at least.
        lr: peak learning rate of AdamW, after ``warmup`` steps, then along a cosine to ``lr_floor`` of it.
        weight_decay: of AdamW; vectors, biases, class token and positions do not decay.
        betas: of AdamW.
        warmup: steps.
        lr_floor: share of ``lr`` at the end.
        mean: of the channels, subtracted from the ViT's input; ImageNet's if None.
        std: of the channels, by which it is divided; ImageNet's if None.

    Raises:
        UserError: no block of ``min_block`` patches fits ``mask_ratio`` of the grid, or the ViT does not end in a
            norm; in training, images of another size than the ViT's.
    """

    given_networks = ("tokenizer",)

    def __init__(
        self,
        model: str,
        tokenizer: VisualTokens,
        model_args: dict[str, Any] | None = None,
        mask_ratio: Annotated[float, Bounds(above=0, below=1)] = 0.4,
        min_block: PositiveInt = 16,
        lr: PositiveFloat = 1e-3,
        weight_decay: NonNegativeFloat = 0.05,
        betas: tuple[ShareBelowOne, ShareBelowOne] = (0.9, 0.999),
        warmup: NonNegativeInt = 100,
        lr_floor: Share = 0.01,
        mean: ChannelMeans | None = None,
        std: ChannelDeviations | None = None,
    ):
        check_options(BEiT, locals())
        super().__init__()
        self.save_hyperparameters(ignore=["tokenizer"])
        self.vit = create_vit(model, None, model_args or {})
        if isinstance(self.vit.norm, nn.Identity):
            raise UserError(f"'{model}' pools before its last norm, so patches have none: model_args.global_pool=token")
        self.grid: tuple[int, int] = tuple(self.vit.patch_embed.grid_size)
        patches = self.grid[0] * self.grid[1]
        if not 1 <= min_block <= int(mask_ratio * patches) < patches:
            raise UserError(
                f"no block of {min_block} patches fits into {mask_ratio} of {patches}: change min_block or mask_ratio"
            )
        self.tokenizer = tokenizer
        self.mask_token = nn.Parameter(torch.zeros(1, 1, self.vit.embed_dim))
        self.head = nn.Linear(self.vit.embed_dim, tokenizer.vocabulary)
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)
        self.normalise = Normalize(mean or MEAN, std or STD)
        self.mask_ratio, self.min_block = mask_ratio, min_block

    @override
    def on_train_start(self) -> None:
        """Let the tokenizer learn its visual tokens, unless it has them or a checkpoint brought them."""
        if self.tokenizer.learned:
            return
        if self.trainer.is_global_zero:
            with isolate_rng():
                self.tokenizer.learn(self._training_pictures())
        overwrite_by_first(self.tokenizer.buffers())  # the others wait for what may take an hour

    @override
    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        images = batch["image"]
        require_native_size(self.vit, images)
        hidden = block_mask(len(images), self.grid, self.mask_ratio, self.min_block)
        # Counted on the CPU, where the mask is drawn: for the places of a mask of its own a GPU is waited for.
        places = hidden.flatten().nonzero()[:, 0].to(images.device)
        tokens = self.tokenizer(images, self.grid).flatten()[places]
        logits = self.head(self.encode(images, hidden.to(images.device)).flatten(0, 2)[places])
        loss = F.cross_entropy(logits, tokens)
        accuracy = (logits.argmax(1) == tokens).float().mean()
        self.log("train/loss", loss, prog_bar=True, batch_size=len(images))
        self.log("train/accuracy", accuracy, batch_size=len(images))
        return loss

    def encode(self, images: Tensor, hidden: Tensor) -> Tensor:
        """Return the ViT's patch tokens (B, h, w, C) of images in [0, 1] whose ``hidden`` (B, h, w) patches it misses.

        The mask token replaces a patch where it is embedded, before positions are added, for whichever class of ViT.
        """

        def replace(module: nn.Module, inputs: Any, patches: Tensor) -> Tensor:
            where = hidden.reshape(*patches.shape[:-1], 1)  # timm has (B, h w, C), or (B, h, w, C) for dynamic sizes
            token = self.mask_token.to(patches.dtype).view(*(1,) * (patches.ndim - 1), -1)
            return torch.where(where, token, patches)

        hook = self.vit.patch_embed.register_forward_hook(replace)
        try:
            tokens = self.vit.forward_features(self.normalise(images))
        finally:
            hook.remove()
        return tokens[:, self.vit.num_prefix_tokens :].unflatten(1, self.grid)

    @override
    def kept_vit(self) -> KeptViT:
        return KeptViT(self.vit, self.normalise)

    def backbone_state(self) -> dict[str, Tensor]:
        """Return the weights of the ViT alone, as ``networks.vit_features.create_vit`` names them."""
        return self.vit.state_dict()

    @override
    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return AdamW with linear warm-up and cosine decay over the whole training."""
        from timm.optim import param_groups_weight_decay

        wanted, free = self.hparams, ["vit.cls_token", "vit.pos_embed"]
        return adamw_with_cosine(
            param_groups_weight_decay(self, wanted["weight_decay"], no_weight_decay_list=free),
            wanted["lr"],
            wanted["weight_decay"],
            wanted["warmup"],
            self.trainer.estimated_stepping_batches,
            floor=wanted["lr_floor"],
            betas=wanted["betas"],
        )

    def _training_pictures(self) -> Iterator[Tensor]:
        """Yield pictures as training sees them, from a loader of their own: the run's keeps its place."""
        datamodule: Any = getattr(self.trainer, "datamodule", None)
        loader: Any = self.trainer.train_dataloader if datamodule is None else datamodule.train_dataloader()
        for batch in loader:
            yield (datamodule or self).on_after_batch_transfer(batch, 0)["image"]


def block_mask(count: int, grid: tuple[int, int], ratio: float, min_block: int) -> Tensor:
    """Return masks (count, h, w) bool that hide rectangular blocks of patches (Bao et al., algorithm 1).

    ``lightly``'s random_block_mask, which is DINOv2's: left alone it hides nothing in half of the images, and between a
    tenth and a half of the others. Here every image loses ``int(ratio h w)`` patches, or a few less if ten attempts do
    not place another block: 0.39 of 8 x 8 and of 14 x 14 patches on average for 0.4.

    Args:
        count: number of masks.
        grid: (h, w).
        ratio: share of hidden patches, at most.
        min_block: patches of a block, at least; the last blocks may be smaller.
    """
    return random_block_mask((count, *grid), 1.0, ratio, ratio, min_num_masks_per_block=min_block)
