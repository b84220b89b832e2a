"""SPADE-like training, a baseline of tables 5.1 to 5.3."""

from collections.abc import Mapping

import torch
from torch import Tensor
from typing_extensions import override

from lightning_modules.grit.baselines.pix2pixhd import matching_losses
from lightning_modules.grit.baselines.spade_network import SPADEGenerator, kl_divergence, sample_style
from lightning_modules.paired_translation import PairedTranslation, Translated, channels_of
from networks.gan.patch_discriminator import MultiScaleDiscriminator
from networks.generated import Generated
from networks.perceptual import VGGPerceptual


class SPADE(PairedTranslation):
    """Translates with spatially adaptive normalisation and a variational image encoder (Park et al., CVPR 2019).

    Hinge loss, feature matching and a perceptual loss, all on the one output, and the divergence of the styles from
    N(0, 1). The thesis trains it with its official code (5.3); defaults are that code's. Batches are those of
    `PairedTranslation`.

    Args:
        classes: labels of the label maps; None for conditions that are images.
        condition_channels: of conditions that are images; None with label maps.
        image_size: S in pixels.
        style_dim: numbers of a style.
        base: channels of the generator at full resolution.
        hidden: channels of the layer between the condition and its scales and shifts.
        discriminator_base: channels of the first layer of the discriminators.
        scales: discriminators, each at half the resolution of the last.
        lambda_features: weight of feature matching.
        lambda_vgg: weight of the perceptual loss; 0 leaves it out.
        lambda_kl: weight of the divergence of the styles.
        vgg_weights: see `networks.perceptual.VGGPerceptual`.
        lr: learning rate; that of the generator is half of it, that of the discriminator twice as much.
        beta1: of Adam.
        beta2: of Adam.
        ema: see `PairedTranslation`.
        decay_epochs: epochs at the end in which the rates fall to 0; none by default in the official code.
        accumulate: see `PairedTranslation`.
        channels_last: see `PairedTranslation`.
        compile: see `PairedTranslation`.

    Raises:
        UserError: see `PairedTranslation`; VGG's weights cannot be had.
    """

    def __init__(
        self,
        classes: int | None = 19,
        condition_channels: int | None = None,
        image_size: int = 256,
        style_dim: int = 256,
        base: int = 64,
        hidden: int = 128,
        discriminator_base: int = 64,
        scales: int = 2,
        lambda_features: float = 10.0,
        lambda_vgg: float = 10.0,
        lambda_kl: float = 0.05,
        vgg_weights: str | None = "torchvision",
        lr: float = 2e-4,
        beta1: float = 0.0,
        beta2: float = 0.9,
        ema: float | None = None,
        decay_epochs: float = 0.0,
        accumulate: int = 1,
        channels_last: bool = False,
        compile: bool = False,
    ):
        channels = channels_of(classes, condition_channels)
        super().__init__(
            SPADEGenerator(channels, image_size, style_dim, base=base, hidden=hidden),
            MultiScaleDiscriminator(channels + 3, discriminator_base, scales=scales, norm="spectral"),
            classes,
            condition_channels=channels,
            gan_loss="hinge",
            lr=(lr / 2, lr * 2),
            betas=(beta1, beta2),
            ema=ema,
            decay_epochs=decay_epochs,
            decay_floor=0.0,
            accumulate=accumulate,
            channels_last=channels_last,
            compile=compile,
        )
        self.save_hyperparameters()
        self.lambda_features, self.lambda_vgg, self.lambda_kl = lambda_features, lambda_vgg, lambda_kl
        self._perceptual = [VGGPerceptual(vgg_weights)] if lambda_vgg else []

    @override
    def translate(self, batch: Mapping[str, Tensor], condition: Tensor, truth: Tensor) -> Translated:
        """Return images of styles drawn from what the encoder sees in the truth."""
        mean, log_variance = self.generator.encode(truth)
        image = self.generator(self.unsigned(condition), sample_style(mean, log_variance)).float()
        return Translated(Generated(image, {}), (mean, log_variance))

    @override
    def generator_losses(self, condition: Tensor, truth: Tensor, translated: Translated) -> dict[str, Tensor]:
        """Return the terms of Pix2PixHD, and the divergence of the styles (Park et al. 2019, appendix A)."""
        losses = matching_losses(self, condition, truth, translated.generated.image)
        return losses | {"divergence": self.lambda_kl * kl_divergence(*translated.code)}

    @override
    def render(
        self, batch: Mapping[str, Tensor], condition: Tensor, style: Tensor, noise: torch.Generator | None
    ) -> Generated:
        """Return images of conditions in styles drawn from what the encoder sees in other images."""
        mean, log_variance = self.shown.encode(style)
        image = self.shown(self.unsigned(condition), sample_style(mean, log_variance, noise))
        return Generated(image.float(), {})
