"""GRIT's networks: a style encoder and a U-Net whose decoder gives a reconstruction and a GAN residual."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from networks.gan.adain import AdaIN
from networks.gan.equalized import EqualizedConv2d, EqualizedLinear
from networks.gan.noise import NoiseInjection
from networks.gan.residual_blocks import ResidualDown, widths
from networks.generated import Generated
from visionscapes.checks import PositiveInt, check_options
from visionscapes.errors import UserError

SLOPE = 0.2


class Encoder(nn.Module):
    """A convolution and ``downs`` residual blocks with blur pooling (5.5.1.1): the trunk of E^C and of E^S.

    Args:
        in_channels: of the input.
        base: feature maps of the first layer; doubled by every block, up to ``most``.
        most: feature maps at most.
        downs: blocks.
        norm: before every activation of the blocks, "instance" or "none".
    """

    def __init__(self, in_channels: int, base: int, most: int, downs: int, norm: Literal["none", "instance"]):
        super().__init__()
        self.widths = widths(base, most, downs)
        self.first = EqualizedConv2d(in_channels, self.widths[0], 3)
        pairs = zip(self.widths[:-1], self.widths[1:], strict=True)
        self.blocks = nn.ModuleList(ResidualDown(inner, outer, norm=norm) for inner, outer in pairs)

    @override
    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the features at S, S/2, ..., S/2^downs of x (B, C, S, S)."""
        features = [self.first(x)]
        for block in self.blocks:
            features.append(block(features[-1]))
        return features


class StyleEncoder(nn.Module):
    """E^S: from an image to its flattened style code z^s (5.2.1).

    Args:
        in_channels: 3, and those of the condition where it is shown too.
        image_size: S in pixels.
        style_dim: of the code.
        base: see `Encoder`.
        most: see `Encoder`.
        downs: see `Encoder`.
    """

    def __init__(self, in_channels: int, image_size: int, style_dim: int, base: int, most: int, downs: int):
        super().__init__()
        self.trunk = Encoder(in_channels, base, most, downs=downs, norm="none")
        self.code = EqualizedLinear(self.trunk.widths[-1] * (image_size // 2**downs) ** 2, style_dim, gain=1.0)

    @override
    def forward(self, image: Tensor) -> Tensor:
        """Return z^s (B, style_dim) of images (B, in_channels, S, S) in [-1, 1]."""
        last = F.leaky_relu(self.trunk(image)[-1], SLOPE)
        return self.code(last.flatten(1))


class StyledConvolution(nn.Module):
    """Convolution, spatial noise, bias, activation and AdaIN: a layer of StyleGAN's synthesis (Figure 5.5, right).

    Args:
        in_channels: of the input.
        out_channels: of the output.
        style_dim: of z^s.
        noise: whether spatial noise is added.
    """

    def __init__(self, in_channels: int, out_channels: int, style_dim: int, noise: bool):
        super().__init__()
        self.convolution = EqualizedConv2d(in_channels, out_channels, 3, bias=False)
        self.noise = NoiseInjection(out_channels) if noise else None
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.adain = AdaIN(out_channels, style_dim)

    @override
    def forward(self, x: Tensor, style: Tensor, noise: Tensor | None) -> Tensor:
        """Return (B, out_channels, H, W) of x (B, in_channels, H, W); fresh noise where ``noise`` is None."""
        x = self.convolution(x)
        if self.noise is not None:
            x = self.noise(x, noise)
        x = F.leaky_relu(x + self.bias.to(x.dtype).view(1, -1, 1, 1), SLOPE)
        return self.adain(x, style)


class UpBlock(nn.Module):
    """A block of the decoder: doubled in size, joined by the encoder's features of that size, two styled convolutions.

    Args:
        in_channels: from the block below.
        skip_channels: from the encoder; 0 for none.
        out_channels: of the output.
        style_dim: of z^s.
        noise: whether spatial noise is added.
    """

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int, style_dim: int, noise: bool):
        super().__init__()
        self.first = StyledConvolution(in_channels + skip_channels, out_channels, style_dim, noise=noise)
        self.second = StyledConvolution(out_channels, out_channels, style_dim, noise=noise)

    @override
    def forward(self, x: Tensor, skip: Tensor | None, style: Tensor, noise: Sequence[Tensor | None]) -> Tensor:
        """Return (B, out_channels, 2H, 2W) of x (B, in_channels, H, W) and skip (B, skip_channels, 2H, 2W)."""
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        if skip is not None:
            x = torch.cat([x, skip], 1)
        return self.second(self.first(x, style, noise[0]), style, noise[1])


@dataclass(frozen=True)
class GRITGeneratorOptions:
    """What GRIT's generator is made of; the rows of table 5.4 are ``noise`` and ``residual``.

    Args:
        style_dim: of the style code z^s (5.5.1.1).
        base: feature maps of the first layers of the encoders (5.5.1.1).
        most: feature maps at most, of the discriminator too (5.5.1.1).
        downs: down blocks of the encoders and up blocks of the decoder (5.5.1.1).
        noise: add spatial noise in every up block (5.2.3; table 5.4).
        residual: give a reconstruction and a residual (5.2.1); otherwise a single image, as the ablation of table 5.4.
        composition: C of Eq. 5.1: "sum", or "cnn", a small network that the thesis found worse and less stable.
        content_fc: end E^C in a fully connected layer to ``style_dim``, and begin the decoder with another.
        style_condition: show E^S the condition too, as LSR's encoders are.
        full_resolution_skip: whether the last up block gets features of E^C; in LSR's U-Net it does not.

    Raises:
        UserError: a value that makes no sense.
    """

    style_dim: PositiveInt = 512
    base: PositiveInt = 64
    most: PositiveInt = 512
    downs: PositiveInt = 6
    noise: bool = True
    residual: bool = True
    composition: Literal["sum", "cnn"] = "sum"
    content_fc: bool = False
    style_condition: bool = False
    full_resolution_skip: bool = True

    def __post_init__(self) -> None:
        check_options(GRITGeneratorOptions, vars(self))


class GRITGenerator(nn.Module):
    """G with E^S: an image as the composition of a reconstruction and a GAN residual (Eq. 5.1).

    What the thesis leaves open is ours: E^C stays spatial at its end, as a U-Net does, although the appendix ends both
    encoders in a fully connected layer (``content_fc`` has it so); E^S sees the image alone; the last up block gets the
    features of E^C's first layer, at the image's own size; the output is linear, and ``Generated`` is not clamped.

    Args:
        condition_channels: of I^A.
        image_size: S in pixels, a multiple of 2^downs from 2^(downs + 1) on.
        options: what it is made of.

    Raises:
        UserError: an ``image_size`` that the blocks cannot halve to at least 2 pixels.
    """

    def __init__(
        self,
        condition_channels: int,
        image_size: int = 256,
        options: GRITGeneratorOptions = GRITGeneratorOptions(),
    ):
        super().__init__()
        base, most, downs, style_dim = options.base, options.most, options.downs, options.style_dim
        if image_size < 2 ** (downs + 1) or image_size % 2**downs:
            raise UserError(
                f"image_size {image_size} cannot be halved {downs} times to at least 2 whole pixels, which instance "
                f"norm needs: give a multiple of {2**downs} from {2 ** (downs + 1)} on, or fewer down blocks "
                "(--model.init_args.generator.downs)"
            )
        self.image_size, self.residual = image_size, options.residual
        self.style_condition = options.style_condition
        style_channels = 3 + condition_channels * options.style_condition
        self.style_encoder = StyleEncoder(style_channels, image_size, style_dim, base=base, most=most, downs=downs)
        self.content_encoder = Encoder(condition_channels, base, most, downs=downs, norm="instance")
        sizes = widths(base, most, downs)
        self.bottleneck = (sizes[-1], image_size // 2**downs)
        self.content_fc = _through_a_code(*self.bottleneck, style_dim) if options.content_fc else None
        self.up_blocks = nn.ModuleList()
        for place in reversed(range(downs)):
            skip = sizes[place] if place or options.full_resolution_skip else 0
            self.up_blocks.append(
                UpBlock(sizes[place + 1], skip, sizes[place], style_dim=style_dim, noise=options.noise)
            )
        self.full_resolution_skip = options.full_resolution_skip
        self.head = EqualizedConv2d(sizes[0], 6 if options.residual else 3, 3, gain=1.0)
        self.composition = _fusing_network() if options.residual and options.composition == "cnn" else None

    def noise_shapes(self) -> list[tuple[int, int]]:
        """Return height and width of every noise map that `forward` takes, in order."""
        sides = [self.image_size // 2**place for place in reversed(range(len(self.up_blocks)))]
        return [(side, side) for side in sides for _ in range(2)]

    def style(self, image: Tensor, condition: Tensor) -> Tensor:
        """Return z^s (B, style_dim) of images (B, 3, S, S) in [-1, 1] with conditions (B, C, S, S)."""
        return self.style_encoder(torch.cat([image, condition], 1) if self.style_condition else image)

    @override
    def forward(self, condition: Tensor, style: Tensor, noise: Sequence[Tensor] | None = None) -> Generated:
        """Return the image of Eq. 5.1 and its two components.

        Args:
            condition: I^A, (B, C, S, S).
            style: z^s, (B, style_dim).
            noise: a map (B, 1, h, w) for each of ``noise_shapes``; fresh ones if None.
        """
        x, skips = self._encode(condition)
        maps = [None] * (2 * len(self.up_blocks)) if noise is None else list(noise)
        for place, (block, skip) in enumerate(zip(self.up_blocks, skips, strict=True)):
            x = block(x, skip, style, maps[2 * place : 2 * place + 2])
        output = self.head(x).float()
        if not self.residual:
            return Generated(output, {})
        reconstruction, residual = output.chunk(2, 1)
        return Generated(
            self.compose(reconstruction, residual), {"reconstruction": reconstruction, "residual": residual}
        )

    def compose(self, reconstruction: Tensor, residual: Tensor) -> Tensor:
        """Return C(I_rec, I_res) of Eq. 5.1."""
        if self.composition is None:
            return reconstruction + residual  # Eq. 5.1
        return self.composition(torch.cat([reconstruction, residual], 1)).float()

    def _encode(self, condition: Tensor) -> tuple[Tensor, list[Tensor | None]]:
        """Return the features at the bottleneck and those that join the up blocks, the coarsest first."""
        *finer, x = self.content_encoder(condition)
        skips: list[Tensor | None] = list(reversed(finer))
        if not self.full_resolution_skip:
            skips[-1] = None
        if self.content_fc is not None:
            channels, side = self.bottleneck
            x = self.content_fc(x).view(-1, channels, side, side)
        return x, skips


def _through_a_code(channels: int, side: int, dim: int) -> nn.Module:
    return nn.Sequential(
        nn.LeakyReLU(SLOPE),
        nn.Flatten(),
        EqualizedLinear(channels * side**2, dim, gain=1.0),
        EqualizedLinear(dim, channels * side**2),
    )


def _fusing_network(hidden: int = 32) -> nn.Module:
    """Return a small CNN that fuses the two components (5.2.1); its size is ours."""
    return nn.Sequential(EqualizedConv2d(6, hidden, 3), nn.LeakyReLU(SLOPE), EqualizedConv2d(hidden, 3, 3, gain=1.0))
