import math

import pytest
import torch
from torchvision.transforms.functional import (
    adjust_brightness,
    adjust_contrast,
    adjust_saturation,
    gaussian_blur,
    rgb_to_grayscale,
)

from datamodules.images.byol_views import BYOLViews, blurred, jittered, luminance
from visionscapes.errors import UserError

PLAIN = {"flip": 0, "colour_chance": 0, "grey": 0, "blur": [0, 0, 0], "solarise": [0, 0, 0]}
WHOLE = {"large_size": 24, "large_area": (1.0, 1.0), "small_size": 24, "small_views": 1, "small_area": (1.0, 1.0)}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def images(count=4, side=24):
    return torch.rand(count, 3, side, side, generator=generator(1))


def views(seed=5, **more):
    return BYOLViews(**WHOLE | PLAIN | more)(images(), generator(seed))


def test_views_follow_from_the_generator_alone():
    made, state = BYOLViews(16, small_views=3, small_size=8), torch.get_rng_state()
    first, again, other = (made(images(), generator(seed)) for seed in (5, 5, 6))
    assert all(torch.equal(a, b) for a, b in zip(first.images, again.images, strict=True))
    assert not torch.equal(first.images[0], other.images[0])
    assert torch.equal(torch.get_rng_state(), state)


def test_two_large_views_come_first_and_everything_has_its_shape_and_range():
    made = BYOLViews(16, small_views=3, small_size=8)(images(), generator())
    assert [tuple(view.shape) for view in made.images] == [(4, 3, 16, 16)] * 2 + [(4, 3, 8, 8)] * 3
    assert made.boxes.shape == (5, 4, 4)
    assert all(view.min() >= 0 and view.max() <= 1 for view in made.images)


def test_flip_mirrors_left_and_right():
    kept, flipped = views(flip=0), views(flip=1)
    for a, b in zip(kept.images, flipped.images, strict=True):
        torch.testing.assert_close(a.flip(3), b)


@pytest.mark.parametrize("place", range(3))
def test_blur_and_solarisation_have_their_own_chances(place):
    plain, chances = views().images, [float(k == place) for k in range(3)]
    for name in ("blur", "solarise"):
        changed = views(**{name: chances}).images
        assert [not torch.equal(a, b) for a, b in zip(plain, changed, strict=True)] == [k == place for k in range(3)]


def test_solarised_values_by_hand():
    plain, changed = views().images[1], views(solarise=[0, 1, 0]).images[1]
    torch.testing.assert_close(changed, torch.where(plain < 0.5, plain, 1 - plain))


def test_grey_views_have_no_colours():
    plain, grey = views().images[0], views(grey=1).images[0]
    torch.testing.assert_close(grey, rgb_to_grayscale(plain, 3), atol=1e-3, rtol=0)


def test_chances_are_drawn_for_every_image():
    made = BYOLViews(8, large_area=(1.0, 1.0), **PLAIN | {"flip": 0.25})
    batch = images(400, 8)
    kept = BYOLViews(8, large_area=(1.0, 1.0), **PLAIN)(batch, generator())
    share = (made(batch, generator()).images[0] != kept.images[0]).flatten(1).any(1).float().mean()
    assert 0.18 < share < 0.32


def test_blur_against_torchvision():
    batch = images(3)
    found = blurred(batch, torch.tensor([0.1, 1.0, 2.0]))
    for image, sigma, each in zip(batch, (0.1, 1.0, 2.0), found, strict=True):
        torch.testing.assert_close(each, gaussian_blur(image, [13, 13], [sigma, sigma]), atol=1e-5, rtol=0)


def test_brightness_scales_and_nothing_else_changes():
    batch = images() / 2
    changed = jittered(batch, [0.4, 0, 0, 0], generator())
    factors = changed.sum((1, 2, 3)) / batch.sum((1, 2, 3))
    torch.testing.assert_close(changed, batch * factors[:, None, None, None], atol=1e-5, rtol=0)
    assert ((factors >= 0.6) & (factors <= 1.4)).all()
    assert factors.std() > 0.01


def test_saturation_keeps_the_luminance_and_contrast_the_mean():
    batch = 0.4 + images() / 5
    for strengths in ([0, 0, 0.4, 0], [0, 0.4, 0, 0]):
        changed = jittered(batch, strengths, generator())
        kept = luminance(changed) if strengths[2] else luminance(changed).mean((2, 3))
        before = luminance(batch) if strengths[2] else luminance(batch).mean((2, 3))
        torch.testing.assert_close(kept, before, atol=1e-5, rtol=0)
        assert not torch.allclose(changed, batch)


def test_colours_change_step_by_step_as_torchvisions_do():
    """Every step ends in [0, 1] before the next begins, which shows where the factors are large."""
    strengths, drawn = [0.9, 0.9, 0.9], generator(2)
    factors = [1 + strength * (2 * torch.rand(8, 1, 1, 1, generator=drawn) - 1) for strength in strengths]
    batch = images(8)
    expected = []
    for image, *own in zip(batch, *(factor.flatten().tolist() for factor in factors), strict=True):
        for adjust, factor in zip((adjust_brightness, adjust_contrast, adjust_saturation), own, strict=True):
            image = adjust(image, factor)
        expected.append(image)
    torch.testing.assert_close(jittered(batch, [*strengths, 0], generator(2)), torch.stack(expected), atol=2e-4, rtol=0)


def test_hue_turns_by_up_to_its_strength():
    red = torch.tensor([0.7, 0.3, 0.3]).view(1, 3, 1, 1).expand(64, 3, 2, 2)
    changed = jittered(red, [0, 0, 0, 0.1], generator())[..., 0, 0] - red[..., 0, 0].mean(1, keepdim=True)
    before = red[:, :, 0, 0] - red[..., 0, 0].mean(1, keepdim=True)
    angle = torch.nn.functional.cosine_similarity(changed, before).clamp(-1, 1).acos()
    assert 0.8 * 0.2 * math.pi < angle.max() <= 0.2 * math.pi + 1e-3


@pytest.mark.parametrize("bad", [{"colour": [0.4]}, {"blur": [1.0, 0.1]}, {"solarise": [0, -1, 0]}])
def test_wrong_lists(bad):
    with pytest.raises(UserError, match=next(iter(bad))):
        BYOLViews(**bad)
