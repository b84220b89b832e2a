"""What makes the fingerprint of a source: a small decoder with fixed random weights, or a camera; and what follows.

A generated picture is its content, in part replaced by what an up-sampling decoder makes of its down-sampled version,
plus detail that the decoder's convolutions invent. Only high spatial frequencies change: a decoder has no say over
mean colours and contrast. The decoders are not GANs and are not trained; they leave what GANs are known to leave, the
traces of their up-sampling and of their filters (Zhang et al., 2019; Durall et al., 2020).
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

CHANNELS = 6
STRENGTH = 0.036  # standard deviation of the invented detail, where colours lie in [0, 1]
REPLACED = 0.35  # share of the content that the decoder's up-sampling replaces
NOISE = 0.022  # standard deviation of a camera's
ZOOM = 1.05  # greatest factor between a rendered and a captured pixel
QUALITY = (88, 97)  # of JPEG, for all sources


@dataclass(frozen=True)
class Architecture:
    """How a decoder is built.

    Attributes:
        upsampling: by nearest neighbours, bilinear, by transposed convolution, or by pixel shuffle.
        stride: by which it up-samples in all, 2 or 4.
        kernel: side of its convolutions.
        activation: between them.
    """

    upsampling: Literal["nearest", "bilinear", "transposed", "shuffle"]
    stride: int
    kernel: int
    activation: Literal["relu", "tanh", "leaky", "sine"]


class Decoder:
    """A decoder with fixed random weights: images (B, 3, P, P) float32 to the same.

    Args:
        architecture: how it is built.
        rng: out of which the weights are drawn.
    """

    def __init__(self, architecture: Architecture, rng: np.random.Generator):
        self.architecture = architecture
        self.stages = architecture.stride.bit_length() - 1

        def weights(*shape: int) -> Tensor:
            return torch.from_numpy(rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).float()

        kernel = architecture.kernel
        first = weights(CHANNELS, 3, 3, 3)
        self.first = first - first.mean((1, 2, 3), keepdim=True)  # blind to the mean colour
        shapes = {"transposed": (CHANNELS, CHANNELS, 4, 4), "shuffle": (4 * CHANNELS, CHANNELS, 3, 3)}
        shape = shapes.get(architecture.upsampling, (CHANNELS, CHANNELS, 3, 3))
        self.before = [weights(*shape) for _ in range(self.stages)]
        self.then = [weights(CHANNELS, CHANNELS, kernel, kernel) for _ in range(self.stages)]
        self.last = weights(3, CHANNELS, kernel, kernel)

    def __call__(self, images: Tensor) -> Tensor:
        """Return images (B, 3, P, P) with the traces of this decoder."""
        stride = self.architecture.stride
        small = F.avg_pool2d(images, stride)
        hidden = self._activate(_convolve(small, self.first) * 8)
        for before, then in zip(self.before, self.then, strict=True):
            hidden = self._activate(_convolve(self._up(hidden, before), then) * 2)
        detail = _sharp(_sharp(_convolve(hidden, self.last)))
        detail = detail / (detail.std((1, 2, 3), keepdim=True) + 0.02)
        coarse = F.interpolate(small, scale_factor=stride, mode=self._coarse, align_corners=None)
        return images - REPLACED * _sharp(images - coarse) + STRENGTH * detail

    @property
    def _coarse(self) -> str:
        return "bilinear" if self.architecture.upsampling == "bilinear" else "nearest"

    def _activate(self, hidden: Tensor) -> Tensor:
        match self.architecture.activation:
            case "relu":
                return F.relu(hidden)
            case "leaky":
                return F.leaky_relu(hidden, 0.2)
            case "tanh":
                return torch.tanh(hidden)
            case "sine":
                return torch.sin(hidden)

    def _up(self, hidden: Tensor, weight: Tensor) -> Tensor:
        kind = self.architecture.upsampling
        if kind == "transposed":
            return F.conv_transpose2d(hidden, weight, stride=2, padding=1)
        if kind == "shuffle":
            return F.pixel_shuffle(_convolve(hidden, weight), 2)
        return F.interpolate(_convolve(hidden, weight), scale_factor=2, mode=kind)


def _convolve(images: Tensor, weight: Tensor) -> Tensor:
    margin = weight.shape[-1] // 2
    return F.conv2d(F.pad(images, [margin] * 4, mode="reflect"), weight)


def _sharp(images: Tensor) -> Tensor:
    """Return the high frequencies of images, what a binomial blur of 9 x 9 pixels takes away."""
    taps = torch.tensor([1.0, 8, 28, 56, 70, 56, 28, 8, 1]) / 256
    count = images.shape[1]
    padded = F.pad(images, [4] * 4, mode="reflect")
    across = F.conv2d(padded, taps.expand(count, 1, 1, 9), groups=count)
    return images - F.conv2d(across, taps[:, None].expand(count, 1, 9, 1), groups=count)


def camera(images: Tensor, rngs: Sequence[np.random.Generator]) -> Tensor:
    """Add the noise of a sensor whose colours are interpolated: stronger where it is bright, correlated nearby.

    Args:
        images: (B, 3, P, P) float32 in [0, 1].
        rngs: the random numbers of the B pictures.
    """
    size = images.shape[-1]
    noise = torch.from_numpy(np.stack([rng.standard_normal((3, size, size), np.float32) for rng in rngs]))
    taps = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]) / 6
    smooth = F.conv2d(F.pad(noise, [1] * 4, mode="reflect"), taps.expand(3, 1, 3, 3), groups=3)
    return images + NOISE * torch.sqrt(0.4 + 1.2 * images.clamp(0, 1)) * smooth


def capture(images: Tensor, rngs: Sequence[np.random.Generator], size: int) -> np.ndarray:
    """Photograph the screen, so to speak: cut out and resample, then compress as JPEG; the same for all sources.

    Args:
        images: (B, 3, P, P) float32; P is at least ``ZOOM`` times ``size`` and some pixels of margin.
        rngs: the random numbers of the B pictures.
        size: side S in pixels.

    Returns:
        (B, S, S, 3) uint8.
    """
    side = images.shape[-1]
    drawn = torch.from_numpy(np.stack([rng.random(4, np.float32) for rng in rngs]))
    scale = size * (1 + (ZOOM - 1) * drawn[:, 0]) / side  # of the window, as a share of the picture
    shift = (drawn[:, 1:3] * 2 - 1) * (1 - scale - 4 / side)[:, None]
    theta = torch.zeros(len(images), 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = scale
    theta[:, :, 2] = shift
    grid = F.affine_grid(theta, [len(images), 3, size, size], align_corners=False)
    shown = F.grid_sample(images, grid, mode="bicubic", padding_mode="reflection", align_corners=False)
    pixels = (shown.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    low, high = QUALITY
    qualities = [int(low + (high - low) * float(value)) for value in drawn[:, 3]]
    return np.stack([_jpeg(image, quality) for image, quality in zip(pixels, qualities, strict=True)])


def _jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling=0)
    return np.asarray(Image.open(buffer))
