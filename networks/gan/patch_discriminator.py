"""Discriminators that judge patches of an image at several scales, and the distance between their features."""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm
from typing_extensions import override

from visionscapes.errors import UserError

Norm = Literal["instance", "spectral"]
MOST_CHANNELS = 512


class PatchDiscriminator(nn.Module):
    """A PatchGAN (Isola et al., CVPR 2017): one logit for every overlapping patch, of 70 px with three ``layers``.

    Convolutions 4 x 4, padded by 2: ``layers`` of stride 2 from ``base`` channels on, doubling up to 512, one of
    stride 1, and one of stride 1 that gives the logits. Instance norm without parameters and LeakyReLU(0.2) follow, but
    no norm after the first and neither after the last. As in pix2pixHD's official code; the paper (Wang et al., CVPR
    2018, appendix) lists C64-C128-C256-C512 without their strides.

    Args: see ``MultiScaleDiscriminator``.
    """

    def __init__(self, in_channels: int, base: int = 64, layers: int = 3, norm: Norm = "instance"):
        super().__init__()
        widths = [min(base * 2**place, MOST_CHANNELS) for place in range(layers + 1)]
        blocks: list[nn.Module] = [nn.Sequential(_conv(in_channels, base, 2), nn.LeakyReLU(0.2))]
        for place in range(1, layers + 1):
            conv = _conv(widths[place - 1], widths[place], 2 if place < layers else 1, bias=False)
            if norm == "spectral":
                spectral_norm(conv)
            blocks.append(nn.Sequential(conv, nn.InstanceNorm2d(widths[place]), nn.LeakyReLU(0.2)))
        self.blocks = nn.ModuleList([*blocks, _conv(widths[-1], 1, 1)])

    @override
    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the ``layers`` + 1 feature maps of images (B, C, H, W), then the logits (B, 1, h, w)."""
        maps = []
        for block in self.blocks:
            images = block(images)
            maps.append(images)
        return maps


class MultiScaleDiscriminator(nn.Module):
    """Patch discriminators of one architecture and separate weights on an image, its half, its quarter and so on.

    Of pix2pixHD (Wang et al., CVPR 2018, section 3.2) with ``norm="instance"``, of SPADE (Park et al., CVPR 2019,
    appendix A) with ``norm="spectral"``. The paper of pix2pixHD has three scales for 2048 x 1024 px; two are the
    default of both official codes. SPADE's code counts the layer of stride 1: four layers for the same architecture.

    Args:
        in_channels: of the condition and the image together, which the caller concatenates.
        base: channels of the first layer.
        layers: convolutions of stride 2.
        scales: number of discriminators; each but the first sees the last's input after a 3 x 3 mean of stride 2.
        norm: "instance", or "spectral": instance norm and spectral norm of the convolution before it. As in SPADE's
            official code the first and last convolution have no spectral norm; the paper writes "all".

    Raises:
        UserError: ``norm`` is another, or ``layers`` or ``scales`` is below 1.
    """

    def __init__(
        self, in_channels: int, base: int = 64, layers: int = 3, scales: int = 2, norm: Norm = "instance"
    ) -> None:
        super().__init__()
        if norm not in get_args(Norm):
            raise UserError(f"norm '{norm}' of the patch discriminator: choose one of {', '.join(get_args(Norm))}")
        if layers < 1 or scales < 1:
            raise UserError(
                f"{layers} layers and {scales} scales of the patch discriminator: give at least one of each"
            )
        self.scales = nn.ModuleList(PatchDiscriminator(in_channels, base, layers, norm=norm) for _ in range(scales))

    @override
    def forward(self, images: Tensor) -> list[list[Tensor]]:
        """Judge images.

        Args:
            images: (B, in_channels, H, W), the pictures in [-1, 1] and their condition.

        Returns:
            For every scale, full resolution first, the maps of `PatchDiscriminator`: features, then logits.
        """
        maps = []
        for place, discriminator in enumerate(self.scales):
            if place:
                images = F.avg_pool2d(images, 3, stride=2, padding=1, count_include_pad=False)
            maps.append(discriminator(images))
        return maps


def feature_matching(real: Sequence[Sequence[Tensor]], fake: Sequence[Sequence[Tensor]]) -> Tensor:
    """Return the feature matching loss: how far generated images are from real ones in a discriminator's layers.

    The sum over layers of the mean absolute difference (Wang et al., CVPR 2018, Eq. 4), then the mean over scales. The
    paper sums over scales too (Eq. 5); both official codes divide by their number and weigh the loss by 10. With other
    than three layers, pix2pixHD's code also weighs by 4 / (layers + 1), SPADE's and this do not.

    Args:
        real: feature maps of real images by scale and layer, the logits last; no gradient goes into them.
        fake: those of generated images.

    Returns:
        A float32 scalar.
    """
    distances = [
        F.l1_loss(fake_map.float(), real_map.detach().float())
        for real_maps, fake_maps in zip(real, fake, strict=True)
        for real_map, fake_map in zip(real_maps[:-1], fake_maps[:-1], strict=True)
    ]
    return torch.stack(distances).sum() / len(real)


def _conv(inner: int, outer: int, stride: int, bias: bool = True) -> nn.Conv2d:
    conv = nn.Conv2d(inner, outer, 4, stride=stride, padding=2, bias=bias)
    nn.init.normal_(conv.weight, std=0.02)  # both official codes; SPADE's Glorot scale is lost in the norms
    return conv
