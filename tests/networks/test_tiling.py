import pytest
import torch
from torch import Tensor

from networks.tiling import tile_starts, tiled, to_patch_multiple
from visionscapes.errors import UserError


@pytest.mark.parametrize(
    ("length", "starts"), [(8, [0]), (16, [0, 8]), (10, [0, 2]), (20, [0, 8, 12]), (23, [0, 8, 15])]
)
def test_windows_follow_each_other_and_the_last_one_is_shifted_back(length: int, starts: list[int]) -> None:
    assert tile_starts(length, 8) == starts


def colours_and_place(images: Tensor) -> dict[str, Tensor]:
    """Mean colours of patches of two pixels, and where a cell lies in its window."""
    cells = torch.nn.functional.avg_pool2d(images, 2)
    place = torch.arange(16.0).view(1, 1, 4, 4).expand(len(images), 1, 4, 4)
    return {"colours": cells, "place": place}


def test_local_features_do_not_notice_the_tiles() -> None:
    images = torch.rand(3, 3, 8, 14, generator=torch.Generator().manual_seed(0))
    maps = tiled(colours_and_place, images, window=8, patch=2, at_once=2)
    assert torch.equal(maps["colours"], colours_and_place(images[..., :14])["colours"])


def test_the_first_window_wins_where_two_overlap() -> None:
    """Ten pixels: windows at 0 and 2. All cells but the last column come from the first (2.7.3)."""
    maps = tiled(colours_and_place, torch.rand(1, 3, 8, 10), window=8, patch=2, at_once=8)
    assert maps["place"][0, 0].tolist() == [[4 * row + column for column in (0, 1, 2, 3, 3)] for row in range(4)]


def test_every_image_of_a_batch_gets_its_own_cells() -> None:
    images = torch.rand(4, 3, 16, 12)
    together = tiled(colours_and_place, images, window=8, patch=2, at_once=3)["colours"]
    for index, image in enumerate(images):
        assert torch.equal(together[index], tiled(colours_and_place, image[None], 8, 2, 16)["colours"][0])


def test_too_small_or_unaligned_images_are_refused() -> None:
    with pytest.raises(UserError, match=r"10x6 pixels is smaller than the tile of 8x8"):
        tiled(colours_and_place, torch.rand(1, 3, 6, 10), window=8, patch=2, at_once=8)
    with pytest.raises(UserError, match="no multiples"):
        tiled(colours_and_place, torch.rand(1, 3, 9, 10), window=8, patch=2, at_once=8)


def test_sides_go_down_to_a_multiple_of_the_patch() -> None:
    assert to_patch_multiple(torch.rand(1, 3, 32, 47), 16).shape == (1, 3, 32, 32)
    assert to_patch_multiple(torch.rand(1, 3, 5, 47), 8).shape == (1, 3, 8, 40)
    images = torch.rand(1, 3, 32, 48)
    assert to_patch_multiple(images, 16) is images


def test_a_picture_that_is_brought_to_a_multiple_shows_the_same_within_its_range() -> None:
    soft = torch.linspace(0.2, 0.7, 47).expand(1, 3, 32, 47)
    found = to_patch_multiple(soft, 16)
    middles = (torch.arange(32) + 0.5) * 47 / 32 - 0.5  # of 32 pixels where 47 were
    wanted = 0.2 + 0.5 * middles / 46
    torch.testing.assert_close(found[0, 0, 5, 2:-2], wanted[2:-2], atol=2e-3, rtol=0)
    hard = (torch.arange(47) > 20).float().expand(1, 3, 32, 47)  # bicubic weights overshoot at an edge
    found = to_patch_multiple(hard, 16)
    assert (float(found.min()), float(found.max())) == (0.0, 1.0)
