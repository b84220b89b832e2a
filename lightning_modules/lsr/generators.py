"""What LSR is put together from: an encoder of shots, a U-Net from landmarks, and a SPADE generator."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from networks.gan.equalized import EqualizedConv2d, EqualizedLinear
from networks.gan.residual_blocks import ResidualBlock, ResidualDown, ResidualUp, leaky_relu, upsample, widths
from networks.gan.spade import SPADEResidualBlock

EPS = 1e-3  # of all instance norms, as in the official code
DRAWING = 3  # channels of a drawing of landmarks
COLOURS = 3


class ShotEncoder(nn.Module):
    """E^l or E^s: from a shot to its latent code (6.1.1.1).

    A 7x7 convolution, and blocks of a 2x2 average and a residual block without norm; the features of what is left, 3x3
    pixels at 224, go through one linear layer. An odd side loses its last row and column when halved.

    Args:
        in_channels: 3 of the shot, and 3 of the drawing of its landmarks where it is shown too.
        image_size: S in pixels.
        base: feature maps of the first layer; doubled by every block, up to ``most``.
        most: feature maps at most.
        downs: blocks.
        latent: length of the code.
    """

    def __init__(self, in_channels: int, image_size: int, *, base: int, most: int, downs: int, latent: int):
        super().__init__()
        sizes = widths(base, most, downs)
        self.first = EqualizedConv2d(in_channels, sizes[0], 7)
        self.blocks = nn.ModuleList(ResidualBlock(*pair, activation=F.relu) for pair in pairwise(sizes))
        self.code = EqualizedLinear(sizes[-1] * (image_size // 2**downs) ** 2, latent)

    @override
    def forward(self, shots: Tensor) -> Tensor:
        """Return codes (N, latent) of shots (N, in_channels, S, S) in [-1, 1]."""
        x = F.relu(self.first(shots))
        for block in self.blocks:
            x = block(F.avg_pool2d(x, 2))
        return self.code(F.relu(x).flatten(1))


class LandmarkUNet(nn.Module):
    """A residual U-Net from a drawing of landmarks, styled by a latent code through AdaIN (6.1.1.1).

    G^l, whose outputs are the logits of a layout and an image; with an image alone it is the generator of FSTH's set-up
    (6.1.2.4). The first block works on the drawing itself, and the last one is joined by no features of the encoder.

    Args:
        out_channels: of the output.
        latent: length of the code.
        base: feature maps of the last block; doubled by every level, up to ``most``.
        most: feature maps at most.
        levels: down blocks, and as many up blocks.
    """

    def __init__(self, out_channels: int, latent: int, *, base: int, most: int, levels: int):
        super().__init__()
        sizes = widths(base, most, levels)
        self.down = nn.ModuleList(
            ResidualDown(*pair, norm="instance", eps=EPS) for pair in pairwise([DRAWING, *sizes[1:]])
        )
        self.up = nn.ModuleList()
        inner = sizes[-1]
        for place in reversed(range(levels)):
            self.up.append(ResidualUp(inner, sizes[place], latent, eps=EPS))
            inner = 2 * sizes[place] if place else sizes[place]
        self.head = EqualizedConv2d(sizes[0], out_channels, 3, gain=1.0)

    @override
    def forward(self, drawing: Tensor, code: Tensor) -> Tensor:
        """Return (B, out_channels, S, S) of drawings (B, 3, S, S) in [-1, 1] and codes (B, latent)."""
        features, x = [], drawing
        for down in self.down:
            x = down(x)
            features.append(x)
        *finer, x = features
        for up, skip in zip(self.up, [*reversed(finer), None], strict=True):
            x = up(x, code)
            if skip is not None:
                x = torch.cat([x, skip], 1)
        return self.head(x)


class ImageGenerator(nn.Module):
    """G^s: from a style code to an image whose every pixel is modulated by a spatial input (6.1.1.3).

    A linear layer of the code gives the smallest feature maps, and SPADE residual blocks with instance norm double them
    up to the image. The spatial input is averaged to the size of each block, which keeps a soft layout soft. The output
    is linear, as in the official code.

    Args:
        condition_channels: of the spatial input.
        image_size: S in pixels, a multiple of 2^levels.
        latent: length of the code.
        base: feature maps of the last block; doubled by every level, up to ``most``.
        most: feature maps at most.
        levels: how often maps are doubled in size.
        hidden: channels inside of SPADE.
    """

    def __init__(
        self,
        condition_channels: int,
        image_size: int,
        *,
        latent: int,
        base: int,
        most: int,
        levels: int,
        hidden: int,
    ):
        super().__init__()
        sizes = widths(base, most, levels)[::-1]
        self.start = (sizes[0], image_size // 2**levels)
        self.first = EqualizedLinear(latent, self.start[0] * self.start[1] ** 2)
        self.blocks = nn.ModuleList(
            SPADEResidualBlock(*pair, condition_channels, hidden, equalized=True, resize="area", eps=EPS)
            for pair in pairwise([sizes[0], *sizes])
        )
        self.head = EqualizedConv2d(sizes[-1], COLOURS, 3, gain=1.0)

    @override
    def forward(self, condition: Tensor, code: Tensor) -> Tensor:
        """Return images (B, 3, S, S) of spatial inputs (B, condition_channels, S, S) and codes (B, latent)."""
        channels, side = self.start
        x = self.first(code).view(-1, channels, side, side)
        for place, block in enumerate(self.blocks):
            x = block(upsample(x) if place else x, condition)
        return self.head(leaky_relu(x))
