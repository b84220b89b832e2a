"""LSR's networks: shots become latent codes, codes and landmarks a spatial layout, and the layout an image."""

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import torch
from torch import Tensor, nn
from typing_extensions import override

from lightning_modules.lsr.generators import COLOURS, DRAWING, ImageGenerator, LandmarkUNet, ShotEncoder
from networks.gan.conditions import one_hot
from networks.sync_network import precise
from visionscapes.checks import Bounds, PositiveInt, check_options
from visionscapes.errors import UserError

Spatial = Literal["layout", "segmentation", "oracle", "landmarks", "none"]
Layout = Literal["softmax", "straight_through"]


@dataclass(frozen=True)
class HeadNetworkOptions:
    """What the encoders and generators are made of; the defaults are those of the official code.

    Args:
        base: feature maps at full resolution, doubled at every halving.
        most: feature maps at most, of the discriminator too.
        latent: length of z^l and of z^s.
        levels: how often the generators halve the image; the encoders do once more.
        spade_hidden: channels inside of SPADE; 128 in SPADE's paper.
        shot_landmarks: show the encoders a drawing of each shot's landmarks too, as in the official code; false as the
            thesis writes, E(I_i).
        layout: what of the predicted logits the image generator sees: their "softmax", or the one-hot layout of which
            the thesis speaks, whose gradient is that of the softmax ("straight_through").

    Raises:
        UserError: a value that makes no sense.
    """

    base: PositiveInt = 32
    most: PositiveInt = 512
    latent: PositiveInt = 512
    levels: Annotated[int, Bounds(least=1, most=12)] = 5
    spade_hidden: PositiveInt = 64
    shot_landmarks: bool = True
    layout: Layout = "softmax"

    def __post_init__(self) -> None:
        check_options(HeadNetworkOptions, vars(self))

    def check(self, image_size: int) -> None:
        """Check that images of a size can be halved as often.

        Raises:
            UserError: they cannot.
        """
        whole = 2**self.levels
        if image_size % whole or image_size < 2 * whole:
            raise UserError(
                f"image_size {image_size} cannot be halved {self.levels} times to at least 2 whole pixels, of which "
                f"instance norm would leave nothing: give a multiple of {whole} from {2 * whole} on, or fewer halvings "
                "(--model.network.levels)"
            )

    def encoder(self, image_size: int) -> ShotEncoder:
        """Return an encoder of shots."""
        channels = COLOURS + DRAWING * self.shot_landmarks
        return ShotEncoder(
            channels, image_size, base=self.base, most=self.most, downs=self.levels + 1, latent=self.latent
        )

    def unet(self, out_channels: int) -> LandmarkUNet:
        """Return a U-Net from drawings of landmarks."""
        return LandmarkUNet(out_channels, self.latent, base=self.base, most=self.most, levels=self.levels)

    def image_generator(self, condition_channels: int, image_size: int) -> ImageGenerator:
        """Return a SPADE generator."""
        return ImageGenerator(
            condition_channels,
            image_size,
            latent=self.latent,
            base=self.base,
            most=self.most,
            levels=self.levels,
            hidden=self.spade_hidden,
        )


class Latents(NamedTuple):
    """Latent codes of people, each the mean over their K shots.

    Attributes:
        layout: z^l, (B, latent); None where the model predicts no layout.
        style: z^s, (B, latent).
    """

    layout: Tensor | None
    style: Tensor

    def of(self, count: int) -> "Latents":
        """Return the codes of one person (1, latent) for so many images."""
        layout = None if self.layout is None else self.layout.expand(count, -1)
        return Latents(layout, self.style.expand(count, -1))


class PredictedLayout(NamedTuple):
    """What G^l gives (Eq. 6.1).

    Attributes:
        logits: (B, C, S, S) float32, of the labels.
        rgb: R_t, (B, 3, S, S) float32 in about [-1, 1], the image as the second signal of the pre-training.
    """

    logits: Tensor
    rgb: Tensor


class RenderedHead(NamedTuple):
    """What is made of landmarks and latent codes.

    Attributes:
        image: (B, 3, S, S) float32 in about [-1, 1].
        predicted: what G^l gave; None where no layout is predicted.
        layout: (B, C, S, S) float32, probabilities of the labels as the image generator saw them; None if it saw none.
    """

    image: Tensor
    predicted: PredictedLayout | None
    layout: Tensor | None


class LayoutNetwork(nn.Module):
    """E^l and G^l: from shots of a person and landmarks to the layout of the person in that pose (Eq. 6.1).

    Args:
        classes: C, labels of the layout.
        image_size: S in pixels.
        options: what it is made of.

    Raises:
        UserError: an ``image_size`` that cannot be halved as often.
    """

    def __init__(self, classes: int, image_size: int, options: HeadNetworkOptions = HeadNetworkOptions()):
        super().__init__()
        options.check(image_size)
        self.classes, self.shot_landmarks = classes, options.shot_landmarks
        self.encoder = options.encoder(image_size)
        self.predictor = options.unet(classes + COLOURS)

    def encode(self, shots: Tensor, drawings: Tensor) -> Tensor:
        """Return z^l (B, latent), the mean over the shots; see `HeadNetwork.encode`."""
        return mean_code(self.encoder, seen_shots(shots, drawings, self.shot_landmarks))

    @override
    def forward(self, drawing: Tensor, code: Tensor) -> PredictedLayout:
        """Return what G^l predicts for landmarks (B, 3, S, S) in [0, 1] and codes (B, latent)."""
        predicted = precise(self.predictor(in_type_of(self.predictor, signed(drawing)), code))
        logits, rgb = predicted.split([self.classes, COLOURS], 1)
        return PredictedLayout(logits, rgb)


class HeadNetwork(nn.Module):
    """The full pipeline {E^l, E^s, G^l, G^s}, Eq. 6.3, and with other spatial inputs the rows of table 6.2.

    Images and drawings come in [0, 1]; the networks see them in [-1, 1].

    Args:
        classes: C, labels of the layout.
        image_size: S in pixels.
        spatial: what SPADE sees: the predicted "layout" (ours), the same kept from the losses of the image
            ("segmentation"), label maps of the target ("oracle"), or the "landmarks"; with "none" there is no SPADE but
            a U-Net with AdaIN.
        options: what it is made of.

    Raises:
        UserError: an ``image_size`` that cannot be halved as often.
    """

    def __init__(
        self,
        classes: int,
        image_size: int,
        *,
        spatial: Spatial = "layout",
        options: HeadNetworkOptions = HeadNetworkOptions(),
    ):
        super().__init__()
        options.check(image_size)
        self.classes, self.spatial, self.options = classes, spatial, options
        predicts = spatial in ("layout", "segmentation")
        self.layout = LayoutNetwork(classes, image_size, options) if predicts else None
        self.style = options.encoder(image_size)
        self.image = (
            options.unet(COLOURS)
            if spatial == "none"
            else options.image_generator(DRAWING if spatial == "landmarks" else classes, image_size)
        )

    def encode(self, shots: Tensor, drawings: Tensor) -> Latents:
        """Return the codes of people, each the mean of those of the single shots.

        Args:
            shots: (B, K, 3, S, S) in [0, 1], of any K.
            drawings: (B, K, 3, S, S) in [0, 1], of their landmarks.
        """
        layout = None if self.layout is None else self.layout.encode(shots, drawings)
        return Latents(layout, mean_code(self.style, seen_shots(shots, drawings, self.options.shot_landmarks)))

    def render(self, drawing: Tensor, latents: Latents, labels: Tensor | None = None) -> RenderedHead:
        """Return people in other poses.

        Args:
            drawing: x_t, (B, 3, S, S) in [0, 1], of the landmarks of the poses.
            latents: of B people.
            labels: (B, S, S) integers, the label maps of the targets; needed with the spatial input "oracle" alone.

        Raises:
            UserError: label maps are needed and missing.
        """
        predicted = self.predict(drawing, latents)
        layout = self.seen_layout(predicted, labels)
        condition = signed(drawing) if layout is None else layout
        image = self.image(in_type_of(self.image, condition), latents.style)  # Eq. 6.3
        return RenderedHead(precise(image), predicted, layout)

    def predict(self, drawing: Tensor, latents: Latents) -> PredictedLayout | None:
        """Return what G^l predicts, None where no layout is predicted; see `render`."""
        return None if self.layout is None else self.layout(drawing, latents.layout)

    def seen_layout(self, predicted: PredictedLayout | None, labels: Tensor | None) -> Tensor | None:
        """Return the layout (B, C, S, S) that the image generator sees, None where it sees the landmarks.

        The softmax is taken in float32 whatever the precision of the networks.

        Raises:
            UserError: label maps are needed and missing.
        """
        if predicted is not None:
            layout = seen_as(predicted.logits, self.options.layout)
            return layout.detach() if self.spatial == "segmentation" else layout
        if self.spatial != "oracle":
            return None
        if labels is None:
            raise UserError(
                "the spatial input is 'oracle', the label maps of the targets, and the data have none: give data with "
                "labels, or another --model.spatial"
            )
        return one_hot(labels, self.classes)

    @override
    def forward(self, shots: Tensor, drawings: Tensor, drawing: Tensor, labels: Tensor | None = None) -> RenderedHead:
        """Return people (B) in the poses of a drawing each; see `encode` and `render`."""
        return self.render(drawing, self.encode(shots, drawings), labels)


def mean_code(encoder: ShotEncoder, shots: Tensor) -> Tensor:
    """Return the mean over K of the codes of shots (B, K, C, S, S): what a single view shows is cancelled (6.1.1.1)."""
    codes = encoder(in_type_of(encoder, shots.flatten(0, 1)))
    return codes.unflatten(0, shots.shape[:2]).mean(1)  # Eq. 6.1 and 6.3


def seen_shots(shots: Tensor, drawings: Tensor, with_landmarks: bool) -> Tensor:
    """Return what encoders see of shots (B, K, 3, S, S) in [0, 1]: (B, K, 3 or 6, S, S) in [-1, 1]."""
    return signed(torch.cat([shots, drawings], 2) if with_landmarks else shots)


def seen_as(logits: Tensor, layout: Layout) -> Tensor:
    """Return the layout of logits (B, C, S, S): their softmax, or one-hot with the softmax' gradient."""
    soft = precise(logits).softmax(1)
    if layout == "softmax":
        return soft
    hard = one_hot(soft.argmax(1), soft.shape[1]).to(soft)
    return hard + (soft - soft.detach())


def in_type_of(network: nn.Module, images: Tensor) -> Tensor:
    """Return images in the type of numbers that a network has, where it is another than float32."""
    return images.to(next(network.parameters()).dtype)


def signed(images: Tensor) -> Tensor:
    """Return images of [0, 1] in [-1, 1]."""
    return 2 * images - 1
