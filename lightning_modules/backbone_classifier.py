"""A detector's backbone learns to name the class of a picture, so that the detector does not start from nothing."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.classification import MulticlassAccuracy
from typing_extensions import override

from lightning_modules.detector_config import kept_config, with_config
from lightning_modules.known_classes import KnownClasses
from lightning_modules.method import MADE_OF
from lightning_modules.schedule import adamw_with_cosine, decayed_apart
from networks.detection.build import build_detector
from visionscapes.checks import Bounds, NonNegativeFloat, NonNegativeInt, PositiveFloat, check_options


class BackboneClassifier(KnownClasses):
    """Trains the backbone that a detector's configuration names, and a linear layer on its pooled last features.

    What ImageNet is to the detectors of the thesis (3.3.3), ``datamodules.SubjectWorld`` is to those of the embedded
    world. Batches have "image" (B, 3, S, S) float32 RGB in [0, 1] and "label" (B,) int64.

    Args:
        config: of the detector, see `lightning_modules.Detector`.
        classes: number of classes.
        overrides: changes of the model's configuration.
        lr: peak learning rate of AdamW, after ``warmup`` steps, then along a cosine to 1 %.
        weight_decay: of AdamW; biases and gains do not decay.
        warmup: steps.

    Raises:
        UserError: an option is out of its bounds.
    """

    takes = "datamodules.images.given.GivenSquares"
    gives = "probabilities of the classes (classes,) float32"

    def __init__(
        self,
        config: str,
        classes: Annotated[int, Bounds(least=2)],
        overrides: dict[str, Any] | None = None,
        lr: PositiveFloat = 3e-3,
        weight_decay: NonNegativeFloat = 0.05,
        warmup: NonNegativeInt = 50,
    ):
        check_options(BackboneClassifier, locals())
        super().__init__()
        self.save_hyperparameters()
        detector: Any = build_detector(config, overrides)
        self._kept_config = kept_config(config)
        self.backbone, self.preprocessor = detector.backbone, detector.data_preprocessor
        with torch.no_grad():
            self.backbone.eval()
            width = self.backbone(torch.zeros(1, 3, 64, 64))[-1].shape[1]
        self.backbone.train()
        self.head = nn.Linear(width, classes)
        self.accuracy = MulticlassAccuracy(classes, average="micro")
        self.classes, self.lr, self.weight_decay, self.warmup = classes, lr, weight_decay, warmup

    @override
    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, classes) of images (B, 3, S, S) in [0, 1]."""
        inputs = self.preprocessor({"inputs": list(255 * images.flip(1)), "data_samples": None})["inputs"]
        return self.head(self.backbone(inputs)[-1].mean((2, 3)))

    @override
    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        loss = F.cross_entropy(self(batch["image"]), batch["label"])
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch["label"]))
        return loss

    @override
    def validation_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> None:
        self._score(batch, "val/accuracy")

    @override
    def test_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> None:
        self._score(batch, "test/accuracy")

    def _score(self, batch: dict[str, Any], name: str) -> None:
        if batch.get("task") == "images":
            self.accuracy(self(batch["image"]), batch["label"])
            self.log(name, self.accuracy, prog_bar=True, on_epoch=True, add_dataloader_idx=False)

    @override
    def predict_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Return the probabilities (B, classes) of the classes of ``batch["image"]``."""
        return self(batch["image"]).float().softmax(1)

    def backbone_state(self) -> dict[str, Tensor]:
        """Return the weights of the backbone alone, for ``backbone_weights`` of a detector."""
        return self.backbone.state_dict()

    @override
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the content of the configuration, whose file may be gone when the checkpoint is used."""
        super().on_save_checkpoint(checkpoint)
        checkpoint[MADE_OF] |= self._kept_config

    @classmethod
    @override
    def restored(cls, options: dict[str, Any], made_of: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        return with_config(options, made_of)

    @override
    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return AdamW with linear warm-up and cosine decay over the whole training."""
        steps = self.trainer.estimated_stepping_batches
        groups = decayed_apart([self.backbone, self.head])
        return adamw_with_cosine(groups, self.lr, self.weight_decay, self.warmup, steps)
