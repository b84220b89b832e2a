"""The generator of SPADE with a variational image encoder: a baseline of thesis tables 5.1 to 5.3."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm
from typing_extensions import override

from networks.gan.spade import SPADEResidualBlock
from visionscapes.checks import PositiveInt, check_options
from visionscapes.errors import UserError

SMALLEST = 4  # px a side of the encoder's last maps
LARGEST = 256  # px a side of what the encoder sees, as in the official code


class ImageEncoder(nn.Module):
    """Mean and log variance of an image's style (Park et al., CVPR 2019, appendix A).

    Convolutions 3 x 3 of stride 2 down to 4 x 4, each with spectral norm, instance norm and LeakyReLU(0.2), of ``base``
    channels doubling up to 8 ``base``; then one linear layer for each of the two. Six convolutions at 256 px are the
    paper's; a smaller image has fewer, where the official code enlarges it to 256 px.

    Args:
        image_size: H = W of the images, px; above 256 they are shrunk to that, as in the official code.
        style_dim: numbers of a style.
        base: channels of the first convolution.
    """

    def __init__(self, image_size: int, style_dim: int, base: int):
        super().__init__()
        self.size = min(image_size, LARGEST)
        widths = [min(base * 2**place, 8 * base) for place in range((self.size // SMALLEST).bit_length() - 1)]
        layers: list[nn.Module] = []
        for inner, outer in pairwise([3, *widths]):
            conv = spectral_norm(nn.Conv2d(inner, outer, 3, stride=2, padding=1, bias=False))
            layers += [conv, nn.InstanceNorm2d(outer), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Flatten())
        self.mean = nn.Linear(widths[-1] * SMALLEST**2, style_dim)
        self.log_variance = nn.Linear(widths[-1] * SMALLEST**2, style_dim)

    @override
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log variance, (B, style_dim) float32 each, of images (B, 3, H, W) in [-1, 1]."""
        if images.shape[-2:] != (self.size, self.size):
            images = F.interpolate(images, (self.size, self.size), mode="bilinear", align_corners=False)
        features = self.layers(images)
        return self.mean(features).float(), self.log_variance(features).float()


@dataclass(frozen=True)
class SPADEGeneratorOptions:
    """What SPADE's generator and its encoder are made of.

    Args:
        style_dim: numbers of a style.
        base: channels at full resolution, and of the encoder's first convolution.
        hidden: channels of the layer between the condition and its scales and shifts.

    Raises:
        UserError: a value that makes no sense.
    """

    style_dim: PositiveInt = 256
    base: PositiveInt = 64
    hidden: PositiveInt = 128

    def __post_init__(self) -> None:
        check_options(SPADEGeneratorOptions, vars(self))


class SPADEGenerator(nn.Module):
    """SPADE-like, also called GauGAN: a style becomes a small map that grows under a condition.

    A linear layer, then one SPADE residual block at every resolution with nearest-neighbour doubling between, then
    LeakyReLU(0.2), a convolution 3 x 3 and a tanh. Blocks have ``base`` channels at full resolution, twice as many at
    half, up to 16 ``base``. At 256 px this is the paper's network (Park et al., CVPR 2019, appendix A), which the
    official code builds with ``--num_upsampling_layers more``; by default that begins at 8 x 8 and has a second block
    at 16 x 16. At 512 px ``start=8`` is its "more". Glorot's initial weights of gain 0.02, biases of zero and spectral
    norm in the blocks alone are the official code's; the paper has spectral norm in all layers. The code's condition
    also has the boundaries of instances, of which neither data set of the thesis has any.

    Args:
        condition_channels: of the one-hot label map, or of the edges.
        image_size: H = W, px.
        options: what it is made of.
        start: H = W of the first map, px.
        norm: the normalisation that the condition modulates; "batch" in the paper.

    Raises:
        UserError: ``image_size`` is not a power of two from 8 on, or not ``start`` times a power of two.
    """

    def __init__(
        self,
        condition_channels: int,
        image_size: int,
        options: SPADEGeneratorOptions = SPADEGeneratorOptions(),
        *,
        start: int = 4,
        norm: Literal["instance", "batch"] = "batch",
    ):
        super().__init__()
        if image_size < 2 * SMALLEST or image_size & (image_size - 1):
            raise UserError(f"SPADE at {image_size} px: use a power of two from {2 * SMALLEST} on")
        if start < 1 or start & (start - 1) or start > image_size:
            raise UserError(f"SPADE starting at {start} px: use a power of two of at most {image_size}, as 4 or 8")
        self.start, base, style_dim = start, options.base, options.style_dim
        doublings = (image_size // start).bit_length() - 1
        widths = [min(base * 2**place, 16 * base) for place in reversed(range(doublings + 1))]
        self.encoder = ImageEncoder(image_size, style_dim, base)
        self.first = nn.Linear(style_dim, widths[0] * start**2)
        self.blocks = nn.ModuleList(
            SPADEResidualBlock(inner, outer, condition_channels, hidden=options.hidden, norm=norm, spectral=True)
            for inner, outer in pairwise([widths[0], *widths])
        )
        self.last = nn.Conv2d(base, 3, 3, padding=1)
        _initialise(self)

    def encode(self, style_image: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log variance (B, style_dim) of the style of images (B, 3, H, W) in [-1, 1]."""
        return self.encoder(style_image)

    @override
    def forward(self, condition: Tensor, z: Tensor) -> Tensor:
        """Make images.

        Args:
            condition: (B, K, H, W) in [0, 1], a one-hot label map or edges.
            z: (B, style_dim), drawn by `sample_style`, or from N(0, 1) without a style image.

        Returns:
            (B, 3, image_size, image_size) in (-1, 1).
        """
        maps = self.first(z).unflatten(1, (-1, self.start, self.start))
        for place, block in enumerate(self.blocks):
            if place:
                maps = F.interpolate(maps, scale_factor=2, mode="nearest")
            maps = block(maps, condition)
        return torch.tanh(self.last(F.leaky_relu(maps, 0.2)))


def sample_style(mean: Tensor, log_variance: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Draw styles with a gradient to their distribution: mean + standard deviation x N(0, 1).

    The official code draws in evaluation too.

    Args:
        mean: (B, style_dim).
        log_variance: the same.
        generator: of the normal numbers, on any device; torch's own if None.

    Returns:
        (B, style_dim).
    """
    device = mean.device if generator is None else generator.device
    normal = torch.randn(mean.shape, generator=generator, device=device, dtype=mean.dtype).to(mean.device)
    return mean + (log_variance / 2).exp() * normal


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return the Kullback-Leibler divergence of styles from N(0, 1): the sum over numbers, the mean over the batch.

    The official code sums over the images of one GPU as well, so its weight of 0.05 grows with their number; here it
    means the same for every batch size.

    Args:
        mean: (B, style_dim).
        log_variance: the same.

    Returns:
        A float32 scalar.
    """
    mean, log_variance = mean.float(), log_variance.float()
    return (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean() / 2


def _initialise(network: nn.Module) -> None:
    # Under spectral norm the scale of a weight means nothing, and a new weight would not fit its singular vectors.
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif parameter.ndim > 1 and "parametrizations" not in name:
            nn.init.xavier_normal_(parameter, gain=0.02)
