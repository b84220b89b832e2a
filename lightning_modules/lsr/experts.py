"""The frozen networks that LSR learns from: one whose features tell how alike pictures are, one that knows faces."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from typing_extensions import override

from networks.companion import Companion
from networks.feature_networks import SmallDistance
from networks.perceptual import InputScale, VGGPerceptual
from networks.vggface import Colours, Mean, VGGFaceDistance
from visionscapes.checks import check_options
from visionscapes.errors import UserError


@dataclass(frozen=True)
class HeadExpertOptions:
    """The frozen networks of the losses.

    Args:
        perceptual: "vgg19", or "small" for the distance in the small network of this repository, which is a stand-in.
        perceptual_weights: of VGG19: the path of a file, or "torchvision" to download them.
        input_scale: what VGG19 reads, see `networks.perceptual.VGGPerceptual`: "caffe" with caffe's weights, as in the
            official code; "calibrated", torchvision's weights with distances brought to that scale, which the weight of
            the loss is made for; or "torchvision", where they are far smaller.
        vggface_weights: file of VGGFace, see `networks.vggface`; None without the losses that ask it.
        vggface_mean: what is taken from its pixels, see there; the official code takes ImageNet's.
        vggface_colours: the order of colours that its weights read, see there.

    Raises:
        UserError: an option out of its bounds.
    """

    perceptual: Literal["vgg19", "small"] = "vgg19"
    perceptual_weights: str = "torchvision"
    input_scale: InputScale = "calibrated"
    vggface_weights: str | None = None
    vggface_mean: Mean = "imagenet"
    vggface_colours: Colours = "bgr"

    def __post_init__(self) -> None:
        check_options(HeadExpertOptions, vars(self))

    def perceptual_distance(self) -> Companion:
        """Return the distance, a scalar, of images (B, 3, S, S) in [-1, 1] to others.

        Raises:
            UserError: its weights cannot be had.
        """
        if self.perceptual == "small":
            return Companion(SmallPerceptual())
        with torch.random.fork_rng(devices=[]):  # what is trained draws the same numbers with and without it
            return Companion(VGGPerceptual(self.perceptual_weights, input_scale=self.input_scale))

    def face_distance(self) -> Companion:
        """Return the distances, two scalars, of images (B, 3, S, S) in [-1, 1] in VGGFace's layers and logits.

        Raises:
            UserError: its weights cannot be had.
        """
        if self.vggface_weights is None:
            raise UserError(
                "the losses of faces ask VGGFace, and no weights of it are given: give --model.experts.vggface_weights "
                "<file>, or --model.losses.lambda_vggface=0 --model.losses.lambda_id=0"
            )
        with torch.random.fork_rng(devices=[]):
            return Companion(
                VGGFaceDistance(self.vggface_weights, mean=self.vggface_mean, colours=self.vggface_colours)
            )


class SmallPerceptual(nn.Module):
    """A stand-in for VGG19's perceptual loss: the mean distance of images in [-1, 1] in a small network's features."""

    def __init__(self) -> None:
        super().__init__()
        self.distance = SmallDistance()

    @override
    def forward(self, images: Tensor, target: Tensor) -> Tensor:
        return self.distance((images + 1) / 2, (target + 1) / 2).mean()
