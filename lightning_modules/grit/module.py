"""GRIT: paired image-to-image translation with GAN residuals (thesis chapter 5)."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor
from typing_extensions import override

from lightning_modules.adversarial_options import AdversarialOptions, HardwareOptions, OptimizerOptions
from lightning_modules.grit.exporting import exported_grit
from lightning_modules.grit.loss import code_penalty, pixel_loss
from lightning_modules.grit.network import GRITGenerator, GRITGeneratorOptions
from lightning_modules.paired_translation import PairedTranslation, Translated, channels_of
from networks.companion import Companion
from networks.gan.discriminators import DiscriminatorOptions
from networks.gan.noise import draw_noise
from networks.generated import Generated
from networks.perceptual import VGGPerceptual
from visionscapes.checks import ImageSize, NonNegativeFloat, PositiveInt, check_options
from visionscapes.exporting.parts import Exportable
from visionscapes.options import group_of


class GRIT(PairedTranslation):
    """Translates label maps or edges into images that are a reconstruction plus a GAN residual (Eq. 5.1 and 5.2).

    The reconstruction loss sees the reconstruction alone, the discriminator the sum. The appendix says once that the
    reconstruction loss is "between our output and the ground truth" (5.5.1.2); Eq. 5.2 and the ablation are followed.
    The rows of table 5.4 are ``noise: false, residual: false`` of the generator;
    ``residual: false``; and the defaults.

    Batches are those of `PairedTranslation`. Values whose source is not named are ours, because the thesis gives none;
    most are those of the first authors' LSR code.

    Args:
        classes: labels of the label maps (19 of CelebAMask-HQ, 5.3); None for conditions that are images.
        condition_channels: of conditions that are images, such as 1 for edges; None with label maps.
        image_size: S in pixels (5.3).
        generator: what the generator is made of.
        discriminator: what the discriminator is made of (5.5.1.1: adapted from StyleGAN's).
        reconstruction: "l1", or "vgg" for the perceptual loss of table 5.5.
        vgg_weights: for "vgg", see `networks.perceptual.VGGPerceptual`.
        lambda_rec: weight of the reconstruction loss (5.5.1.2).
        lambda_z: weight of the mean square of the style code (5.5.1.2 names the term, not its weight).
        adversarial: the game of the two; the weight of R1 is that of LSR's code.
        optimizer: Adam for all networks, whose rate falls to a tenth in the last epoch (5.5.1.2).
        hardware: what makes it faster.

    Raises:
        UserError: a value out of its range, or both or none of ``classes`` and ``condition_channels``.
    """

    only_to_train = {"vgg_weights": None}  # noqa: RUF012 (read only)

    def __init__(
        self,
        classes: PositiveInt | None = 19,
        condition_channels: PositiveInt | None = None,
        image_size: ImageSize = 256,
        generator: GRITGeneratorOptions = GRITGeneratorOptions(),
        discriminator: DiscriminatorOptions = DiscriminatorOptions(),
        reconstruction: Literal["l1", "vgg"] = "l1",
        vgg_weights: str | None = "torchvision",
        lambda_rec: NonNegativeFloat = 30.0,
        lambda_z: NonNegativeFloat = 1.0,
        adversarial: AdversarialOptions = AdversarialOptions(gan_loss="logistic", r1=10.0),
        optimizer: OptimizerOptions = OptimizerOptions(),
        hardware: HardwareOptions = HardwareOptions(),
    ):
        check_options(GRIT, locals())
        channels = channels_of(classes, condition_channels)
        generator, discriminator = (
            group_of(GRIT, "generator", generator),
            group_of(GRIT, "discriminator", discriminator),
        )
        adversarial, optimizer = group_of(GRIT, "adversarial", adversarial), group_of(GRIT, "optimizer", optimizer)
        hardware = group_of(GRIT, "hardware", hardware)
        super().__init__(
            GRITGenerator(channels, image_size, generator),
            discriminator.build(channels + 3, image_size, most=generator.most),
            classes=classes,
            condition_channels=channels,
            adversarial=adversarial,
            optimizer=optimizer,
            hardware=hardware,
        )
        self.save_hyperparameters()
        self.keep_plain_hyperparameters()
        self.noise = generator.noise
        self.lambda_rec, self.lambda_z = lambda_rec, lambda_z
        self._perceptual = Companion(VGGPerceptual(vgg_weights)) if reconstruction == "vgg" else None

    @override
    def translate(self, batch: Mapping[str, Tensor], condition: Tensor, truth: Tensor) -> Translated:
        """Return I_rec, I_res and their sum in the style of the truth, which E^S peeks at (5.2.3)."""
        style = self.generator.style(truth, condition)
        return Translated(self.generator(condition, style), style)

    @override
    def generator_losses(self, condition: Tensor, truth: Tensor, translated: Translated) -> dict[str, Tensor]:
        """Return the terms of Eq. 5.2, and that of the style code (5.5.1.2)."""
        image, parts = translated.generated
        reconstruction = parts.get("reconstruction", image)  # without a residual the one output is both
        return {  # Eq. 5.2, summed by `learn` of lightning_modules/adversarial.py
            "adversarial": self.adversarial_loss(self.scores(condition, image)),
            "reconstruction": self.lambda_rec * self.reconstruction_loss(reconstruction, truth),
            "style": self.lambda_z * code_penalty(translated.code),
        }

    def reconstruction_loss(self, reconstruction: Tensor, truth: Tensor) -> Tensor:
        """Return L_rec of Eq. 5.2: the mean absolute difference, or the perceptual loss of table 5.5."""
        if self._perceptual is not None:
            return self._perceptual(reconstruction, truth)
        return pixel_loss(reconstruction, truth)

    @override
    def render(
        self, batch: Mapping[str, Tensor], condition: Tensor, style: Tensor, noise: torch.Generator | None
    ) -> Generated:
        """Return images in the style of others; every call has its own noise (5.2.3)."""
        generator = self.shown
        maps = None
        if noise is not None and self.noise:
            maps = draw_noise(generator.noise_shapes(), len(style), noise, self.device)
        return generator(condition, generator.style(style, condition), maps)

    def exportable(self) -> list[Exportable]:
        """Return the generator to export, with all that varies as inputs."""
        return exported_grit(self)
