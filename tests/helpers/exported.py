"""Modules that are exported in a few seconds."""

import torch
from torch import Tensor, nn

from visionscapes.exporting.export import TOLERANCE, export_networks
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


def same_as(part: Exportable, reference, tolerance: float = 1e-5) -> None:
    """Assert that a network to export gives what the module itself gives, on inputs of all sizes.

    Args:
        part: to export.
        reference: called with the inputs; gives outputs in order.
        tolerance: largest difference.
    """
    for inputs in part.checks():
        with torch.no_grad():
            found, expected = part.network.eval()(*inputs), reference(*inputs)
        found, expected = ([each] if isinstance(each, Tensor) else list(each) for each in (found, expected))
        assert len(found) == len(expected) == len(part.outputs)
        for ours, theirs in zip(found, expected, strict=True):
            assert theirs.std() > 100 * tolerance, "nothing that could differ"
            torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=0)


def exported(module, folder) -> dict[str, float]:
    """Export a module in both formats, and return the differences by file."""
    told: list[str] = []
    written = export_networks(module, folder, say=told.append)
    assert not [line for line in told if line.startswith(("note", "left out"))], told
    assert all(each.difference < TOLERANCE / 10 for each in written), written
    return {each.path.name: each.difference for each in written}
