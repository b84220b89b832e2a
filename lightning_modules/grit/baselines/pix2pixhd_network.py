"""The generator of Pix2PixHD with a style encoder per semantic label: a baseline of thesis tables 5.1 to 5.3."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from typing_extensions import override

from networks.gan.conditions import one_hot
from visionscapes.checks import NonNegativeInt, PositiveInt, check_options
from visionscapes.errors import UserError


class ReflectionResidualBlock(nn.Module):
    """Two reflection-padded convolutions 3 x 3 with instance norm, a ReLU between them, added to the input.

    Args:
        channels: in and out.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.layers = nn.Sequential(*_conv_norm(channels, channels, 3), nn.ReLU(), *_conv_norm(channels, channels, 3))

    @override
    def forward(self, maps: Tensor) -> Tensor:
        """Return maps (B, channels, H, W) of the same shape."""
        return maps + self.layers(maps)


class EncoderDecoder(nn.Sequential):
    """The "global generator" of Wang et al. (CVPR 2018, section 3.2), after Johnson et al. (ECCV 2016).

    A convolution 7 x 7, ``downs`` convolutions 3 x 3 of stride 2 that double the channels, ``blocks`` residual blocks,
    as many transposed convolutions that halve them, a convolution 7 x 7 and a tanh. Instance norm without parameters
    and ReLU between; reflection padding where the stride is 1. In the paper's notation c7s1-64, d128, ..., R1024 x 9,
    ..., u64, c7s1-3.

    Args:
        in_channels: of the input.
        out_channels: of the output.
        base: channels at full resolution.
        downs: how many times the resolution is halved.
        blocks: residual blocks at the lowest resolution.
    """

    def __init__(self, in_channels: int, out_channels: int, base: int, downs: int, blocks: int):
        widths = [base * 2**place for place in range(downs + 1)]
        layers: list[nn.Module] = [*_conv_norm(in_channels, base, 7), nn.ReLU()]
        for inner, outer in pairwise(widths):
            conv = nn.Conv2d(inner, outer, 3, stride=2, padding=1, bias=False)
            layers += [conv, nn.InstanceNorm2d(outer), nn.ReLU()]
        layers += [ReflectionResidualBlock(widths[-1]) for _ in range(blocks)]
        for inner, outer in pairwise(reversed(widths)):
            up = nn.ConvTranspose2d(inner, outer, 3, stride=2, padding=1, output_padding=1, bias=False)
            layers += [up, nn.InstanceNorm2d(outer), nn.ReLU()]
        layers += [nn.Conv2d(base, out_channels, 7, padding=3, padding_mode="reflect"), nn.Tanh()]
        super().__init__(*layers)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(module.weight, std=0.02)  # official code


class LabelStyleEncoder(nn.Module):
    """The appearance of every semantic label of an image as a few numbers: "separate style codes per semantic label".

    An encoder-decoder gives features to every pixel; their mean over the pixels of a label is that label's style (Wang
    et al., CVPR 2018, section 3.4, with labels in place of instances: the official code's ``--label_feat``, enabled in
    thesis 5.3.1).

    Args:
        channels: features, in [-1, 1].
        base: channels of the encoder-decoder at full resolution.
        downs: how many times it halves the resolution.
    """

    def __init__(self, channels: int = 3, base: int = 16, downs: int = 4):
        super().__init__()
        self.network = EncoderDecoder(3, channels, base, downs=downs, blocks=0)

    @override
    def forward(self, images: Tensor, condition: Tensor, labels: Tensor | None = None) -> Tensor:
        """Lay the styles of images out over a condition.

        Args:
            images: (B, 3, H, W) in [-1, 1], the images of the style.
            condition: (B, K, H, W) of the images to be made, in [0, 1].
            labels: (B, H, W) integers in 0..K-1, the label map of ``images``. None if they have that of ``condition``,
                as in training; so it is assumed, too, where none is known, which aligned faces permit and the official
                code does (``--use_encoded_image``).

        Returns:
            (B, channels, H, W) float32: at every pixel the style of the label that ``condition`` has there. A label
            that ``images`` lack has the mean over the whole image.
        """
        features = self.network(images).float()
        with torch.autocast(features.device.type, enabled=False):  # sums over H W pixels are beyond bfloat16
            targets = regions(condition.float())
            sources = targets if labels is None else regions(one_hot(labels, condition.shape[1]))
            return torch.einsum("bkc,bkhw->bchw", region_means(features, sources), targets)


@dataclass(frozen=True)
class Pix2PixHDGeneratorOptions:
    """What Pix2PixHD's generator and its style encoder are made of.

    Args:
        style_channels: numbers of the style of a label.
        base: channels of the generator at full resolution.
        downs: how many times the resolution is halved, in the generator and in the encoder.
        blocks: residual blocks.

    Raises:
        UserError: a value that makes no sense.
    """

    style_channels: PositiveInt = 3
    base: PositiveInt = 64
    downs: PositiveInt = 4
    blocks: NonNegativeInt = 9

    def __post_init__(self) -> None:
        check_options(Pix2PixHDGeneratorOptions, vars(self))


class Pix2PixHDGenerator(nn.Module):
    """Pix2PixHD-like: the global generator on the condition and the style laid out over it.

    Like the official code with ``--label_feat --no_instance``: architecture, normalisation, initial weights, encoder
    trained with the generator, its input the true image in training and in evaluation. Unlike it:

    - no local enhancer, which the code has for 1024 x 2048 px and does not enable by default;
    - no instance boundaries in the input: neither data set of the thesis has instances;
    - a style image may have a label map of its own, where the code takes the condition's or draws cluster centres;
    - edges are two regions, drawn or not (`regions`): the code pools by label maps only, the thesis is silent;
    - no bias before a norm, which removes it.

    Args:
        condition_channels: of the one-hot label map, or of the edges.
        options: what it is made of.
        style_base: channels of the encoder at full resolution.
    """

    def __init__(
        self,
        condition_channels: int,
        options: Pix2PixHDGeneratorOptions = Pix2PixHDGeneratorOptions(),
        style_base: int = 16,
    ):
        super().__init__()
        self.downs, styles = options.downs, options.style_channels
        self.encoder = LabelStyleEncoder(styles, style_base, options.downs)
        self.generator = EncoderDecoder(
            condition_channels + styles, 3, options.base, downs=options.downs, blocks=options.blocks
        )

    @override
    def forward(self, condition: Tensor, style_image: Tensor, labels: Tensor | None = None) -> Tensor:
        """Make images.

        Args:
            condition: (B, K, H, W) in [0, 1], a one-hot label map or edges.
            style_image: (B, 3, H, W) in [-1, 1]: the true image in training, any in style transfer.
            labels: (B, H, W), the label map of ``style_image`` if it is not that of ``condition`` and known.

        Returns:
            (B, 3, H, W) in (-1, 1).

        Raises:
            UserError: the size does not halve ``downs`` times.
        """
        height, width = condition.shape[-2:]
        if height % 2**self.downs or width % 2**self.downs or min(height, width) < 2 ** (self.downs + 1):
            raise UserError(
                f"images of {height} x {width} px do not suit {self.downs} halvings of the resolution: use a multiple "
                f"of {2**self.downs} from {2 ** (self.downs + 1)} px on, or fewer downs"
            )
        return self.generator(torch.cat([condition, self.encoder(style_image, condition, labels)], dim=1))


def regions(condition: Tensor) -> Tensor:
    """Split an image into the channels of a condition and what none of them covers.

    A one-hot label map stays as it is, besides an empty last region. Edges become two regions: one style for the whole
    image would be a constant input, of which the instance norm behind the first convolution leaves nothing.

    Args:
        condition: (B, K, H, W) in [0, 1].

    Returns:
        (B, K + 1, H, W), of sum 1 at every pixel.
    """
    parts = torch.cat([condition, 1 - condition.amax(1, keepdim=True)], dim=1)
    return parts / parts.sum(1, keepdim=True)


def region_means(features: Tensor, parts: Tensor) -> Tensor:
    """Return the mean features of every region, that over the whole image for an empty region.

    Args:
        features: (B, C, H, W) floats.
        parts: (B, K, H, W) in [0, 1], how far a pixel belongs to a region.

    Returns:
        (B, K, C).
    """
    area = parts.sum((2, 3))[..., None]
    sums = torch.einsum("bchw,bkhw->bkc", features, parts)
    return torch.where(area > 0, sums / (area + (area == 0)), features.mean((2, 3))[:, None])


def _conv_norm(inner: int, outer: int, size: int) -> tuple[nn.Module, nn.Module]:
    conv = nn.Conv2d(inner, outer, size, padding=size // 2, padding_mode="reflect", bias=False)
    return conv, nn.InstanceNorm2d(outer)
