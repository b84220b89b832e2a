"""Dense contrastive learning: the same spot of a picture, seen in two crops, tells itself from all other spots.

After Pinheiro et al., "Unsupervised learning of dense visual representations" (VADeR, NeurIPS 2020). It is the
supervision of the default backbone in ``weights/``: at this size it learns faster than DINO and finds objects better
(docs/results/backbone.md).
"""

from typing import Any

import torch
from lightly.loss import NTXentLoss
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from lightning_modules.schedule import adamw_with_cosine
from lightning_modules.supervision.compared_views import compared_views
from lightning_modules.supervision.vit import KeptViT, TrainableViT, ViTSupervision
from visionscapes.checks import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, check_options


class DenseContrastive(ViTSupervision):
    """Trains a ViT so that its patch features agree between two views of a place and differ between places.

    Batches are dictionaries with "views" (``datamodules.images.views.Views`` of two images).

    Args:
        model: name of a timm vision transformer, trained from random weights.
        model_args: further arguments of ``timm.create_model``.
        points: places per image that are compared.
        temperature: of the contrast.
        projection: width of the features that are contrasted.
        lr: peak learning rate of AdamW, after ``warmup`` steps, then along a cosine to a hundredth of it.
        weight_decay: of AdamW.
        warmup: steps.

    Raises:
        UserError: an option is out of its bounds.
    """

    def __init__(
        self,
        model: str,
        model_args: dict[str, Any] | None = None,
        points: PositiveInt = 48,
        temperature: PositiveFloat = 0.1,
        projection: PositiveInt = 64,
        lr: PositiveFloat = 1e-3,
        weight_decay: NonNegativeFloat = 0.04,
        warmup: NonNegativeInt = 100,
    ):
        check_options(DenseContrastive, locals())
        super().__init__()
        self.save_hyperparameters()
        self.network = TrainableViT(model, model_args)
        dim = self.network.vit.embed_dim
        self.head = nn.Sequential(nn.Conv2d(dim, 2 * dim, 1), nn.GELU(), nn.Conv2d(2 * dim, projection, 1))
        self.contrast = NTXentLoss(temperature=temperature, gather_distributed=True)
        self.points, self.lr, self.weight_decay, self.warmup = points, lr, weight_decay, warmup

    @override
    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        views = compared_views(batch, "DenseContrastive")
        places = shared_points(views.boxes[0], views.boxes[1], self.points)
        seen = [
            features_at(self.head(self.network(image)[1]), box, places)
            for image, box in zip(views.images, views.boxes, strict=True)
        ]
        loss = self.contrast(*(features.flatten(0, 1) for features in seen))
        self.log("train/loss", loss, prog_bar=True, batch_size=len(places))
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
        steps = self.trainer.estimated_stepping_batches
        return adamw_with_cosine(self.parameters(), self.lr, self.weight_decay, self.warmup, steps)


def shared_points(first: Tensor, second: Tensor, count: int) -> Tensor:
    """Return random places (B, count, 2) xy in [0, 1] inside the overlap of two boxes (B, 4) xyxy in [0, 1].

    Where the boxes do not meet, the places lie between them and their features come from the borders of the views.
    """
    low = torch.maximum(first[:, :2], second[:, :2])
    high = torch.minimum(first[:, 2:], second[:, 2:])
    spread = torch.rand(len(first), count, 2, device=first.device)
    return low[:, None] + spread * (high - low)[:, None]


def features_at(features: Tensor, boxes: Tensor, places: Tensor) -> Tensor:
    """Return features (B, N, C) at places (B, N, 2) of the original image, interpolated in the view of ``boxes``.

    Args:
        features: (B, C, h, w) of the view.
        boxes: (B, 4) xyxy in [0, 1], where the view lies in the original image.
        places: xy in [0, 1] of the original image.
    """
    inside = (places - boxes[:, None, :2]) / (boxes[:, None, 2:] - boxes[:, None, :2])
    grid = (2 * inside - 1)[:, :, None]
    sampled = F.grid_sample(features, grid, padding_mode="border", align_corners=False)
    return sampled[..., 0].transpose(1, 2)
