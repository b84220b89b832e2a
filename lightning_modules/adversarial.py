"""Training a generator against a discriminator: what adversarial methods share, whatever their data and networks."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from lightning_modules.adversarial_options import AdversarialOptions, HardwareOptions, OptimizerOptions
from lightning_modules.grouped_options import GroupedOptions
from networks.gan.ema import moving_average
from networks.gan.gradient_penalty import gradient_penalty
from networks.gan.losses import GAN_LOSSES
from visionscapes.errors import UserError

Scores = Callable[[Tensor], Any]
PENALTIES = ("r1", "r2")  # options and losses alike


class AdversarialModule(GroupedOptions):
    """Base of the methods that train a generator, most against a discriminator, both from one forward pass a batch.

    A ``training_step`` takes the losses of both networks, `discriminator_terms` and those of the generator with the
    discriminator `frozen`, and hands them to `learn`. Both are taken before either network steps, as in LSR's code, so
    that accumulated batches are one large batch. Lightning counts the steps of both: with a discriminator,
    ``trainer.global_step`` is twice the number of batches.

    Args:
        generator: the network that makes images.
        discriminator: gives logits of images, or lists of features by scale whose last is the logits; None for a
            generator that learns from its other losses alone.
        adversarial: the game of the two.
        optimizer: how both step.
        hardware: what makes it faster.

    Attributes:
        rates: what the learning rate is multiplied by for the generator and for the discriminator.
        replaces_trainer_options: options of the Trainer -> options of the module that do the same.
    """

    generator: Any
    discriminator: Any
    rates: tuple[float, float] = (1.0, 1.0)
    # What the Trainer cannot do where a module steps by itself; command_line.run.method_checks reads it.
    replaces_trainer_options: ClassVar[dict[str, str]] = {
        "gradient_clip_val": "--model.optimizer.clip",
        "accumulate_grad_batches": "--model.optimizer.accumulate",
    }

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module | None,
        *,
        adversarial: AdversarialOptions,
        optimizer: OptimizerOptions,
        hardware: HardwareOptions,
    ):
        super().__init__()
        self.automatic_optimization = False
        self.adversarial, self.optimizer = adversarial, optimizer
        self.accumulate = optimizer.accumulate  # what callbacks.ReproducibleSteps asks a module that steps by itself
        self.generator, self.discriminator = generator, discriminator
        self.gan_loss = GAN_LOSSES[adversarial.gan_loss]
        self.memory_format = torch.channels_last if hardware.channels_last else torch.contiguous_format
        for network in self._networks():
            network.to(memory_format=self.memory_format)
        self._penalties: dict[str, Tensor] = {}  # the last that were due: rows of the log between two repeat them
        self.average = None if self.optimizer.ema is None else moving_average(generator, self.optimizer.ema)
        if hardware.compile:
            generator.compile()

    @property
    def shown(self) -> Any:
        """The generator that generates: the moving average where there is one."""
        return self.generator if self.average is None else self.average.module

    def begin_average(self) -> None:
        """Have the moving average be what the generator is, after weights were loaded into that."""
        if self.average is not None:
            self.average.module.load_state_dict(self.generator.state_dict())

    def _networks(self) -> list[nn.Module]:
        """Return what learns, in the order of the optimisers."""
        return [each for each in (self.generator, self.discriminator) if each is not None]

    def check_data(self, data: Any) -> None:
        """Check that the label maps of the data have as many classes, and images the size, that the model is built for.

        Args:
            data: a datamodule; what it does not say is not checked.

        Raises:
            UserError: they have others.
        """
        size, ours = getattr(data, "image_size", None), self.hparams.get("image_size")
        if None not in (size, ours) and size != ours:
            raise UserError(
                f"the data have images of {size} pixels, and the model is built for {ours}: give both the same, "
                "--model.image_size and --data.image_size"
            )
        given, known = getattr(data, "classes", None), self.hparams.get("classes")
        if None not in (given, known) and given != known:
            raise UserError(
                f"the data have label maps of {given} classes, and the model was built for {known}: give both the same "
                "number, --model.init_args.classes and that of the data"
            )

    @override
    def on_predict_start(self) -> None:
        """Refuse to generate with untrained networks.

        Raises:
            UserError: nothing was trained or loaded.
        """
        fresh = self.trainer.ckpt_path is None and self.trainer.global_step == 0 and not self.loaded
        if fresh and not self.hparams.get("weights"):
            weights = ", or weights, --model.weights <file>" if "weights" in self.hparams else ""
            raise UserError(
                f"this {type(self).__name__} is untrained: train it first (fit), or give a checkpoint, "
                f"--ckpt_path <run folder>/checkpoints/last.ckpt{weights}"
            )

    # ------------------------------------------------------------------------------------------------- losses

    def discriminator_terms(self, scores: Scores, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """Return the adversarial loss of the discriminator and its gradient penalties (Mescheder et al. 2018), by name.

        Args:
            scores: what the discriminator says of images, given whatever else it sees.
            real: images (B, 3, S, S).
            fake: generated ones, without their history.
        """
        due = self._batches() % self.adversarial.penalty_every == 0
        losses, right = discriminator_losses(self.adversarial, scores, real, fake=fake, penalised=due)
        self.log("train/discriminator_accuracy", right, batch_size=len(real))
        return losses

    def adversarial_loss(self, scores: Any) -> Tensor:
        """Return the generator's adversarial loss for what the discriminator says of its images, mean over scales."""
        return mean([self.gan_loss.generator(each) for each in logits(scores)])

    # ----------------------------------------------------------------------------------------------- learning

    def learn(self, losses: dict[str, Tensor], batch_idx: int, batch_size: int) -> None:
        """Go one batch further down the losses of both networks, and log each.

        Args:
            losses: scalars by name, none of which has a gradient for both networks.
            batch_idx: of the batch in its epoch.
            batch_size: for the log.
        """
        # Neither network's loss reaches the other, so one backward pass serves both; DDP allows for no second one.
        self.manual_backward(torch.stack(list(losses.values())).sum() / self._together(batch_idx))
        if self.trainer.is_last_batch or (batch_idx + 1) % self.accumulate == 0:
            self.step()
        known = self._penalties | {name: losses[name].detach() for name in PENALTIES if name in losses}
        self._penalties = {name: value.to(self.device) for name, value in known.items()}
        for name, value in (losses | self._penalties).items():
            self.log(f"train/{name}", value.detach(), prog_bar=True, batch_size=batch_size)

    @override
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["penalties"] = {name: value.cpu() for name, value in self._penalties.items()}

    @override
    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        found = checkpoint.get("penalties", {})
        self._penalties = {name: found[name] for name in PENALTIES if name in found and getattr(self.adversarial, name)}

    def step(self) -> None:
        """Step the networks, the moving average and the rates."""
        optimizers = self._each(self.optimizers())
        with updated_once(getattr(self.trainer.precision_plugin, "scaler", None)):
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()
        if self.average is not None:
            self.average.update_parameters(self.generator)
        for scheduler in self._each(self.lr_schedulers()):
            scheduler.step()

    def _each(self, found: Any) -> list[Any]:
        """Return optimisers or schedulers as a list, which Lightning opens if there is one."""
        return list(found) if isinstance(found, list) else [found]

    @override
    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Clip the gradients, which under float16 are multiples of the true ones until here."""
        if self.optimizer.clip is not None:
            self.clip_gradients(optimizer, self.optimizer.clip, "value")

    @override
    def configure_optimizers(self) -> Any:
        """Return Adam for the generator and for the discriminator, each with its schedule."""
        networks, options = self._networks(), self.optimizer
        optimizers = [
            torch.optim.Adam(
                [each for each in network.parameters() if each.requires_grad],
                lr=factor * options.lr,
                betas=(options.beta1, options.beta2),
            )
            for network, factor in zip(networks, self.rates, strict=False)
        ]
        share = self.schedule()
        return optimizers, [torch.optim.lr_scheduler.LambdaLR(optimizer, share) for optimizer in optimizers]

    def schedule(self) -> Callable[[int], float]:
        """Return the share of the learning rate by step: it rises at the start, and falls in the last epochs."""
        options = self.optimizer
        steps, of_epoch = self._all_steps()
        decaying = min(options.decay_epochs * of_epoch, steps)
        decay = DECAYS[options.decay]

        def share(step: int) -> float:
            rising = min(1.0, (step + 1) / (options.warmup + 1))
            return rising * decay(step, steps, decaying, floor=options.decay_floor)

        return share

    def _together(self, batch_idx: int) -> int:
        """Return how many batches a step is the mean of, that of this batch: of the last in an epoch often fewer."""
        left = self.trainer.num_training_batches - (batch_idx - batch_idx % self.accumulate)
        # After a resume the trainer may count the batches of an epoch of another length.
        return int(min(self.accumulate, left)) if left > 0 else self.accumulate

    def _batches(self) -> int:
        """Return how many training batches came before this one, over all epochs."""
        return self.trainer.fit_loop.epoch_loop.total_batch_idx

    def _all_steps(self) -> tuple[float, int]:
        """Return the steps of the whole training, infinite if the trainer does not say, and those of an epoch."""
        self.trainer.fit_loop.setup_data()
        of_epoch = math.ceil(self.trainer.num_training_batches / self.accumulate)
        epochs, most = self.trainer.max_epochs, self.trainer.max_steps
        steps = of_epoch * epochs if epochs is not None and epochs >= 0 else math.inf
        if most >= 0:  # counts the steps of all optimisers
            steps = min(steps, most / len(self._networks()))
        return steps, of_epoch


@contextmanager
def updated_once(scaler: torch.amp.GradScaler | None) -> Iterator[None]:
    """Have all steps taken meanwhile, of however many optimisers, count as one for the scaler of float16.

    Lightning updates the scaler after the step of every optimiser. An update changes the scale, but not the gradients
    that wait for the step of the next optimiser: those were multiplied by the scale before.
    """
    if scaler is None:
        yield
        return
    scaler.update = _no_update  # type: ignore[method-assign]
    try:
        yield
    finally:
        del scaler.update  # the method of the class is left
    scaler.update()


def _no_update(new_scale: Any = None) -> None:
    pass


@contextmanager
def frozen(network: nn.Module | None) -> Iterator[None]:
    """Let gradients pass through a network, if there is one, without leaving any in its parameters."""
    parameters = [] if network is None else [each for each in network.parameters() if each.requires_grad]
    for each in parameters:
        each.requires_grad_(False)
    try:
        yield
    finally:
        for each in parameters:
            each.requires_grad_(True)


def discriminator_losses(
    options: AdversarialOptions, scores: Scores, real: Tensor, *, fake: Tensor, penalised: bool = True
) -> tuple[dict[str, Tensor], Tensor]:
    """Return the adversarial loss of a discriminator and its gradient penalties, by name, and how often it is right.

    Args:
        options: of the game.
        scores: what the discriminator says of images, given whatever else it sees.
        real: images (B, 3, S, S).
        fake: generated ones, without their history.
        penalised: whether gradient penalties are due.
    """
    loss = GAN_LOSSES[options.gan_loss].discriminator
    real, of_real = _judged(scores, real, penalised and options.r1 > 0)
    fake, of_fake = _judged(scores, fake, penalised and options.r2 > 0)
    pairs = list(zip(logits(of_real), logits(of_fake), strict=True))
    losses = {"discriminator": mean([loss(ours, theirs) for ours, theirs in pairs])}

    def penalty(place: int, images: Tensor) -> Tensor:
        # The loss is a mean over logits; the other images' half of it has no gradient here.
        judged = [pair[place] if options.penalty_of == "logits" else len(pair[0]) * loss(*pair) for pair in pairs]
        return mean([gradient_penalty(each, images) for each in judged])

    weight = options.penalty_every / 2
    if penalised and options.r1 > 0:
        losses["r1"] = weight * options.r1 * penalty(0, real)
    if penalised and options.r2 > 0:
        losses["r2"] = weight * options.r2 * penalty(1, fake)
    right = mean([((ours > 0).float().mean() + (theirs < 0).float().mean()) / 2 for ours, theirs in pairs])
    return losses, right


def _judged(scores: Scores, image: Tensor, penalised: bool) -> tuple[Tensor, Any]:
    """Return images and what a discriminator says of them, such that it can be differentiated by them."""
    if not penalised:
        return image, scores(image)
    image = image.detach().requires_grad_()
    # Derivatives of derivatives are taken in float32, whatever the precision of the training.
    with torch.autocast(image.device.type, enabled=False):
        return image, scores(image)


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


def hyperbolic_decay(step: int, steps: float, decaying: float, floor: float) -> float:
    """Return the share of the learning rate: 1, and in the last ``decaying`` steps down to ``floor`` as a hyperbola.

    LSR's code divides the rate by max(1, 100 alpha), with alpha the part of the decay that is over: after a hundredth
    of it the rate begins to fall, and half way it is down to a fiftieth.
    """
    if decaying <= 0 or math.isinf(steps):
        return 1.0
    over = min(1.0, max(0.0, (step - (steps - decaying)) / decaying))
    return 1.0 if over <= floor else floor / over


DECAYS: dict[str, Callable[..., float]] = {"linear": final_decay, "hyperbolic": hyperbolic_decay}
