"""CLIP (Radford et al., "Learning transferable visual models from natural language supervision", ICML 2021).

Thesis 2.7.1.2: pictures and captions are encoded by a transformer each, and told which belong together.
"""

import math
from typing import Annotated, Any

import torch
from lightly.utils import dist
from open_clip.transformer import QuickGELU, TextTransformer
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from lightning_modules.schedule import adamw_with_cosine, decayed_apart
from lightning_modules.supervision.captions import PAD, load_tokenizer
from lightning_modules.supervision.vit import KeptViT, TrainableViT, ViTSupervision
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

MAX_LOGIT_SCALE = math.log(100)  # "to prevent scaling the logits by more than 100", CLIP 2.5


class CLIP(ViTSupervision):
    """Trains a ViT so that a picture finds its caption in the batch, and a caption its picture.

    Batches are dictionaries with "image" (B, 3, S, S) in [0, 1] and "caption", a list of B strings. The picture is
    encoded by the ViT's class token after the final norm and a linear layer, the caption by open_clip's text
    transformer, whose output is read at the end of the caption.

    Args:
        model: name of a timm vision transformer, trained from random weights.
        model_args: further arguments of ``timm.create_model``.
        embedding: width of the space that pictures and captions share, 512 in CLIP B/16.
        text_width: of the text transformer, 512 in CLIP B/16.
        text_depth: its blocks, 12 in CLIP B/16.
        text_heads: its heads, 8 in CLIP B/16.
        text_quick_gelu: use x sigmoid(1.702 x) in it, as CLIP does, rather than GELU.
        context: tokens of a caption with its start and end; longer ones are cut, 77 in CLIP.
        tokenizer: null for words numbered by their hash, "bpe" for CLIP's own byte pairs, or the folder of a tokenizer
            of the library transformers. None needs a network.
        vocabulary: numbers for the words of tokenizer null; the others know theirs.
        share_equal_captions: spread the target evenly over all pairs of the batch with the same caption. CLIP counts
            them as negatives, which are rare among 400 million captions and common among a few rendered ones.
        temperature: of the softmax at the start; it is learned, and never below 0.01.
        lr: peak learning rate of AdamW, after ``warmup`` steps, then along a cosine to ``lr_floor``.
        lr_floor: share of ``lr`` at the end.
        weight_decay: of AdamW; biases, gains and the temperature do not decay.
        betas: of AdamW, (0.9, 0.98) in CLIP.
        eps: of AdamW, 1e-6 in CLIP.
        warmup: steps.

    Raises:
        UserError: a tokenizer that does not exist; in training, data without captions.
    """

    def __init__(
        self,
        model: str,
        model_args: dict[str, Any] | None = None,
        embedding: PositiveInt = 512,
        text_width: PositiveInt = 512,
        text_depth: PositiveInt = 12,
        text_heads: PositiveInt = 8,
        text_quick_gelu: bool = True,
        context: Annotated[int, Bounds(least=3)] = 77,
        tokenizer: str | None = None,
        vocabulary: Annotated[int, Bounds(least=4)] = 8192,
        share_equal_captions: bool = False,
        temperature: PositiveFloat = 0.07,
        lr: PositiveFloat = 1e-3,
        lr_floor: Share = 0.01,
        weight_decay: NonNegativeFloat = 0.2,
        betas: tuple[ShareBelowOne, ShareBelowOne] = (0.9, 0.98),
        eps: PositiveFloat = 1e-6,
        warmup: NonNegativeInt = 100,
    ):
        check_options(CLIP, locals())
        if text_width % text_heads:
            raise UserError(
                f"CLIP.text_width is {text_width} and text_heads {text_heads}: it has to be a multiple of them"
            )
        super().__init__()
        self.save_hyperparameters()
        self.network = TrainableViT(model, model_args)
        self.projection = nn.Linear(self.network.vit.embed_dim, embedding, bias=False)
        nn.init.normal_(self.projection.weight, std=self.network.vit.embed_dim**-0.5)
        self.tokenizer = load_tokenizer(tokenizer, context, vocabulary)
        self.text = TextTransformer(
            context,
            self.tokenizer.size,
            text_width,
            heads=text_heads,
            layers=text_depth,
            output_dim=embedding,
            pad_id=PAD,
            pool_type="eos",
            eos_id=self.tokenizer.end,
            act_layer=QuickGELU if text_quick_gelu else nn.GELU,
        )
        self.logit_scale = nn.Parameter(torch.tensor(-math.log(temperature)))
        self.share_equal_captions = share_equal_captions
        self.lr, self.lr_floor, self.weight_decay, self.warmup = lr, lr_floor, weight_decay, warmup
        self.betas, self.eps = betas, eps

    @override
    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        if "caption" not in batch:
            raise UserError(
                "CLIP needs captions and the data have none: choose data with captions, such as --data=ImageCaptions "
                "or --data=SubjectWorld"
            )
        with torch.no_grad():
            self.logit_scale.clamp_(max=MAX_LOGIT_SCALE)
        tokens = self.tokenizer(batch["caption"]).to(batch["image"].device)
        images = F.normalize(self.projection(self.network(batch["image"])[0]), dim=1)
        texts = F.normalize(self.text(tokens), dim=1)
        captions = tokens if self.share_equal_captions else None
        loss = matching_loss(images, texts, self.logit_scale.exp(), captions)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(images))
        self.log("train/logit_scale", self.logit_scale.exp().detach(), batch_size=len(images))
        return loss

    @override
    def kept_vit(self) -> KeptViT:
        return KeptViT(self.network.vit, self.network.normalise)

    def backbone_state(self) -> dict[str, Tensor]:
        """Return the weights of the ViT alone, for ``networks.ViTFeatures``."""
        return self.network.vit.state_dict()

    @override
    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return AdamW with linear warm-up and cosine decay over the whole training."""
        return adamw_with_cosine(
            decayed_apart([self]),
            self.lr,
            self.weight_decay,
            self.warmup,
            self.trainer.estimated_stepping_batches,
            floor=self.lr_floor,
            betas=self.betas,
            eps=self.eps,
        )


def matching_loss(images: Tensor, texts: Tensor, scale: Tensor, captions: Tensor | None = None) -> Tensor:
    """Return the mean cross-entropy of finding one's partner among those of all processes (CLIP, figure 3).

    Args:
        images: (B, C) of length 1.
        texts: (B, C) of length 1; row i belongs to image i.
        scale: factor of the cosines.
        captions: (B, L) token numbers; a target is spread evenly over all partners whose caption equals one's own. If
            None, the only target is one's own partner.
    """
    all_images, all_texts = _gathered(images), _gathered(texts)
    own = len(images) * dist.rank() + torch.arange(len(images), device=images.device)
    if captions is None:
        target = F.one_hot(own, len(all_texts)).to(images.dtype)
    else:
        same = (captions[:, None] == _gathered(captions)[None]).all(2).to(images.dtype)
        target = same / same.sum(1, keepdim=True)
    of_text = F.cross_entropy(scale * images @ all_texts.T, target)
    of_image = F.cross_entropy(scale * texts @ all_images.T, target)
    return (of_text + of_image) / 2


def _gathered(rows: Tensor) -> Tensor:
    """Return the rows (B, ...) of all processes in the order of their ranks, with gradients to each."""
    return torch.cat(dist.gather(rows)) if dist.world_size() > 1 else rows
