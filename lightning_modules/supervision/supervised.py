"""Full supervision (thesis 2.7.1.2, FS): a ViT learns to name the class of a picture.

After Steiner et al., "How to train your ViT? Data, augmentation, and regularization in vision transformers" (TMLR
2022): cross-entropy on the class token, with Mixup. RandAugment is the data's business.
"""

from typing import Annotated, Any

import torch
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from timm.data.mixup import Mixup
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.classification import MulticlassAccuracy
from typing_extensions import override

from lightning_modules.known_classes import KnownClasses
from lightning_modules.schedule import adamw_with_cosine, decayed_apart
from lightning_modules.supervision.vit import KeptViT, TrainableViT, ViTSupervision
from visionscapes.checks import (
    Bounds,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    Share,
    ShareBelowOne,
    check_options,
)
from visionscapes.errors import UserError


class Supervised(KnownClasses, ViTSupervision):
    """Trains a ViT and a linear layer on its class token to name the class of a picture.

    Batches are dictionaries with "image" (B, 3, S, S) in [0, 1] and "label" (B,) in [0, classes). In validation
    and test, batches of task "images" are scored where they have labels, -1 standing for none; others are passed over.

    Args:
        model: name of a timm vision transformer, trained from random weights.
        classes: number of classes.
        model_args: further arguments of ``timm.create_model``.
        mixup: alpha of Mixup, whose share of the first picture is Beta(alpha, alpha), one a batch; 0 for none.
        label_smoothing: share of the target that is spread over all classes, in [0, 1).
        drop_path: largest share of samples for which a block is left out, in the last block; linear in depth.
        lr: peak learning rate of AdamW, after ``warmup`` steps, then along a cosine to ``lr_floor``.
        lr_floor: share of ``lr`` at the end.
        weight_decay: of AdamW; biases and gains do not decay.
        warmup: steps.

    Raises:
        UserError: ``classes``, ``mixup`` or ``label_smoothing`` out of range; in training, labels that are missing or
            out of range, or an odd number of pictures for Mixup.
    """

    def __init__(
        self,
        model: str,
        classes: Annotated[int, Bounds(least=2)],
        model_args: dict[str, Any] | None = None,
        mixup: NonNegativeFloat = 0.2,
        label_smoothing: ShareBelowOne = 0.0,
        drop_path: ShareBelowOne = 0.0,
        lr: PositiveFloat = 1e-3,
        lr_floor: Share = 0.01,
        weight_decay: NonNegativeFloat = 0.05,
        warmup: NonNegativeInt = 100,
    ):
        check_options(Supervised, locals())
        super().__init__()
        self.save_hyperparameters()
        self.network = TrainableViT(model, (model_args or {}) | {"drop_path_rate": drop_path})
        self.head = nn.Linear(self.network.vit.embed_dim, classes)
        nn.init.zeros_(self.head.weight)  # as the official code does
        nn.init.zeros_(self.head.bias)
        self.mixup = Mixup(mixup, label_smoothing=label_smoothing, num_classes=classes) if mixup else None
        self.accuracy = MulticlassAccuracy(classes, average="micro", ignore_index=-1)
        self.classes, self.label_smoothing = classes, label_smoothing
        self.lr, self.lr_floor, self.weight_decay, self.warmup = lr, lr_floor, weight_decay, warmup

    @override
    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, classes) of images (B, 3, S, S) in [0, 1]."""
        return self.head(self.network(images)[0])

    @override
    def on_before_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Any]:
        """Check the labels of a training batch while they are on the CPU: a GPU would have to be waited for."""
        if self.trainer.training:
            self.check_labels(batch)
        return batch

    @override
    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        images, labels = batch["image"], batch["label"]
        if self.mixup is None:
            loss = F.cross_entropy(self(images), labels, label_smoothing=self.label_smoothing)
        else:
            mixed, shares = self.mixup(images.clone(), labels)
            loss = F.cross_entropy(self(mixed), shares)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(images))
        return loss

    @override
    def validation_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> None:
        self._score(batch, "val/accuracy")

    @override
    def test_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> None:
        self._score(batch, "test/accuracy")

    def _score(self, batch: dict[str, Any], name: str) -> None:
        if batch.get("task") != "images" or "label" not in batch or not bool((batch["label"] >= 0).any()):
            return
        self.accuracy(self(batch["image"]), batch["label"])
        self.log(name, self.accuracy, on_epoch=True, batch_size=len(batch["label"]), add_dataloader_idx=False)

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
        return adamw_with_cosine(
            decayed_apart([self]), self.lr, self.weight_decay, self.warmup, steps, floor=self.lr_floor
        )

    def check_labels(self, batch: dict[str, Any]) -> None:
        """Check the labels of a training batch.

        Raises:
            UserError: there are none, or they do not fit the number of classes or Mixup.
        """
        if "label" not in batch:
            raise UserError(
                "full supervision needs labels and the data have none: choose data with classes, such as "
                "--data=LabelledImages for folders or a table of your own, --data=ImageNet or --data=SubjectWorld, or "
                "one of the supervisions that need none"
            )
        labels = batch["label"]
        low, high = (int(each) for each in torch.aminmax(labels))
        if low < 0:
            raise UserError(
                f"{int((labels < 0).sum())} of {len(labels)} pictures of a batch have no label (-1): leave them out of "
                "the training data, or choose a supervision that needs no labels"
            )
        if high >= self.classes:
            raise UserError(
                f"label {high} does not fit {self.classes} classes: set --model.init_args.classes={high + 1}"
            )
        if self.mixup is not None and len(labels) % 2:
            raise UserError(
                f"Mixup mixes the pictures of a batch in pairs and there are {len(labels)}: make --data.init_args."
                "batch_size even, or set --model.init_args.mixup=0"
            )
