"""Pix2PixHD-like training, a baseline of tables 5.1 to 5.3."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from lightning_modules.grit.baselines.pix2pixhd_network import Pix2PixHDGenerator
from lightning_modules.paired_translation import PairedTranslation, Translated, channels_of
from networks.gan.patch_discriminator import MultiScaleDiscriminator, feature_matching
from networks.generated import Generated
from networks.perceptual import VGGPerceptual


class Pix2PixHD(PairedTranslation):
    """Translates with an encoder-decoder and a style for every label, without noise (Wang et al., CVPR 2018).

    Least squares, feature matching and a perceptual loss, all on the one output. The thesis trains it with its official
    code and the style encoder for labels (5.3); defaults are that code's. Batches are those of `PairedTranslation`.

    Args:
        classes: labels of the label maps; None for conditions that are images.
        condition_channels: of conditions that are images; None with label maps.
        image_size: S in pixels.
        base: channels of the generator at full resolution.
        downs: how many times the generator halves the resolution.
        blocks: residual blocks.
        style_channels: numbers of the style of a label.
        discriminator_base: channels of the first layer of the discriminators.
        scales: discriminators, each at half the resolution of the last.
        lambda_features: weight of feature matching.
        lambda_vgg: weight of the perceptual loss; 0 leaves it out.
        vgg_weights: see `networks.perceptual.VGGPerceptual`.
        lr: learning rate of Adam.
        beta1: of Adam.
        beta2: of Adam.
        ema: see `PairedTranslation`.
        decay_epochs: epochs at the end in which the rate falls to 0; half of all in the official code.
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
        base: int = 64,
        downs: int = 4,
        blocks: int = 9,
        style_channels: int = 3,
        discriminator_base: int = 64,
        scales: int = 2,
        lambda_features: float = 10.0,
        lambda_vgg: float = 10.0,
        vgg_weights: str | None = "torchvision",
        lr: float = 2e-4,
        beta1: float = 0.5,
        beta2: float = 0.999,
        ema: float | None = None,
        decay_epochs: float = 100.0,
        accumulate: int = 1,
        channels_last: bool = False,
        compile: bool = False,
    ):
        channels = channels_of(classes, condition_channels)
        super().__init__(
            Pix2PixHDGenerator(channels, style_channels, base, downs=downs, blocks=blocks),
            MultiScaleDiscriminator(channels + 3, discriminator_base, scales=scales),
            classes,
            condition_channels=channels,
            gan_loss="least_squares",
            lr=(lr, lr),
            betas=(beta1, beta2),
            ema=ema,
            decay_epochs=decay_epochs,
            decay_floor=0.0,
            accumulate=accumulate,
            channels_last=channels_last,
            compile=compile,
        )
        self.save_hyperparameters()
        self.lambda_features, self.lambda_vgg = lambda_features, lambda_vgg
        self._perceptual = [VGGPerceptual(vgg_weights)] if lambda_vgg else []

    @override
    def translate(self, batch: Mapping[str, Tensor], condition: Tensor, truth: Tensor) -> Translated:
        """Return images with the style that the truth has in every label."""
        image = self.generator(self.unsigned(condition), truth).float()
        return Translated(Generated(image, {}), None)

    @override
    def generator_losses(self, condition: Tensor, truth: Tensor, translated: Translated) -> dict[str, Tensor]:
        """Return the adversarial term, feature matching and the perceptual term (Wang et al. 2018, Eq. 5 and 3.3)."""
        losses = matching_losses(self, condition, truth, translated.generated.image)
        # The sum over scales, in the paper and in the official code; SPADE's is the mean.
        return losses | {"adversarial": losses["adversarial"] * len(self.discriminator.scales)}

    @override
    def render(
        self, batch: Mapping[str, Tensor], condition: Tensor, style: Tensor, noise: torch.Generator | None
    ) -> Generated:
        """Return images of conditions in the style of others, whose label maps are "style_labels" if known."""
        image = self.shown(self.unsigned(condition), style, batch.get("style_labels"))
        return Generated(image.float(), {})


def matching_losses(module: Any, condition: Tensor, truth: Tensor, image: Tensor) -> dict[str, Tensor]:
    """Return what Pix2PixHD and SPADE ask of an image: to be taken for real, and to be like the truth in features.

    Args:
        module: a `PairedTranslation` with the weights ``lambda_features`` and ``lambda_vgg``.
        condition: (B, C, S, S).
        truth: (B, 3, S, S) in [-1, 1].
        image: the same, generated.
    """
    of_image = module.scores(condition, image)
    with torch.no_grad():
        of_truth = module.scores(condition, truth)
    losses = {
        "adversarial": module.adversarial_loss(of_image),
        "features": module.lambda_features * feature_matching(of_truth, of_image),
    }
    if module._perceptual:
        losses["perceptual"] = module.lambda_vgg * module._perceptual[0].to(module.device)(image, truth)
    return losses
