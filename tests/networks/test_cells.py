from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from networks.cells import Cells, cells_of, covered_pixels, enlarge, tile_evenly
from networks.correspondence import match_keypoints
from networks.dense import AtLargerImage, Upsampled
from networks.label_propagation import decode_labels, labels_on_grid
from networks.lift_block import LiFTBlock, Lifted
from networks.tokencut import discover_box
from networks.vit_features import ViTFeatures
from tests.helpers.tiny_vit import TINY
from visionscapes.errors import UserError

SIZES = [(8, 8, 28), (8, 8, 29), (8, 8, 32), (8, 4, 32), (8, 3, 61), (14, 14, 30), (14, 7, 111), (16, 16, 56)]


class Window(nn.Module):
    """Dense features that are the mean of every patch: on a ramp, the place that the patch has."""

    def __init__(self, patch: int, stride: int):
        super().__init__()
        self.patch, self.stride = patch, stride

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return F.avg_pool2d(images, self.patch, self.stride)

    def cells(self) -> Cells:
        return Cells((self.patch - self.stride) / 2, self.stride)


def ramp(pixels: int) -> torch.Tensor:
    """An image (1, 1, 3, pixels) whose values are the places of its pixels' centres."""
    return (torch.arange(pixels) + 0.5).expand(1, 1, pixels, pixels)


def vit(patch: int = 8, stride: int | None = None) -> ViTFeatures:
    size = {**TINY, "patch_size": patch, "img_size": 4 * patch}
    return ViTFeatures("vit_tiny_patch16_224", None, stride=stride, model_args=size)


def test_cells_of_a_vit_lie_around_the_centres_of_its_patches() -> None:
    """Worked out by hand, for patches of 16 pixels."""
    whole, half = vit(16).cells(), vit(16, stride=8).cells()
    assert [whole.centre(i) for i in range(3)] == [8, 24, 40]
    assert [whole.edge(i) for i in range(3)] == [0, 16, 32]
    assert [half.centre(i) for i in range(4)] == [8, 16, 24, 32]
    assert [half.edge(i) for i in range(4)] == [4, 12, 20, 28]
    assert vit(8, stride=3).cells() == (2.5, 3)


@pytest.mark.parametrize(("patch", "stride", "pixels"), SIZES)
def test_centres_are_where_patches_are(patch: int, stride: int, pixels: int) -> None:
    """The mean of a patch over the ramp is the place of its centre."""
    features = Window(patch, stride)
    means = features(ramp(pixels))[0, 0, 0]
    assert vit(patch, stride).cells() == features.cells()
    assert len(means) == vit(patch, stride).grid(pixels, pixels)[1]
    places = torch.tensor([features.cells().centre(i) for i in range(len(means))])
    torch.testing.assert_close(means, places, atol=1e-3, rtol=0)


@pytest.mark.parametrize(("patch", "stride", "pixels"), SIZES)
def test_other_features_keep_the_centres(patch: int, stride: int, pixels: int) -> None:
    """Enlarged bilinearly, or of an enlarged image, cells hold the ramp where they lie, but for the border."""
    for features in (Upsampled(Window(patch, stride), 2), AtLargerImage(Window(patch, stride), 2)):
        means, cells = features(ramp(pixels))[0, 0, 0], cells_of(features)
        assert cells is not None
        places = torch.tensor([cells.centre(i) for i in range(len(means))])
        torch.testing.assert_close(means[1:-1], places[1:-1], atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("patch", "stride", "pixels"), [(8, 8, 28), (8, 4, 32), (16, 8, 61), (16, 16, 56), (14, 14, 33)]
)
def test_lift_sees_what_its_cells_cover(patch: int, stride: int, pixels: int) -> None:
    """Each cell of the ViT is split in two; LiFT's stems get that part of the image."""
    backbone = vit(patch, stride)
    lifted = Lifted(backbone, LiFTBlock(backbone.dim, patch, stride), times=2)
    assert lifted.cells() == Cells((patch - stride) / 2, stride / 4)
    h, w = backbone.grid(pixels, pixels)
    seen = lifted.block._covered(ramp(pixels), torch.Size((h, w)))
    means = F.adaptive_avg_pool2d(seen, (4 * h, 4 * w))[0, 0, 0]
    places = torch.tensor([lifted.cells().centre(i) for i in range(4 * w)])
    torch.testing.assert_close(means[1:-1], places[1:-1], atol=1e-3, rtol=0)


@pytest.mark.parametrize(("patch", "pixels"), [(8, 32), (8, 56), (14, 98), (16, 112), (7, 49)])
@pytest.mark.parametrize("factor", [1, 2, 3, 4])
def test_both_grids_are_one_where_patches_tile_the_image(patch: int, pixels: int, factor: int) -> None:
    """To the last bit, in every protocol."""
    generator = torch.Generator().manual_seed(patch * pixels + factor)
    cells = cells_of(Upsampled(vit(patch), factor))
    count, size = pixels // patch * factor, (pixels, pixels)
    source, target = torch.randn(2, 6, count, count, generator=generator)
    assert tile_evenly(cells, (count, count), size)
    assert covered_pixels(cells, count, pixels) == slice(0, pixels)
    points = torch.rand(9, 2, generator=generator) * pixels
    rules: Any = ["official", "normalised"]
    assert torch.equal(
        match_keypoints(source, target, points, size, rules, cells=cells),
        match_keypoints(source, target, points, size, rules),
    )
    assert torch.equal(discover_box(source, size, cells=cells), discover_box(source, size))
    mask = torch.randint(0, 3, (2 * pixels + 1, 3 * pixels), generator=generator)
    labels = labels_on_grid(mask, (count, count), 3, size=size, cells=cells)
    assert torch.equal(labels, labels_on_grid(mask, (count, count), 3))
    soft = torch.rand(3, count, count, generator=generator)
    assert torch.equal(decode_labels(soft, size, (70, 50), cells), decode_labels(soft, size, (70, 50)))


@pytest.mark.parametrize(("patch", "stride", "pixels"), SIZES)
def test_what_is_linear_stays_linear_between_the_outermost_centres(patch: int, stride: int, pixels: int) -> None:
    places, cells = Window(patch, stride)(ramp(pixels))[0], Window(patch, stride).cells()
    outermost = places[0, 0, 0], places[0, 0, -1]
    expected = ramp(pixels)[0].clamp(*outermost)
    torch.testing.assert_close(enlarge(places, (pixels, pixels), cells), expected, atol=1e-4, rtol=0)
    across = places.transpose(1, 2)
    torch.testing.assert_close(enlarge(across, (pixels, pixels), cells), expected.transpose(1, 2), atol=1e-4, rtol=0)


@pytest.mark.parametrize("pixels", [3, 32, 49])
def test_the_two_ways_of_enlarging_agree(pixels: int) -> None:
    """Cells that miss an even tiling by next to nothing take the other way."""
    maps = torch.randn(2, 5, 5, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(maps[None], (pixels, pixels), mode="bilinear")[0]
    found = enlarge(maps, (pixels, pixels), Cells(1e-6, pixels / 5))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_covered_pixels_by_hand() -> None:
    assert covered_pixels(Cells(0, 16), 6, 111) == slice(0, 96)
    assert covered_pixels(Cells(4, 8), 13, 112) == slice(4, 108)
    assert covered_pixels(Cells(2.5, 3), 3, 16) == slice(2, 11)  # 2.5 to 11.5
    assert covered_pixels(None, 6, 111) == slice(0, 111)


def test_features_that_do_not_say_where_their_cells_lie() -> None:
    with pytest.raises(UserError, match=r"'mine', Sequential, does not say .* grid: official"):
        cells_of(nn.Sequential(vit()), "mine")
    with pytest.raises(UserError, match="Identity, does not say"):
        cells_of(Upsampled(nn.Identity()))
