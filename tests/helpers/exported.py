"""Modules that are exported in a few seconds."""

import torch
from torch import Tensor, nn

from visionscapes.exporting.parts import BATCH, Exportable, Input, Size


class Blurred(nn.Module):
    """A convolution and a threshold: images (B, 3, H, W) and thresholds (B,) to maps (B, 2, H, W) and their means."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 2, 3, padding=1)
        self.norm = nn.BatchNorm2d(2)

    def forward(self, images: Tensor, threshold: Tensor) -> tuple[Tensor, Tensor]:
        maps = (self.norm(self.layer(images)) - threshold[:, None, None, None]).relu()
        return maps, maps.mean((2, 3))


class OneSize(nn.Module):
    """A network that takes the width of its first images for a number."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean(3) * float(images.shape[3])


class Unfollowable(nn.Module):
    """A network whose course depends on values."""

    def forward(self, images: Tensor) -> Tensor:
        return images if float(images.sum()) > 0 else -images


IMAGES = Input(shape=("batch", 3, "height", "width"), meaning="images")
SIZES = {"batch": BATCH, "height": Size(7, (9, 6)), "width": Size(8, (5, 12), fixed=16)}


def part(network: nn.Module, name: str = "blurred", **changes) -> Exportable:
    inputs, outputs = {"images": IMAGES}, {"maps": "blurred images"}
    if isinstance(network, Blurred):
        inputs["threshold"] = Input(shape=("batch",), meaning="thresholds", low=-1.0)
        outputs["means"] = "of the maps"
    return Exportable(
        **({"name": name, "network": network, "inputs": inputs, "outputs": outputs, "sizes": SIZES} | changes)
    )


class Offering(nn.Module):
    """A module that offers networks."""

    def __init__(self, *parts: Exportable) -> None:
        super().__init__()
        self.parts, self.networks = parts, nn.ModuleList(each.network for each in parts)

    def exportable(self) -> list[Exportable]:
        return list(self.parts)


def blurred() -> Offering:
    torch.manual_seed(0)
    network = Blurred()
    network.norm.running_mean.fill_(0.1)
    return Offering(part(network))
