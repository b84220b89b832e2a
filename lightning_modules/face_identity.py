"""A small network learns to tell drawn people apart, so that what is generated of them has a judge."""

from typing import Any

import torch
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from lightning_modules.method import Method
from lightning_modules.schedule import adamw_with_cosine, decayed_apart
from metrics.verification import Verification
from networks.identity import SmallIdentity
from visionscapes.checks import NonNegativeFloat, NonNegativeInt, PositiveFloat, check_options


class FaceIdentity(Method):
    """Trains ``networks.identity.SmallIdentity``: two pictures of a person are to be nearer than those of two people.

    The loss is InfoNCE (van den Oord et al., 2018) among the people of a batch, from either picture to the others.
    Training batches have "image" (B, 2, 3, S, S) float32 RGB in [0, 1], two pictures each of B people; batches of task
    "people", for validation and test, "image" (B, 3, S, S) and "label" (B,) int64, whom they show.

    Args:
        temperature: by which cosines are divided.
        lr: peak learning rate of AdamW, after ``warmup`` steps, then along a cosine to 1 %.
        weight_decay: of AdamW; biases and gains do not decay.
        warmup: steps.

    Raises:
        UserError: an option is out of its bounds.
    """

    takes = "datamodules.images.given.GivenSquares"
    gives = "an embedding (D,) float32 of unit length; pictures of one person have a cosine near 1"

    def __init__(
        self,
        temperature: PositiveFloat = 0.05,
        lr: PositiveFloat = 2e-3,
        weight_decay: NonNegativeFloat = 0.05,
        warmup: NonNegativeInt = 30,
    ):
        check_options(FaceIdentity, locals())
        super().__init__()
        self.save_hyperparameters()
        self.network = SmallIdentity(weights=None)
        self.verification = Verification()
        self.temperature, self.lr, self.weight_decay, self.warmup = temperature, lr, weight_decay, warmup

    @override
    def forward(self, images: Tensor) -> Tensor:
        """Return embeddings (B, D) of unit length of images (B, 3, S, S) in [0, 1]."""
        return self.network(images)

    @override
    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        first, second = self(batch["image"].flatten(0, 1)).unflatten(0, (-1, 2)).unbind(1)
        loss = info_nce(first, second, self.temperature)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(first))
        return loss

    @override
    def validation_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> None:
        if batch.get("task") == "people":
            self.verification.update(self(batch["image"]), batch["label"])

    test_step = validation_step

    @override
    def on_validation_epoch_end(self) -> None:
        self._log_verification("val")

    @override
    def on_test_epoch_end(self) -> None:
        self._log_verification("test")

    def _log_verification(self, stage: str) -> None:
        for name, value in self.verification.compute().items():
            self.log(f"{stage}/{name}", value, prog_bar=name == "AUC")
        self.verification.reset()

    @override
    def predict_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Return the embeddings (B, D) of the faces in ``batch["image"]``."""
        return self(batch["image"])

    def backbone_state(self) -> dict[str, Tensor]:
        """Return the weights of the network alone, for ``networks.identity.SmallIdentity``."""
        return self.network.state_dict()

    @override
    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return AdamW with linear warm-up and cosine decay over the whole training."""
        steps = self.trainer.estimated_stepping_batches
        return adamw_with_cosine(decayed_apart([self.network]), self.lr, self.weight_decay, self.warmup, steps)


def info_nce(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Return the cross-entropy of finding, among all of the other side, the picture of the same person.

    Args:
        first: (B, D) of unit length, a picture of each person.
        second: (B, D), another one of each.
        temperature: by which cosines are divided.

    Returns:
        A float32 scalar, the mean of both directions; log B where all cosines are equal.
    """
    logits = first.float() @ second.float().T / temperature
    people = torch.arange(len(first), device=first.device)
    return (F.cross_entropy(logits, people) + F.cross_entropy(logits.T, people)) / 2
