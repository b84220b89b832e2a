"""Paired image-to-image translation against a conditional discriminator: what GRIT and its baselines share."""

from abc import abstractmethod
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from typing_extensions import override

from lightning_modules.adversarial import AdversarialModule, frozen
from lightning_modules.adversarial_options import AdversarialOptions, HardwareOptions, OptimizerOptions
from networks.companion import Companion
from networks.gan.conditions import one_hot
from networks.generated import Generated, in_size_of, repeated, to_unit_range
from visionscapes.errors import UserError
from visionscapes.results import Translation


class Translated(NamedTuple):
    """What a generator made of a training batch.

    Attributes:
        generated: the images.
        code: what regularisers look at, such as the style code (B, D); None if there is none.
    """

    generated: Generated
    code: Any


class PairedTranslation(AdversarialModule):
    """Base of the methods that learn to translate a condition, a label map or edges, into the image that belongs to it.

    Batches are dictionaries with "image" (B, 3, S, S) float32 RGB in [0, 1] and either "labels" (B, S, S) uint8 or
    "condition" (B, C, S, S) float32 in [0, 1]; to generate, "style" (B, 3, S, S) stands for the image if it is there.
    Networks see images and conditions in [-1, 1] and label maps one-hot. The discriminator sees the condition beside
    the image, and its gradient penalty is that of the image alone (5.5.1.2; LSR's code).

    Args:
        generator: see the subclass.
        discriminator: from (B, C + 3, S, S) to logits, or to lists of features by scale whose last is the logits.
        classes: labels of a label map; None for conditions that are images.
        condition_channels: C of such conditions.
        adversarial: the game of generator and discriminator.
        optimizer: how both step.
        hardware: what makes it faster.

    Raises:
        UserError: a value out of its range.
    """

    takes = "datamodules.translation.given.GivenPairs"
    gives = "Translation: image and its parts"
    fixed_inputs = ("image_size", "classes", "channels")

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        *,
        classes: int | None,
        condition_channels: int,
        adversarial: AdversarialOptions,
        optimizer: OptimizerOptions,
        hardware: HardwareOptions,
    ):
        super().__init__(generator, discriminator, adversarial=adversarial, optimizer=optimizer, hardware=hardware)
        self.classes, self.condition_channels = classes, condition_channels
        self._perceptual: Companion | None = None

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
        """Check that the data are such as the model was built for.

        Raises:
            UserError: they are not, see `check_data`.
        """
        self.check_data(getattr(self.trainer, "datamodule", None))

    @override
    def training_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> None:
        condition, truth = self.condition(batch), self.to_network(batch["image"])
        translated = self.translate(batch, condition, truth)
        losses = self.discriminator_losses(condition, truth, translated.generated.image.detach())
        with frozen(self.discriminator):
            losses |= self.generator_losses(condition, truth, translated)
        self.learn(losses, batch_idx, batch_size=len(truth))

    def discriminator_losses(self, condition: Tensor, truth: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """Return the terms of the discriminator's loss, by name.

        Args:
            condition: (B, C, S, S).
            truth: real images (B, 3, S, S).
            fake: generated ones.
        """
        return self.discriminator_terms(partial(self.scores, condition), truth, fake)

    def scores(self, condition: Tensor, image: Tensor) -> Any:
        """Return what the discriminator says of images (B, 3, S, S) with their conditions beside them."""
        return self.discriminator(torch.cat([condition, image], 1))

    # ---------------------------------------------------------------------------------------------- generating

    def draws(self, batch: Mapping[str, Any]) -> Generated:
        """Return N images of every sample, those of a sample behind each other, for ``batch["seeds"]`` (B, N).

        Each is made alone, so that it depends on nothing but its sample and its seed.
        """
        made = [
            self.generate(repeated(batch, index, 1), torch.Generator().manual_seed(seed)).image
            for index, seeds in enumerate(batch["seeds"].tolist())
            for seed in seeds
        ]
        return Generated(torch.cat(made), {})

    def generate(self, batch: Mapping[str, Any], noise: torch.Generator | None = None) -> Generated:
        """Return images of a batch, see ``networks.generated.Generates``."""
        style = self.to_network(batch["style"] if "style" in batch else batch["image"])
        return self.render(batch, self.condition(batch), style, noise)

    @override
    def validation_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> Any:
        """Return the images of the batch, `Generated`, for the callbacks."""
        return self.generate(batch)

    test_step = validation_step

    def predict_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> Generated:
        """Return the images of the batch, or of every sample of it as many as it has "seeds"."""
        return self.draws(batch) if "seeds" in batch else self.generate(batch)

    @override
    def default_inputs(self) -> dict[str, Any]:
        channels = {} if self.classes is not None else {"channels": self.condition_channels}
        return {"image_size": self.hparams["image_size"], "classes": self.classes, **channels}

    @override
    def answers(self, batch: Mapping[str, Any]) -> list[Translation]:
        """Return the image of every condition in its size; ``batch["seed"]``, if it is there, decides the noise."""
        seed = batch.get("seed")
        noise = None if seed is None else torch.Generator().manual_seed(int(seed))
        image, parts = self.generate(dict(batch), noise)
        return [
            Translation(
                to_unit_range(in_size_of(batch, at, image[at])),
                {name: in_size_of(batch, at, part[at]) for name, part in parts.items()},
            )
            for at in range(len(image))
        ]

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
