"""Pix2PixHD-like training, a baseline of tables 5.1 to 5.3."""

from collections.abc import Mapping

import torch
from torch import Tensor
from typing_extensions import override

from lightning_modules.adversarial_options import AdversarialOptions, HardwareOptions, OptimizerOptions
from lightning_modules.grit.baselines.matching import MatchingOptions, MatchingTranslation, PatchDiscriminatorOptions
from lightning_modules.grit.baselines.pix2pixhd_network import Pix2PixHDGenerator, Pix2PixHDGeneratorOptions
from lightning_modules.grit.exporting import exported_pix2pixhd
from lightning_modules.paired_translation import Translated, channels_of
from networks.gan.patch_discriminator import MultiScaleDiscriminator
from networks.generated import Generated
from visionscapes.checks import ImageSize, PositiveInt, check_options
from visionscapes.exporting.parts import Exportable
from visionscapes.options import group_of


class Pix2PixHD(MatchingTranslation):
    """Translates with an encoder-decoder and a style for every label, without noise (Wang et al., CVPR 2018).

    Least squares, feature matching and a perceptual loss, all on the one output. The thesis trains it with its official
    code and the style encoder for labels (5.3); defaults are that code's. Batches are those of `PairedTranslation`.

    Args:
        classes: labels of the label maps; None for conditions that are images.
        condition_channels: of conditions that are images; None with label maps.
        image_size: S in pixels.
        generator: what the generator is made of.
        discriminator: what the discriminators are made of.
        matching: how much images are asked to be like the truth in features.
        adversarial: the game of generator and discriminators.
        optimizer: Adam, whose rate falls to 0; over half of all epochs in the official code.
        hardware: what makes it faster.

    Raises:
        UserError: a value out of its range, or both or none of ``classes`` and ``condition_channels``; VGG's weights
            cannot be had.
    """

    only_to_train = {"matching": {"vgg_weights": None}}  # noqa: RUF012 (read only)

    def __init__(
        self,
        classes: PositiveInt | None = 19,
        condition_channels: PositiveInt | None = None,
        image_size: ImageSize = 256,
        generator: Pix2PixHDGeneratorOptions = Pix2PixHDGeneratorOptions(),
        discriminator: PatchDiscriminatorOptions = PatchDiscriminatorOptions(),
        matching: MatchingOptions = MatchingOptions(),
        adversarial: AdversarialOptions = AdversarialOptions(gan_loss="least_squares"),
        optimizer: OptimizerOptions = OptimizerOptions(lr=2e-4, beta1=0.5, decay_epochs=100.0, decay_floor=0.0),
        hardware: HardwareOptions = HardwareOptions(),
    ):
        check_options(Pix2PixHD, locals())
        channels = channels_of(classes, condition_channels)
        generator, discriminator = (
            group_of(Pix2PixHD, "generator", generator),
            group_of(Pix2PixHD, "discriminator", discriminator),
        )
        adversarial, optimizer = (
            group_of(Pix2PixHD, "adversarial", adversarial),
            group_of(Pix2PixHD, "optimizer", optimizer),
        )
        matching, hardware = group_of(Pix2PixHD, "matching", matching), group_of(Pix2PixHD, "hardware", hardware)
        super().__init__(
            Pix2PixHDGenerator(channels, generator),
            MultiScaleDiscriminator(channels + 3, discriminator.base, scales=discriminator.scales),
            classes=classes,
            condition_channels=channels,
            adversarial=adversarial,
            optimizer=optimizer,
            hardware=hardware,
        )
        self.save_hyperparameters()
        self.keep_plain_hyperparameters()
        self.matching = matching
        self._perceptual = self.matching.perceptual()

    @override
    def translate(self, batch: Mapping[str, Tensor], condition: Tensor, truth: Tensor) -> Translated:
        """Return images with the style that the truth has in every label."""
        image = self.generator(self.unsigned(condition), truth).float()
        return Translated(Generated(image, {}), None)

    @override
    def generator_losses(self, condition: Tensor, truth: Tensor, translated: Translated) -> dict[str, Tensor]:
        """Return the adversarial term, feature matching and the perceptual term (Wang et al. 2018, Eq. 5 and 3.3)."""
        losses = self.matching_losses(condition, truth, translated.generated.image)
        # The sum over scales, in the paper and in the official code; SPADE's is the mean.
        return losses | {"adversarial": losses["adversarial"] * len(self.discriminator.scales)}

    @override
    def render(
        self, batch: Mapping[str, Tensor], condition: Tensor, style: Tensor, noise: torch.Generator | None
    ) -> Generated:
        """Return images of conditions in the style of others, whose label maps are "style_labels" if known."""
        image = self.shown(self.unsigned(condition), style, batch.get("style_labels"))
        return Generated(image.float(), {})

    def exportable(self) -> list[Exportable]:
        """Return the generator to export, with all that varies as inputs."""
        return exported_pix2pixhd(self)
