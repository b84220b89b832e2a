"""A small diffusion model learns to draw objects into boxes: the embedded world gets a generator like real ones."""

from collections.abc import Sequence
from typing import Annotated, Any

import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from typing_extensions import override

from lightning_modules.schedule import adamw_with_cosine, decayed_apart
from networks.box_diffusion import CELL, STEPS, BoxDiffusion, emptied
from visionscapes.checks import (
    Among,
    Bounds,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    check_options,
)
from visionscapes.errors import UserError

MOST_WEIGHT = 5.0  # of a step's error


class BoxDiffusionTraining(LightningModule):
    """Trains ``networks.box_diffusion.BoxDiffusion`` to estimate pictures from noised ones, within their boxes.

    Batches are those of ``datamodules.SceneCrops``. For every picture t is drawn uniformly, and its error is weighted
    by signal by noise (min-SNR, Hang et al., ICCV 2023), by 1 at least: what an object is like as a whole is decided
    where there is little signal.

    Args:
        classes: names of the classes, as the data call them.
        channels: of the levels of the UNet, see there.
        blocks: residual blocks of a level.
        cell: pixels of a side of the cells that pictures go in and out as.
        lr: peak learning rate of AdamW, after ``warmup`` steps, then along a cosine to 1 %.
        weight_decay: of AdamW; biases and gains do not decay.
        warmup: steps.
        clip: largest norm of the gradient.

    Raises:
        UserError: an option is out of its bounds; in ``fit``, the data have other classes.
    """

    def __init__(
        self,
        classes: list[str],
        channels: list[Annotated[int, Bounds(least=8), Among(1)]] = [64, 80],  # noqa: B006 (read only, and the help shows it)
        blocks: PositiveInt = 1,
        cell: PositiveInt = CELL,
        lr: PositiveFloat = 2e-3,
        weight_decay: NonNegativeFloat = 0.01,
        warmup: NonNegativeInt = 50,
        clip: PositiveFloat = 1.0,
    ):
        check_options(BoxDiffusionTraining, locals())
        super().__init__()
        self.save_hyperparameters()
        self.network = BoxDiffusion(classes, channels, blocks, cell=cell)
        self.lr, self.weight_decay, self.warmup, self.clip = lr, weight_decay, warmup, clip

    @override
    def on_fit_start(self) -> None:
        """Check that the data have the classes that the network is to learn.

        Raises:
            UserError: they have others.
        """
        found: Sequence[str] | None = getattr(getattr(self.trainer, "datamodule", None), "classes", None)
        if found is not None and tuple(found) != self.network.classes:
            raise UserError(
                f"the data have the classes {', '.join(found)}, the model {', '.join(self.network.classes)}: give "
                f"--model.init_args.classes=[{','.join(found)}]"
            )

    @override
    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        image = batch["image"]
        step = torch.randint(STEPS, (len(image),), device=image.device)
        loss = self.loss(batch, step, torch.randn_like(image))
        self.log("train/loss", loss, prog_bar=True, batch_size=len(image))
        return loss

    def loss(self, batch: dict[str, Any], step: Tensor, noise: Tensor) -> Tensor:
        """Return the weighted error of the estimates.

        Args:
            batch: see the class.
            step: (B,) int64, t.
            noise: (B, 3, S, S).
        """
        image, asked = 2 * batch["image"] - 1, emptied(batch["image"], batch["planes"])
        estimate = self.network(self.network.noised(image, noise, step), step, asked)
        return masked_error(estimate, image, asked.mask, signal_weights(self.network.alphas[step]))

    @override
    def validation_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> None:
        if batch.get("task") != "boxes":
            return
        image = batch["image"]
        generator = torch.Generator().manual_seed(batch_idx)
        noise = torch.randn(image.shape, generator=generator).to(image.device)
        step = torch.linspace(0, STEPS - 1, len(image), device=image.device).long()
        loss = self.loss(batch, step, noise)
        self.log("val/loss", loss, prog_bar=True, on_epoch=True, sync_dist=True, batch_size=len(image))

    def backbone_state(self) -> dict[str, Tensor]:
        """Return the network's weights, which ``callbacks.BackboneWriter`` keeps."""
        return self.network.state_dict()

    def backbone_options(self) -> dict[str, str]:
        """Return with which options the network is made again."""
        return self.network.described()

    @override
    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return AdamW with linear warm-up and cosine decay over the whole training."""
        steps = self.trainer.estimated_stepping_batches
        return adamw_with_cosine(decayed_apart([self.network]), self.lr, self.weight_decay, self.warmup, steps)

    @override
    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Limit the norm of the gradient as the option asks for it."""
        self.clip_gradients(optimizer, self.clip, "norm")

    @property
    def replaces_trainer_options(self) -> dict[str, str]:
        """Options of the Trainer -> options of this module that do the same."""
        return {"gradient_clip_val": f"--model.clip, which is {self.clip}"}


def signal_weights(alphas: Tensor) -> Tensor:
    """Return (B,), how much errors of the estimate count at alpha-bar (B,): signal by noise, between 1 and 5."""
    return (alphas / (1 - alphas)).clamp(1, MOST_WEIGHT)


def masked_error(estimate: Tensor, image: Tensor, mask: Tensor, weights: Tensor) -> Tensor:
    """Return the mean squared error within masks, a scalar; pictures count by what their masks cover.

    Args:
        estimate: (B, 3, S, S).
        image: (B, 3, S, S).
        mask: (B, 1, S, S), 1 where the error counts and 0 elsewhere.
        weights: (B,), of the pictures.
    """
    error = ((estimate - image).square() * mask).sum((1, 2, 3)) * weights
    return error.sum() / (image.shape[1] * mask.sum()).clamp(min=1)
