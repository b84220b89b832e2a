"""MoCo-v3 (Chen, Xie & He, "An empirical study of training self-supervised vision transformers", ICCV 2021).

Thesis 2.7.1.2: a query of one view picks the key of the other view of its own picture among those of the whole batch.
"""

from typing import Any

import torch
from lightly.models.modules import MoCoProjectionHead
from lightly.models.utils import update_momentum
from lightly.utils import dist
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from lightning_modules.schedule import adamw_with_cosine, half_cosine
from lightning_modules.supervision.compared_views import compared_views
from lightning_modules.supervision.vit import (
    KeptViT,
    TrainableViT,
    ViTSupervision,
    fix_positions,
    hold_patch_embedding,
)
from visionscapes.checks import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, Share, check_options


class MoCo(ViTSupervision):
    """Trains a ViT so that a view of a picture is found by another view of it, as its own running average encodes it.

    Batches are dictionaries with "views" (``datamodules.images.views.Views``), of which the first two are compared.

    Args:
        model: name of a timm vision transformer, trained from random weights.
        model_args: further arguments of ``timm.create_model``.
        temperature: of the contrast, 0.2 in MoCo-v3.
        projection: width of the features that are contrasted, 256 in MoCo-v3.
        hidden: width of the hidden layers of projector (three layers) and predictor (two), 4096 in MoCo-v3.
        momentum: of the encoder of the keys at the start; it rises to 1 along a cosine.
        frozen_patch_embedding: keep the patch embedding as it is drawn; MoCo-v3 does, because training is unstable
            otherwise.
        fixed_positions: use 2-D sine-cosine position embeddings that are not trained, as MoCo-v3 does.
        lr: peak learning rate of AdamW, after ``warmup`` steps, then along a cosine to ``lr_floor``.
        lr_floor: share of ``lr`` at the end.
        weight_decay: of AdamW.
        warmup: steps.

    Raises:
        UserError: ``fixed_positions`` for a ViT without a square table of absolute positions.
    """

    def __init__(
        self,
        model: str,
        model_args: dict[str, Any] | None = None,
        temperature: PositiveFloat = 0.2,
        projection: PositiveInt = 256,
        hidden: PositiveInt = 4096,
        momentum: Share = 0.99,
        frozen_patch_embedding: bool = True,
        fixed_positions: bool = True,
        lr: PositiveFloat = 1e-3,
        lr_floor: Share = 0.01,
        weight_decay: NonNegativeFloat = 0.1,
        warmup: NonNegativeInt = 100,
    ):
        check_options(MoCo, locals())
        super().__init__()
        self.save_hyperparameters()
        self.network = TrainableViT(model, model_args)
        if frozen_patch_embedding:
            hold_patch_embedding(self.network.vit)
        if fixed_positions:
            fix_positions(self.network.vit)
        dim = self.network.vit.embed_dim
        self.projector = MoCoProjectionHead(dim, hidden, projection, num_layers=3, batch_norm=True)
        self.predictor = MoCoProjectionHead(projection, hidden, projection, num_layers=2, batch_norm=True)
        self.momentum_network = TrainableViT(model, model_args).requires_grad_(False)
        self.momentum_projector = MoCoProjectionHead(dim, hidden, projection, num_layers=3, batch_norm=True)
        self.momentum_projector.requires_grad_(False)
        self.momentum_network.load_state_dict(self.network.state_dict())
        self.momentum_projector.load_state_dict(self.projector.state_dict())
        self.temperature, self.momentum = temperature, momentum
        self.lr, self.lr_floor, self.weight_decay, self.warmup = lr, lr_floor, weight_decay, warmup

    @override
    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        views = compared_views(batch, "MoCo").images[:2]
        self._follow()
        with torch.no_grad():
            key_1, key_2 = (self.momentum_projector(self.momentum_network(view)[0]) for view in views)
        query_1, query_2 = (self.predictor(self.projector(self.network(view)[0])) for view in views)
        loss = info_nce(query_1, key_2, self.temperature) + info_nce(query_2, key_1, self.temperature)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(views[0]))
        return loss

    @override
    def kept_vit(self) -> KeptViT:
        return KeptViT(self.network.vit, self.network.normalise)

    def backbone_state(self) -> dict[str, Tensor]:
        """Return the weights of the trained ViT alone, not its average's, for ``networks.ViTFeatures``."""
        return self.network.vit.state_dict()

    @override
    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return AdamW with linear warm-up and cosine decay over the whole training; everything trained decays."""
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        steps = self.trainer.estimated_stepping_batches
        return adamw_with_cosine(trained, self.lr, self.weight_decay, self.warmup, steps, floor=self.lr_floor)

    def _follow(self) -> None:
        """Move the encoder of the keys towards that of the queries."""
        progress = self.trainer.global_step / max(1, self.trainer.estimated_stepping_batches)
        momentum = half_cosine(self.momentum, 1.0, progress)
        update_momentum(self.network, self.momentum_network, momentum)
        update_momentum(self.projector, self.momentum_projector, momentum)


def info_nce(queries: Tensor, keys: Tensor, temperature: float) -> Tensor:
    """Return the contrastive loss of queries (B, C) against the keys (B, C) of all processes (MoCo-v3, algorithm 1).

    The i-th key is the positive of the i-th query and a negative of all others. The factor 2 T keeps the size of the
    gradient apart from the temperature T. Keys get no gradient.
    """
    queries, keys = F.normalize(queries, dim=1), F.normalize(keys.detach(), dim=1)
    all_keys = torch.cat(dist.gather(keys)) if dist.world_size() > 1 else keys
    own = len(queries) * dist.rank() + torch.arange(len(queries), device=queries.device)
    return 2 * temperature * F.cross_entropy(queries @ all_keys.T / temperature, own)
