"""How much each loss of LSR counts."""

from dataclasses import dataclass

from lightning_modules.lsr.loss import LatentPenalty
from visionscapes.checks import NonNegativeFloat, check_options


@dataclass(frozen=True)
class LayoutLossOptions:
    """The weights of Eq. 6.2; the defaults are those of the official code.

    Args:
        lambda_seg: of the cross-entropy with the oracle's label map; 1 in Eq. 6.2.
        lambda_rgb: lambda_R, of the perceptual loss of the image that is predicted beside the layout.
        lambda_z: of the latent code, which Eq. 6.2 does not have.
        latent_penalty: "norm", ||z||^2 as in Eq. 6.4, or "mean", its D-th part as in the code.

    Raises:
        UserError: a value out of its bounds.
    """

    lambda_seg: NonNegativeFloat = 10.0
    lambda_rgb: NonNegativeFloat = 0.01
    lambda_z: NonNegativeFloat = 1.0
    latent_penalty: LatentPenalty = "mean"

    def __post_init__(self) -> None:
        check_options(type(self), vars(self))


@dataclass(frozen=True)
class HeadLossOptions(LayoutLossOptions):
    """The weights of Eq. 6.4, and where the layout is kept a segmentation, of Eq. 6.2.

    Args:
        lambda_seg: see `LayoutLossOptions`; with the spatial input "segmentation" alone.
        lambda_rgb: likewise.
        lambda_z: lambda_L2, of both latent codes.
        latent_penalty: see `LayoutLossOptions`.
        lambda_gan: lambda_adv; 0 for no discriminator.
        lambda_vgg: of the perceptual loss in VGG19.
        lambda_l1: of the mean absolute difference.
        lambda_vggface: of the perceptual loss in VGGFace.
        lambda_id: of the distance between VGGFace's logits, which the code has and the thesis does not name.

    Raises:
        UserError: a value out of its bounds.
    """

    lambda_gan: NonNegativeFloat = 1.0
    lambda_vgg: NonNegativeFloat = 0.1
    lambda_l1: NonNegativeFloat = 1.0
    lambda_vggface: NonNegativeFloat = 0.002
    lambda_id: NonNegativeFloat = 1.0
