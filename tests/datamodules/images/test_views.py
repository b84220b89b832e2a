import math

import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import resized_crop

from datamodules.images.views import RandomViews, crop_and_resize, hue_rotation, random_boxes, recolour


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def images(count=3, height=24, width=32):
    return torch.rand(count, 3, height, width, generator=generator(1))


def test_views_follow_from_the_generator():
    views = RandomViews([16, 24], small_views=2, small_size=8)
    first, again, other = (views(images(), generator(seed)) for seed in (5, 5, 6))
    assert all(torch.equal(a, b) for a, b in zip(first.images, again.images, strict=True))
    assert torch.equal(first.boxes, again.boxes)
    assert not torch.equal(first.boxes, other.boxes)


def test_large_views_come_first_and_everything_has_its_shape():
    views = RandomViews([16, 24], large_views=2, small_views=3, small_size=8)
    sizes = set()
    for seed in range(20):
        seen = views(images(), generator(seed))
        assert seen.boxes.shape == (5, 3, 4)
        assert [tuple(view.shape) for view in seen.images[2:]] == [(3, 3, 8, 8)] * 3
        assert all(view.min() >= 0 and view.max() <= 1 for view in seen.images)
        sizes |= {view.shape[-1] for view in seen.images[:2]}
    assert sizes == {16, 24}, "every size is drawn"


def test_views_leave_the_global_generator_and_the_images_alone():
    batch, state = images(), torch.get_rng_state()
    RandomViews([16])(batch, generator())
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(batch, images())


@pytest.mark.parametrize("area", [(0.3, 1.0), (0.05, 0.3)])
def test_boxes_lie_inside_with_the_area_asked_for(area):
    boxes = random_boxes(5000, area, generator())
    assert boxes.min() >= 0
    assert boxes.max() <= 1 + 1e-6
    width, height = (boxes[:, 2:] - boxes[:, :2]).T
    share, aspect = width * height, width / height
    # A side is cut at the image's, which takes a little off the largest shares and no more.
    whole = torch.maximum(width, height) < 1
    assert share[whole].min() >= area[0] - 1e-5
    assert share.max() <= area[1] + 1e-5
    assert share.min() >= min(area[0], 0.75) - 1e-5
    assert aspect.min() >= 3 / 4 - 1e-5
    assert aspect.max() <= 4 / 3 + 1e-5
    assert share[whole].max() - share[whole].min() > 0.8 * (min(area[1], 0.95) - area[0]), "the whole range is drawn"


@pytest.mark.parametrize("box", [(4, 2, 20, 18), (0, 0, 32, 24), (7, 5, 31, 23)])
@pytest.mark.parametrize("size", [16, 40])
def test_crop_and_resize_is_torchvisions(box, size):
    batch, (left, top, right, bottom) = images(), box
    fractions = torch.tensor([[left / 32, top / 24, right / 32, bottom / 24]]).repeat(len(batch), 1)
    ours = crop_and_resize(batch, fractions, size)
    wanted = resized_crop(
        batch, top, left, bottom - top, right - left, [size, size], InterpolationMode.BILINEAR, antialias=False
    )
    # At the border of a crop torchvision repeats the last pixel, and we see its neighbour in the image.
    margin = math.ceil(size / (2 * min(right - left, bottom - top)))
    inner = slice(margin, -margin)
    torch.testing.assert_close(ours[..., inner, inner], wanted[..., inner, inner], atol=1e-4, rtol=0)


def test_a_crop_of_the_same_size_is_a_slice():
    batch = images()
    box = torch.tensor([[8 / 32, 4 / 24, 24 / 32, 20 / 24]]).repeat(len(batch), 1)
    torch.testing.assert_close(crop_and_resize(batch, box, 16), batch[..., 4:20, 8:24], atol=1e-4, rtol=0)


def test_hue_rotation_turns_about_grey():
    angle = torch.linspace(-4, 4, 9)
    turn = hue_rotation(angle)
    torch.testing.assert_close(turn @ turn.mT, torch.eye(3).expand(9, 3, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.linalg.det(turn), torch.ones(9))
    torch.testing.assert_close(turn @ torch.ones(3), torch.ones(9, 3))
    torch.testing.assert_close(hue_rotation(torch.tensor([2 * math.pi]))[0], torch.eye(3), atol=1e-5, rtol=0)
    third = hue_rotation(torch.tensor([2 * math.pi / 3]))[0]
    torch.testing.assert_close(third @ torch.tensor([1.0, 0, 0]), torch.tensor([0.0, 1, 0]), atol=1e-6, rtol=0)


def test_recolour_stays_in_range_and_changes_colours():
    batch = images(40)
    changed = recolour(batch, 0.4, generator())
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert (changed - batch).abs().mean((1, 2, 3)).min() > 1e-3
    grey = (changed.amax(1) - changed.amin(1)).flatten(1).amax(1) < 1e-6
    assert 0 < grey.sum() < 15, "one in ten loses its colours"


def test_recolour_without_strength_keeps_what_keeps_its_colours():
    batch = images(40)
    changed = recolour(batch, 0.0, generator())
    grey = (changed.amax(1) - changed.amin(1)).flatten(1).amax(1) < 1e-6
    torch.testing.assert_close(changed[~grey], batch[~grey], atol=1e-5, rtol=0)
    torch.testing.assert_close(changed[grey], batch[grey].mean(1, keepdim=True).expand(-1, 3, -1, -1))
