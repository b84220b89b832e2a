"""What Pix2PixHD and SPADE share: discriminators of patches, and images that are alike in the features of networks."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_modules.paired_translation import PairedTranslation
from networks.companion import Companion
from networks.gan.patch_discriminator import MultiScaleDiscriminator, feature_matching
from networks.perceptual import VGGPerceptual
from visionscapes.checks import NonNegativeFloat, PositiveInt, check_options


@dataclass(frozen=True)
class PatchDiscriminatorOptions:
    """What the discriminators of patches are made of.

    Args:
        base: channels of the first layer.
        scales: discriminators, each at half the resolution of the last.

    Raises:
        UserError: a value that makes no sense.
    """

    base: PositiveInt = 64
    scales: PositiveInt = 2

    def __post_init__(self) -> None:
        check_options(PatchDiscriminatorOptions, vars(self))


@dataclass(frozen=True)
class MatchingOptions:
    """How much an image is asked to be like the truth in the features of networks.

    Args:
        lambda_features: weight of feature matching, in the discriminator's layers.
        lambda_vgg: weight of the perceptual loss, in VGG's; 0 leaves it out.
        vgg_weights: see `networks.perceptual.VGGPerceptual`.

    Raises:
        UserError: a value that makes no sense.
    """

    lambda_features: NonNegativeFloat = 10.0
    lambda_vgg: NonNegativeFloat = 10.0
    vgg_weights: str | None = "torchvision"

    def __post_init__(self) -> None:
        check_options(MatchingOptions, vars(self))

    def perceptual(self) -> Companion | None:
        """Return the network of the perceptual loss; none where it has no weight.

        Raises:
            UserError: its weights cannot be had.
        """
        return Companion(VGGPerceptual(self.vgg_weights)) if self.lambda_vgg else None


class MatchingTranslation(PairedTranslation):
    """Base of the two baselines."""

    discriminator: MultiScaleDiscriminator
    matching: MatchingOptions

    def matching_losses(self, condition: Tensor, truth: Tensor, image: Tensor) -> dict[str, Tensor]:
        """Return what is asked of an image: to be taken for real, and to be like the truth in features.

        Args:
            condition: (B, C, S, S).
            truth: (B, 3, S, S) in [-1, 1].
            image: the same, generated.
        """
        of_image = self.scores(condition, image)
        with torch.no_grad():
            of_truth = self.scores(condition, truth)
        losses = {
            "adversarial": self.adversarial_loss(of_image),
            "features": self.matching.lambda_features * feature_matching(of_truth, of_image),
        }
        if self._perceptual is not None:
            losses["perceptual"] = self.matching.lambda_vgg * self._perceptual(image, truth)
        return losses
