"""GRIT: paired image-to-image translation with GAN residuals (thesis chapter 5)."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor
from typing_extensions import override

from lightning_modules.grit.loss import code_penalty, pixel_loss
from lightning_modules.grit.network import GRITGenerator
from lightning_modules.paired_translation import PairedTranslation, Translated, channels_of
from networks.gan.discriminators import ResidualDiscriminator, StyleGANDiscriminator
from networks.gan.noise import draw_noise
from networks.generated import Generated
from networks.perceptual import VGGPerceptual

DISCRIMINATORS = {"stylegan": StyleGANDiscriminator, "residual": ResidualDiscriminator}


class GRIT(PairedTranslation):
    """Translates label maps or edges into images that are a reconstruction plus a GAN residual (Eq. 5.1 and 5.2).

    The reconstruction loss sees the reconstruction alone, the discriminator the sum. The appendix says once that the
    reconstruction loss is "between our output and the ground truth" (5.5.1.2); Eq. 5.2 and the ablation are followed.
    The rows of table 5.4 are ``noise: false, residual: false``; ``residual: false``; and the defaults.

    Batches are those of `PairedTranslation`. Values whose source is not named are ours, because the thesis gives none;
    most are those of the first authors' LSR code.

    Args:
        classes: labels of the label maps (19 of CelebAMask-HQ, 5.3); None for conditions that are images.
        condition_channels: of conditions that are images, such as 1 for edges; None with label maps.
        image_size: S in pixels (5.3).
        style_dim: of the style code z^s (5.5.1.1).
        base: feature maps of the first layer of the encoders (5.5.1.1).
        most: feature maps at most (5.5.1.1).
        downs: down blocks of the encoders, up blocks of the decoder (5.5.1.1).
        noise: whether spatial noise is added (5.2.3; table 5.4).
        residual: whether there is a residual (5.2.1; table 5.4).
        composition: of the two components, see `GRITGenerator` (5.2.1).
        content_fc: see `GRITGenerator`.
        style_condition: see `GRITGenerator`.
        full_resolution_skip: see `GRITGenerator`.
        discriminator: "stylegan" (5.5.1.1: adapted from StyleGAN's) or "residual", StyleGAN2's, as in LSR's code.
        discriminator_base: feature maps at resolution r are ``discriminator_base`` / r, at most ``most``.
        stddev_group: images that the minibatch standard deviation compares; None for none (LSR's code).
        reconstruction: "l1", or "vgg" for the perceptual loss of table 5.5.
        vgg_weights: for "vgg", see `networks.perceptual.VGGPerceptual`.
        gan_loss: "logistic" (non-saturating), "hinge" or "least_squares".
        lambda_rec: weight of the reconstruction loss (5.5.1.2).
        lambda_z: weight of the mean square of the style code (5.5.1.2 names the term, not its weight).
        r1: see `PairedTranslation`.
        r2: see `PairedTranslation`.
        penalty_every: see `PairedTranslation`.
        lr: learning rate of Adam for all networks (5.5.1.2).
        beta1: of Adam (5.5.1.2).
        beta2: of Adam (5.5.1.2).
        ema: see `PairedTranslation`.
        decay_epochs: epochs at the end in which the rate falls to a tenth, linearly (5.5.1.2).
        warmup: see `PairedTranslation`.
        clip: see `PairedTranslation`.
        accumulate: see `PairedTranslation`.
        channels_last: see `PairedTranslation`.
        compile: see `PairedTranslation`.

    Raises:
        UserError: a value out of its range, or both or none of ``classes`` and ``condition_channels``.
    """

    def __init__(
        self,
        classes: int | None = 19,
        condition_channels: int | None = None,
        image_size: int = 256,
        style_dim: int = 512,
        base: int = 64,
        most: int = 512,
        downs: int = 6,
        noise: bool = True,
        residual: bool = True,
        composition: Literal["sum", "cnn"] = "sum",
        content_fc: bool = False,
        style_condition: bool = False,
        full_resolution_skip: bool = True,
        discriminator: Literal["stylegan", "residual"] = "stylegan",
        discriminator_base: int = 16384,
        stddev_group: int | None = 4,
        reconstruction: Literal["l1", "vgg"] = "l1",
        vgg_weights: str | None = "torchvision",
        gan_loss: Literal["logistic", "hinge", "least_squares"] = "logistic",
        lambda_rec: float = 30.0,
        lambda_z: float = 1.0,
        r1: float = 10.0,
        r2: float = 0.0,
        penalty_every: int = 1,
        lr: float = 1e-3,
        beta1: float = 0.0,
        beta2: float = 0.999,
        ema: float | None = None,
        decay_epochs: float = 1.0,
        warmup: int = 0,
        clip: float | None = None,
        accumulate: int = 1,
        channels_last: bool = False,
        compile: bool = False,
    ):
        channels = channels_of(classes, condition_channels)
        generator = GRITGenerator(
            channels,
            image_size,
            style_dim,
            base=base,
            most=most,
            downs=downs,
            noise=noise,
            residual=residual,
            composition=composition,
            content_fc=content_fc,
            style_condition=style_condition,
            full_resolution_skip=full_resolution_skip,
        )
        judge = DISCRIMINATORS[discriminator](
            channels + 3, image_size, base=discriminator_base, most=most, group=stddev_group
        )
        super().__init__(
            generator,
            judge,
            classes,
            condition_channels=channels,
            gan_loss=gan_loss,
            lr=(lr, lr),
            betas=(beta1, beta2),
            r1=r1,
            r2=r2,
            penalty_every=penalty_every,
            ema=ema,
            decay_epochs=decay_epochs,
            warmup=warmup,
            clip=clip,
            accumulate=accumulate,
            channels_last=channels_last,
            compile=compile,
        )
        self.save_hyperparameters()
        self.lambda_rec, self.lambda_z = lambda_rec, lambda_z
        self._perceptual = [VGGPerceptual(vgg_weights)] if reconstruction == "vgg" else []

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
        return {  # Eq. 5.2, summed by `training_step`
            "adversarial": self.adversarial_loss(self.scores(condition, image)),
            "reconstruction": self.lambda_rec * self.reconstruction_loss(reconstruction, truth),
            "style": self.lambda_z * code_penalty(translated.code),
        }

    def reconstruction_loss(self, reconstruction: Tensor, truth: Tensor) -> Tensor:
        """Return L_rec of Eq. 5.2: the mean absolute difference, or the perceptual loss of table 5.5."""
        if self._perceptual:
            return self._perceptual[0].to(self.device)(reconstruction, truth)
        return pixel_loss(reconstruction, truth)

    @override
    def render(
        self, batch: Mapping[str, Tensor], condition: Tensor, style: Tensor, noise: torch.Generator | None
    ) -> Generated:
        """Return images in the style of others; every call has its own noise (5.2.3)."""
        generator = self.shown
        maps = None
        if noise is not None and self.hparams["noise"]:
            maps = draw_noise(generator.noise_shapes(), len(style), noise, self.device)
        return generator(condition, generator.style(style, condition), maps)
