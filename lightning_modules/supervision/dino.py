"""DINO (Caron et al., ICCV 2021; thesis 2.7.1.2): self-distillation with no labels, heads and loss from lightly."""

from typing import Annotated, Any

import torch
from lightly.loss import DINOLoss
from lightly.models.modules import DINOProjectionHead
from lightly.models.utils import update_momentum
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.optim import Optimizer
from typing_extensions import override

from lightning_modules.schedule import adamw_with_cosine, decayed_apart, half_cosine
from lightning_modules.supervision.compared_views import compared_views
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


class DINO(ViTSupervision):
    """Trains a ViT to predict, from small crops of a picture, what its own running average says of large ones.

    Batches are dictionaries with "views" (``datamodules.images.views.Views``), two large ones first.

    Args:
        model: name of a timm vision transformer, trained from random weights.
        model_args: further arguments of ``timm.create_model``.
        prototypes: outputs of the heads.
        hidden: width of the heads.
        bottleneck: their width before the prototypes; a quarter of ``hidden`` if None.
        momentum: of the teacher at the start; it rises to 1 along a cosine.
        teacher_temperature: of the teacher's softmax; the student's is 0.1.
        first_teacher_temperature: where it starts, to rise in a line to ``teacher_temperature``; there all along if
            None.
        teacher_warmup: epochs of that rise.
        freeze_last_layer: epochs at the start during which the last layer of the head is held still, as DINO does.
        norm_last_layer: keep the prototypes at length 1, which DINO does for ViT-B.
        batch_norm: normalise over the batch in the heads, an option of the official code that is off there.
            Meant to counter that class tokens hardly differ between pictures at first; whether it does was not isolated
            (docs/results/vit_analysis_training.md).
        drop_path: largest share of samples for which a block of the student is left out, in the last block; linear in
            depth.
        lr: peak learning rate of AdamW, after ``warmup`` steps, then along a cosine to ``lr_floor``.
        lr_floor: share of ``lr`` at the end.
        weight_decay: of AdamW.
        last_weight_decay: where it ends, along a cosine as DINO does; it stays as it is if None.
        decay_all: let biases and gains decay too, which DINO does not.
        warmup: steps.

    Raises:
        UserError: an option is out of its bounds.
    """

    def __init__(
        self,
        model: str,
        model_args: dict[str, Any] | None = None,
        prototypes: PositiveInt = 1024,
        hidden: Annotated[int, Bounds(least=4)] = 512,
        momentum: Share = 0.99,
        teacher_temperature: PositiveFloat = 0.04,
        freeze_last_layer: NonNegativeInt = 1,
        lr: PositiveFloat = 1e-3,
        weight_decay: NonNegativeFloat = 0.04,
        warmup: NonNegativeInt = 100,
        first_teacher_temperature: PositiveFloat | None = None,
        teacher_warmup: NonNegativeInt = 0,
        bottleneck: PositiveInt | None = None,
        norm_last_layer: bool = True,
        batch_norm: bool = False,
        drop_path: ShareBelowOne = 0.0,
        lr_floor: Share = 0.01,
        last_weight_decay: NonNegativeFloat | None = None,
        decay_all: bool = True,
    ):
        check_options(DINO, locals())
        super().__init__()
        self.save_hyperparameters()
        self.network = TrainableViT(model, (model_args or {}) | ({"drop_path_rate": drop_path} if drop_path else {}))
        head = {
            "input_dim": self.network.vit.embed_dim,
            "hidden_dim": hidden,
            "bottleneck_dim": bottleneck or hidden // 4,
            "output_dim": prototypes,
            "batch_norm": batch_norm,
            "norm_last_layer": norm_last_layer,
        }
        self.head = DINOProjectionHead(**head, freeze_last_layer=freeze_last_layer)
        self.teacher = TrainableViT(model, model_args).requires_grad_(False)
        self.teacher_head = DINOProjectionHead(**head)
        self.teacher_head.requires_grad_(False)
        self.teacher.load_state_dict(self.network.state_dict())
        self.teacher_head.load_state_dict(self.head.state_dict())
        self.criterion = DINOLoss(prototypes, teacher_temp=teacher_temperature)
        self.momentum, self.lr, self.weight_decay, self.warmup = momentum, lr, weight_decay, warmup
        self.teacher_temperature, self.teacher_warmup = teacher_temperature, teacher_warmup
        self.first_teacher_temperature = first_teacher_temperature
        self.lr_floor, self.last_weight_decay, self.decay_all = lr_floor, last_weight_decay, decay_all

    @override
    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        views = compared_views(batch, "DINO").images
        self._follow()
        with torch.no_grad():
            wanted = [self.teacher_head(self.teacher(view)[0]) for view in views[:2]]
        said = [self.head(self.network(view)[0]) for view in views]
        loss = self.criterion(wanted, said, teacher_temp=self.temperature(self.current_epoch))
        self.log("train/loss", loss, prog_bar=True, batch_size=len(views[0]))
        return loss

    def temperature(self, epoch: int) -> float:
        """Return the temperature of the teacher's softmax in an epoch, counted from 0."""
        if self.first_teacher_temperature is None or epoch >= self.teacher_warmup:
            return self.teacher_temperature
        share = epoch / max(1, self.teacher_warmup - 1)
        return self.first_teacher_temperature + share * (self.teacher_temperature - self.first_teacher_temperature)

    @override
    def on_after_backward(self) -> None:
        """Hold the last layer of the head still during the first ``freeze_last_layer`` epochs."""
        self.head.cancel_last_layer_gradients(self.current_epoch)

    @override
    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Move the weight decay along its cosine, but for the group that does not decay."""
        if self.last_weight_decay is None:
            return
        decay = half_cosine(self.weight_decay, self.last_weight_decay, self._progress())
        optimizer.param_groups[0]["weight_decay"] = decay

    @override
    def kept_vit(self) -> KeptViT:
        return KeptViT(self.teacher.vit, self.teacher.normalise)

    def backbone_state(self) -> dict[str, Tensor]:
        """Return the weights of the teacher's ViT alone, for ``networks.ViTFeatures``."""
        return self.teacher.vit.state_dict()

    @override
    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return AdamW with linear warm-up and cosine decay over the whole training."""
        trained: Any = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return adamw_with_cosine(
            trained if self.decay_all else decayed_apart([self]),
            self.lr,
            self.weight_decay,
            self.warmup,
            self.trainer.estimated_stepping_batches,
            floor=self.lr_floor,
        )

    def _progress(self) -> float:
        """Return the share of the training that is done."""
        return self.trainer.global_step / max(1, self.trainer.estimated_stepping_batches)

    def _follow(self) -> None:
        """Move the teacher towards the student."""
        momentum = half_cosine(self.momentum, 1.0, self._progress())
        update_momentum(self.network, self.teacher, momentum)
        update_momentum(self.head, self.teacher_head, momentum)
