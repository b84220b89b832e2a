"""What generators of heads learn from: Eq. 6.4, for the full pipeline and for the fine-tuning on one person alike."""

from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lightning_modules.adversarial import Scores
from lightning_modules.lsr.loss import latent_penalty, pixel_loss
from lightning_modules.lsr.loss_options import HeadLossOptions
from lightning_modules.lsr.network import Latents, in_type_of
from networks.companion import as_in
from networks.gan.losses import GANLoss


class Objective(NamedTuple):
    """Eq. 6.4, with the networks that it asks.

    Attributes:
        losses: the weights.
        gan_loss: the game of generator and discriminator.
        perceptual: the distance of two batches of images in VGG19; not asked where its weight is 0.
        faces: two distances in VGGFace; likewise.
    """

    losses: HeadLossOptions
    gan_loss: GANLoss
    perceptual: Any
    faces: Any

    def generator_losses(
        self, image: Tensor, truth: Tensor, latents: Latents, *, scores: Scores | None
    ) -> dict[str, Tensor]:
        """Return the terms of Eq. 6.4, weighted, by name.

        Args:
            image: (B, 3, S, S) in about [-1, 1], what was made.
            truth: (B, 3, S, S) in [-1, 1], the targets.
            latents: z^l and z^s, averaged over the shots.
            scores: what the discriminator says of images in the poses of the targets; None without one.
        """
        terms = self.reconstruction_losses(
            image, truth
        )  # Eq. 6.4, summed by `learn` of lightning_modules/adversarial.py
        if scores is not None:
            terms["adversarial"] = self.losses.lambda_gan * self.gan_loss.generator(scores(image))
        codes = [code for code in latents if code is not None]
        penalty = torch.stack([latent_penalty(code, self.losses.latent_penalty) for code in codes]).sum()
        return terms | {"latent": self.losses.lambda_z * penalty}

    def reconstruction_losses(self, image: Tensor, truth: Tensor) -> dict[str, Tensor]:
        """Return the terms of L_rec in Eq. 6.4, weighted, by name, of images (B, 3, S, S) in [-1, 1]."""
        losses = self.losses
        terms = {"l1": losses.lambda_l1 * pixel_loss(image, truth)}
        if losses.lambda_vgg:
            terms["vgg"] = losses.lambda_vgg * self.perceptual(*as_in(self.perceptual, image, truth))
        if losses.lambda_vggface or losses.lambda_id:
            layers, identity = self.faces(*as_in(self.faces, image, truth))
            terms |= {"vggface": losses.lambda_vggface * layers, "identity": losses.lambda_id * identity}
        return terms


def scores_beside(discriminator: Any, drawing: Tensor) -> Scores | None:
    """Return what a discriminator says of images beside drawings (B, 3, S, S), both in [-1, 1]; None without one."""
    return None if discriminator is None else partial(_scores, discriminator, drawing)


def _scores(discriminator: Any, drawing: Tensor, image: Tensor) -> Tensor:
    return discriminator(in_type_of(discriminator, torch.cat([image, drawing.to(image)], 1)))
