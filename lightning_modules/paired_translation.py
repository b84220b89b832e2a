"""Paired image-to-image translation against a conditional discriminator: what GRIT and its baselines share."""

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from typing_extensions import override

from networks.gan.conditions import one_hot
from networks.gan.ema import moving_average
from networks.gan.gradient_penalty import gradient_penalty
from networks.gan.losses import GAN_LOSSES
from networks.generated import Generated
from visionscapes.errors import UserError


class Translated(NamedTuple):
    """What a generator made of a training batch.

    Attributes:
        generated: the images.
        code: what regularisers look at, such as the style code (B, D); None if there is none.
    """

    generated: Generated
    code: Any


class PairedTranslation(LightningModule):
    """Base of the translations: both networks learn from one forward pass of the generator a batch.

    Batches are dictionaries with "image" (B, 3, S, S) float32 RGB in [0, 1] and either "labels" (B, S, S) uint8 or
    "condition" (B, C, S, S) float32 in [0, 1]; to generate, "style" (B, 3, S, S) stands for the image if it is there.
    Networks see images and conditions in [-1, 1] and label maps one-hot. The discriminator sees the condition beside
    the image, and its gradient penalty is that of the image alone (5.5.1.2; LSR's code).

    Both losses of a batch are taken before either network steps, as in LSR's code, so that accumulated batches are one
    large batch. Lightning counts both steps: ``trainer.global_step`` is twice the number of batches.

    Args:
        generator: see the subclass.
        discriminator: from (B, C + 3, S, S) to logits, or to lists of features by scale whose last is the logits.
        classes: labels of a label map; None for conditions that are images.
        condition_channels: C of such conditions.
        gan_loss: see ``networks.gan.losses``.
        lr: learning rate of Adam, of generator and discriminator.
        betas: of Adam.
        r1: weight gamma of the gradient penalty on real images; 0 for none.
        r2: the same on generated ones.
        penalty_every: batches from one penalty to the next, which weighs that much more (lazy regularisation).
        ema: decay of the moving average of the generator, which then generates; None for none.
        decay_epochs: epochs at the end in which the rates fall linearly; all of them if there are fewer.
        decay_floor: share of the rates that they fall to.
        warmup: steps in which the rates rise from 0.
        clip: largest absolute value of an element of a gradient; None for no limit.
        accumulate: batches whose gradients are added up for a step.
        channels_last: store feature maps with the channels last, which convolutions in bfloat16 are quicker with.
        compile: compile the generator with ``torch.compile``; the discriminator's penalty needs second derivatives,
            which compiled code has not.

    Raises:
        UserError: a value out of its range.
    """

    generator: Any
    discriminator: Any

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        classes: int | None,
        condition_channels: int,
        gan_loss: str,
        lr: tuple[float, float],
        betas: tuple[float, float],
        r1: float = 0.0,
        r2: float = 0.0,
        penalty_every: int = 1,
        ema: float | None = None,
        decay_epochs: float = 1.0,
        decay_floor: float = 0.1,
        warmup: int = 0,
        clip: float | None = None,
        accumulate: int = 1,
        channels_last: bool = False,
        compile: bool = False,
    ):
        super().__init__()
        self.automatic_optimization = False
        _check(lr=min(lr), penalty_every=penalty_every, accumulate=accumulate)
        self.generator, self.discriminator = generator, discriminator
        self.classes, self.condition_channels = classes, condition_channels
        self.gan_loss, self.rates, self.betas = GAN_LOSSES[gan_loss], lr, betas
        self.r1, self.r2, self.penalty_every = r1, r2, penalty_every
        self.decay_epochs, self.decay_floor, self.warmup = decay_epochs, decay_floor, warmup
        self.clip, self.accumulate = clip, accumulate
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        for network in (generator, discriminator):
            network.to(memory_format=self.memory_format)
        self.average = None if ema is None else moving_average(generator, ema)
        self._perceptual: list[nn.Module] = []  # in a list, so that its weights are no part of checkpoints
        if compile:
            generator.compile()

    # ------------------------------------------------------------------------------------------- what differs

    @abstractmethod
    def translate(self, batch: Mapping[str, Tensor], condition: Tensor, truth: Tensor) -> Translated:
        """Return what the generator makes of a training batch: images in the style of the truth (B, 3, S, S)."""

    @abstractmethod
    def generator_losses(self, condition: Tensor, truth: Tensor, translated: Translated) -> dict[str, Tensor]:
        """Return the weighted terms of the generator's loss, by name."""

    @abstractmethod
    def render(
        self, batch: Mapping[str, Tensor], condition: Tensor, style: Tensor, noise: torch.Generator | None
    ) -> Generated:
        """Return images of conditions in the style of images (B, 3, S, S) in [-1, 1], by `shown`."""

    # ------------------------------------------------------------------------------------------------ training

    @override
    def setup(self, stage: str) -> None:
        """Hold the model against the data.

        Raises:
            UserError: the label maps have another number of classes.
        """
        given = getattr(getattr(self.trainer, "datamodule", None), "classes", None)
        if None not in (given, self.classes) and given != self.classes:
            raise UserError(
                f"the data have label maps of {given} classes, and the model was built for {self.classes}: give both "
                "the same number, --model.init_args.classes and that of the data"
            )

    @override
    def training_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> None:
        condition, truth = self.condition(batch), self.to_network(batch["image"])
        translated = self.translate(batch, condition, truth)
        losses = self.discriminator_losses(condition, truth, translated.generated.image.detach())
        with frozen(self.discriminator):
            losses |= self.generator_losses(condition, truth, translated)
        # Neither network's loss reaches the other, so one backward pass serves both; DDP allows for no second one.
        self.manual_backward(torch.stack(list(losses.values())).sum() / self.accumulate)
        if self.trainer.is_last_batch or (batch_idx + 1) % self.accumulate == 0:
            self.step()
        for name, value in losses.items():
            self.log(f"train/{name}", value.detach(), prog_bar=True, batch_size=len(truth))

    def step(self) -> None:
        """Step both networks, the moving average and the rates."""
        optimizers: Any = self.optimizers()
        for optimizer in optimizers:
            if self.clip is not None:
                scaler = getattr(self.trainer.precision_plugin, "scaler", None)
                if scaler is not None:  # of float16: its gradients are multiples of the true ones until it steps
                    scaler.unscale_(optimizer.optimizer)
                self.clip_gradients(optimizer.optimizer, self.clip, "value")
            optimizer.step()
            optimizer.zero_grad()
        if self.average is not None:
            self.average.update_parameters(self.generator)
        for scheduler in self.lr_schedulers():  # type: ignore[union-attr]
            scheduler.step()

    def discriminator_losses(self, condition: Tensor, truth: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """Return the adversarial loss of the discriminator and its gradient penalties (Mescheder et al. 2018).

        Args:
            condition: (B, C, S, S).
            truth: real images (B, 3, S, S).
            fake: generated ones.
        """
        due = self._batches() % self.penalty_every == 0
        real, of_real = self._judged(condition, truth, due and self.r1 > 0)
        made, of_fake = self._judged(condition, fake, due and self.r2 > 0)
        pairs = list(zip(logits(of_real), logits(of_fake), strict=True))
        losses = {"discriminator": mean([self.gan_loss.discriminator(ours, theirs) for ours, theirs in pairs])}
        weight = self.penalty_every / 2
        if due and self.r1 > 0:
            losses["r1"] = weight * self.r1 * mean([gradient_penalty(each, real) for each, _ in pairs])
        if due and self.r2 > 0:
            losses["r2"] = weight * self.r2 * mean([gradient_penalty(each, made) for _, each in pairs])
        right = mean([((ours > 0).float().mean() + (theirs < 0).float().mean()) / 2 for ours, theirs in pairs])
        self.log("train/discriminator_accuracy", right, batch_size=len(truth))
        return losses

    def adversarial_loss(self, scores: Any) -> Tensor:
        """Return the generator's adversarial loss for what the discriminator says of its images, mean over scales."""
        return mean([self.gan_loss.generator(each) for each in logits(scores)])

    def _judged(self, condition: Tensor, image: Tensor, penalised: bool) -> tuple[Tensor, Any]:
        """Return images and what the discriminator says of them, such that it can be differentiated by them."""
        if not penalised:
            return image, self.scores(condition, image)
        image = image.detach().requires_grad_()
        # Derivatives of derivatives are taken in float32, whatever the precision of the training.
        with torch.autocast(self.device.type, enabled=False):
            return image, self.scores(condition, image)

    def scores(self, condition: Tensor, image: Tensor) -> Any:
        """Return what the discriminator says of images (B, 3, S, S) with their conditions beside them."""
        return self.discriminator(torch.cat([condition, image], 1))

    @override
    def configure_optimizers(self) -> Any:
        """Return Adam for the generator and for the discriminator, each with its schedule."""
        networks = (self.generator, self.discriminator)
        optimizers = [
            torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=lr, betas=self.betas)
            for network, lr in zip(networks, self.rates, strict=True)
        ]
        steps, of_epoch = self._all_steps()
        decaying = min(self.decay_epochs * of_epoch, steps)

        def share(step: int) -> float:
            return min(1.0, (step + 1) / (self.warmup + 1)) * final_decay(step, steps, decaying, self.decay_floor)

        return optimizers, [torch.optim.lr_scheduler.LambdaLR(optimizer, share) for optimizer in optimizers]

    # ---------------------------------------------------------------------------------------------- generating

    def generate(self, batch: Mapping[str, Any], noise: torch.Generator | None = None) -> Generated:
        """Return images of a batch, see ``networks.generated.Generates``."""
        style = self.to_network(batch["style"] if "style" in batch else batch["image"])
        return self.render(batch, self.condition(batch), style, noise)

    @override
    def validation_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> Any:
        """Return the images of the batch, `Generated`, for the callbacks."""
        return self.generate(batch)

    test_step = predict_step = validation_step

    @override
    def on_predict_start(self) -> None:
        """Refuse to translate with untrained networks.

        Raises:
            UserError: nothing was loaded.
        """
        if self.trainer.ckpt_path is None and self.trainer.global_step == 0:
            raise UserError(
                f"this {type(self).__name__} is untrained: train it first (fit), or give a checkpoint, "
                "--ckpt_path <run folder>/checkpoints/last.ckpt"
            )

    @property
    def shown(self) -> Any:
        """The generator that generates: the moving average where there is one."""
        return self.generator if self.average is None else self.average.module

    def condition(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return I^A as the networks see it, (B, C, S, S).

        Raises:
            UserError: the batch has no condition of the kind that the module was built for.
        """
        name = "condition" if self.classes is None else "labels"
        if name not in batch:
            given = "label maps" if "labels" in batch else "conditions that are images"
            wanted = "images (classes: null)" if self.classes is None else f"label maps of {self.classes} classes"
            raise UserError(
                f"the data have {given}, and the model was built for {wanted}: change --model.init_args.classes"
            )
        condition = self.to_network(batch[name]) if self.classes is None else one_hot(batch[name], self.classes)
        if condition.shape[1] != self.condition_channels:
            raise UserError(
                f"the conditions have {condition.shape[1]} channels, and the model was built for "
                f"{self.condition_channels}: change --model.init_args.condition_channels"
            )
        return condition.to(memory_format=self.memory_format)

    def to_network(self, images: Tensor) -> Tensor:
        """Return images of [0, 1] in [-1, 1]."""
        return (2 * images - 1).to(memory_format=self.memory_format)

    def unsigned(self, condition: Tensor) -> Tensor:
        """Return a condition in [0, 1], whatever its kind."""
        return condition if self.classes is not None else (condition + 1) / 2

    # ------------------------------------------------------------------------------------------------ counting

    def _batches(self) -> int:
        """Return how many training batches came before this one, over all epochs."""
        return self.trainer.fit_loop.epoch_loop.total_batch_idx

    def _all_steps(self) -> tuple[float, int]:
        """Return the steps of the whole training, infinite if the trainer does not say, and those of an epoch."""
        self.trainer.fit_loop.setup_data()
        of_epoch = math.ceil(self.trainer.num_training_batches / self.accumulate)
        epochs, most = self.trainer.max_epochs, self.trainer.max_steps
        steps = of_epoch * epochs if epochs is not None and epochs >= 0 else math.inf
        if most >= 0:  # counts the steps of both optimisers
            steps = min(steps, most / 2)
        return steps, of_epoch


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Let gradients pass through a network without leaving any in its parameters."""
    parameters = [each for each in network.parameters() if each.requires_grad]
    for each in parameters:
        each.requires_grad_(False)
    try:
        yield
    finally:
        for each in parameters:
            each.requires_grad_(True)


def logits(scores: Any) -> list[Tensor]:
    """Return the logits of every scale of a discriminator's answer."""
    return [scores] if isinstance(scores, Tensor) else [scale[-1] for scale in scores]


def mean(values: list[Tensor]) -> Tensor:
    """Return the mean of scalars."""
    return torch.stack(values).mean()


def final_decay(step: int, steps: float, decaying: float, floor: float) -> float:
    """Return the share of the learning rate: 1, and in the last ``decaying`` steps linearly down to ``floor``.

    Thesis 5.5.1.2: "linearly decay the learning rate by a factor of 10 during the last epoch".
    """
    if decaying <= 0 or math.isinf(steps):
        return 1.0
    return 1 - (1 - floor) * min(1.0, max(0.0, (step - (steps - decaying)) / decaying))


def channels_of(classes: int | None, condition_channels: int | None) -> int:
    """Return the channels of I^A: one a class of a label map, or those of a condition that is an image.

    Raises:
        UserError: both are given, or none.
    """
    if (classes is None) == (condition_channels is None):
        given = "neither" if classes is None else "both"
        raise UserError(
            f"{given} of classes and condition_channels given: label maps need --model.init_args.classes alone, edges "
            "and other images --model.init_args.classes=null and --model.init_args.condition_channels"
        )
    return classes if classes is not None else condition_channels  # type: ignore[return-value]


def _check(**values: float) -> None:
    for name, value in values.items():
        if value <= 0:
            raise UserError(f"{name} is {value}; it has to be above 0")
