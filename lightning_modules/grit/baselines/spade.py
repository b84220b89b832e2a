"""SPADE-like training, a baseline of tables 5.1 to 5.3."""

from collections.abc import Mapping

import torch
from torch import Tensor
from typing_extensions import override

from lightning_modules.adversarial_options import AdversarialOptions, HardwareOptions, OptimizerOptions
from lightning_modules.grit.baselines.matching import MatchingOptions, MatchingTranslation, PatchDiscriminatorOptions
from lightning_modules.grit.baselines.spade_network import (
    SPADEGenerator,
    SPADEGeneratorOptions,
    kl_divergence,
    sample_style,
)
from lightning_modules.grit.exporting import exported_spade
from lightning_modules.paired_translation import Translated, channels_of
from networks.gan.patch_discriminator import MultiScaleDiscriminator
from networks.generated import Generated
from visionscapes.checks import ImageSize, NonNegativeFloat, PositiveInt, check_options
from visionscapes.exporting.parts import Exportable
from visionscapes.options import group_of


class SPADE(MatchingTranslation):
    """Translates with spatially adaptive normalisation and a variational image encoder (Park et al., CVPR 2019).

    Hinge loss, feature matching and a perceptual loss, all on the one output, and the divergence of the styles from
    N(0, 1). The thesis trains it with its official code (5.3); defaults are that code's. Batches are those of
    `PairedTranslation`.

    Args:
        classes: labels of the label maps; None for conditions that are images.
        condition_channels: of conditions that are images; None with label maps.
        image_size: S in pixels.
        generator: what the generator is made of.
        discriminator: what the discriminators are made of.
        matching: how much images are asked to be like the truth in features.
        lambda_kl: weight of the divergence of the styles.
        adversarial: the game of generator and discriminators.
        optimizer: Adam; the rate of the generator is half of ``lr``, that of the discriminator twice as much. It does
            not fall, as by default in the official code.
        hardware: what makes it faster.

    Raises:
        UserError: a value out of its range, or both or none of ``classes`` and ``condition_channels``; VGG's weights
            cannot be had.
    """

    rates = (0.5, 2.0)  # TTUR

    only_to_train = {"matching": {"vgg_weights": None}}  # noqa: RUF012 (read only)

    def __init__(
        self,
        classes: PositiveInt | None = 19,
        condition_channels: PositiveInt | None = None,
        image_size: ImageSize = 256,
        generator: SPADEGeneratorOptions = SPADEGeneratorOptions(),
        discriminator: PatchDiscriminatorOptions = PatchDiscriminatorOptions(),
        matching: MatchingOptions = MatchingOptions(),
        lambda_kl: NonNegativeFloat = 0.05,
        adversarial: AdversarialOptions = AdversarialOptions(gan_loss="hinge"),
        optimizer: OptimizerOptions = OptimizerOptions(lr=2e-4, beta2=0.9, decay_epochs=0.0, decay_floor=0.0),
        hardware: HardwareOptions = HardwareOptions(),
    ):
        check_options(SPADE, locals())
        channels = channels_of(classes, condition_channels)
        generator, discriminator = (
            group_of(SPADE, "generator", generator),
            group_of(SPADE, "discriminator", discriminator),
        )
        adversarial, optimizer = group_of(SPADE, "adversarial", adversarial), group_of(SPADE, "optimizer", optimizer)
        matching, hardware = group_of(SPADE, "matching", matching), group_of(SPADE, "hardware", hardware)
        super().__init__(
            SPADEGenerator(channels, image_size, generator),
            MultiScaleDiscriminator(channels + 3, discriminator.base, scales=discriminator.scales, norm="spectral"),
            classes=classes,
            condition_channels=channels,
            adversarial=adversarial,
            optimizer=optimizer,
            hardware=hardware,
        )
        self.save_hyperparameters()
        self.keep_plain_hyperparameters()
        self.lambda_kl, self.matching = lambda_kl, matching
        self._perceptual = self.matching.perceptual()

    @override
    def translate(self, batch: Mapping[str, Tensor], condition: Tensor, truth: Tensor) -> Translated:
        """Return images of styles drawn from what the encoder sees in the truth."""
        mean, log_variance = self.generator.encode(truth)
        image = self.generator(self.unsigned(condition), sample_style(mean, log_variance)).float()
        return Translated(Generated(image, {}), (mean, log_variance))

    @override
    def generator_losses(self, condition: Tensor, truth: Tensor, translated: Translated) -> dict[str, Tensor]:
        """Return the terms of Pix2PixHD, and the divergence of the styles (Park et al. 2019, appendix A)."""
        losses = self.matching_losses(condition, truth, translated.generated.image)
        return losses | {"divergence": self.lambda_kl * kl_divergence(*translated.code)}

    @override
    def render(
        self, batch: Mapping[str, Tensor], condition: Tensor, style: Tensor, noise: torch.Generator | None
    ) -> Generated:
        """Return images of conditions in styles drawn from what the encoder sees in other images."""
        mean, log_variance = self.shown.encode(style)
        image = self.shown(self.unsigned(condition), sample_style(mean, log_variance, noise))
        return Generated(image.float(), {})

    def exportable(self) -> list[Exportable]:
        """Return the generator to export, with all that varies as inputs."""
        return exported_spade(self)
