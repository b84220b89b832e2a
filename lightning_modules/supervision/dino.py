"""DINO (Caron et al., ICCV 2021; thesis 2.7.1.2): self-distillation with no labels, heads and loss from lightly."""

import math
from typing import Any

import torch
from lightly.loss import DINOLoss
from lightly.models.modules import DINOProjectionHead
from lightly.models.utils import update_momentum
from pytorch_lightning import LightningModule
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from lightning_modules.supervision.schedule import adamw_with_cosine
from lightning_modules.supervision.vit import TrainableViT


class DINO(LightningModule):
    """Trains a ViT to predict, from small crops of a picture, what its own running average says of large ones.

    Batches are dictionaries with "views" (``datamodules.views.Views``), two large ones first.

    Args:
        model: name of a timm vision transformer, trained from random weights.
        model_args: further arguments of ``timm.create_model``.
        prototypes: outputs of the heads.
        hidden: width of the heads.
        momentum: of the teacher at the start; it rises to 1 along a cosine.
        teacher_temperature: of the teacher's softmax; the student's is 0.1.
        freeze_last_layer: epochs at the start during which the last layer of the head is held still, as DINO does.
        lr: peak learning rate of AdamW, after ``warmup`` steps, then along a cosine to a hundredth of it.
        weight_decay: of AdamW.
        warmup: steps.
    """

    def __init__(
        self,
        model: str,
        model_args: dict[str, Any] | None = None,
        prototypes: int = 1024,
        hidden: int = 512,
        momentum: float = 0.99,
        teacher_temperature: float = 0.04,
        freeze_last_layer: int = 1,
        lr: float = 1e-3,
        weight_decay: float = 0.04,
        warmup: int = 100,
    ):
        super().__init__()
        self.save_hyperparameters()
        self.network = TrainableViT(model, model_args)
        self.head = DINOProjectionHead(
            self.network.vit.embed_dim, hidden, hidden // 4, prototypes, freeze_last_layer=freeze_last_layer
        )
        self.teacher = TrainableViT(model, model_args).requires_grad_(False)
        self.teacher_head = DINOProjectionHead(self.network.vit.embed_dim, hidden, hidden // 4, prototypes)
        self.teacher_head.requires_grad_(False)
        self.teacher.load_state_dict(self.network.state_dict())
        self.teacher_head.load_state_dict(self.head.state_dict())
        self.criterion = DINOLoss(prototypes, teacher_temp=teacher_temperature)
        self.momentum, self.lr, self.weight_decay, self.warmup = momentum, lr, weight_decay, warmup

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:  # noqa: D102
        views = batch["views"].images
        self._follow()
        with torch.no_grad():
            wanted = [self.teacher_head(self.teacher(view)[0]) for view in views[:2]]
        said = [self.head(self.network(view)[0]) for view in views]
        loss = self.criterion(wanted, said)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(views[0]))
        return loss

    def on_after_backward(self) -> None:
        """Hold the last layer of the head still during the first ``freeze_last_layer`` epochs."""
        self.head.cancel_last_layer_gradients(self.current_epoch)

    def backbone_state(self) -> dict[str, Tensor]:
        """Return the weights of the teacher's ViT alone, for ``networks.ViTFeatures``."""
        return self.teacher.vit.state_dict()

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return AdamW with linear warm-up and cosine decay over the whole training."""
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return adamw_with_cosine(
            trained, self.lr, self.weight_decay, self.warmup, self.trainer.estimated_stepping_batches
        )

    def _follow(self) -> None:
        """Move the teacher towards the student."""
        progress = self.trainer.global_step / max(1, self.trainer.estimated_stepping_batches)
        momentum = 1 - (1 - self.momentum) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
        update_momentum(self.network, self.teacher, momentum)
        update_momentum(self.head, self.teacher_head, momentum)
