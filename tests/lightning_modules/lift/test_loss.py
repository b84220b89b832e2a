import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from lightning_modules.lift.loss import DISTANCES, DOWNSCALES, antialias, decimate


def maps(seed=0, shape=(2, 5, 3, 4)):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)


def test_cosine_equals_the_official_criterion():
    """CosineEmbeddingLoss with target +1 over all positions."""
    prediction, target = maps()
    flat = [x.permute(0, 2, 3, 1).reshape(-1, 5) for x in (prediction, target)]
    expected = nn.CosineEmbeddingLoss()(*flat, torch.ones(len(flat[0])))
    torch.testing.assert_close(DISTANCES["cosine"](prediction, target), expected)


def test_cosine_of_known_angles():
    prediction = torch.tensor([[1.0, 0.0], [1.0, 1.0]]).T.view(1, 2, 1, 2)
    target = torch.tensor([[0.0, 3.0], [2.0, 0.0]]).T.view(1, 2, 1, 2)
    assert DISTANCES["cosine"](prediction, target).item() == pytest.approx((1 + 1 - 0.5**0.5) / 2)


@pytest.mark.parametrize(("name", "power"), [("l1", 1), ("l2", 2)])
def test_elementwise_distances_are_plain_means(name, power):
    prediction, target = maps()
    torch.testing.assert_close(DISTANCES[name](prediction, target), (prediction - target).abs().pow(power).mean())


@pytest.mark.parametrize("name", DISTANCES)
def test_distances_vanish_at_the_target_only(name):
    prediction, target = maps()
    assert DISTANCES[name](target, target).item() == pytest.approx(0, abs=1e-6)
    assert DISTANCES[name](prediction, target).item() > 0.1
    prediction.requires_grad_()
    DISTANCES[name](prediction, target).backward()
    assert prediction.grad is not None
    assert (prediction.grad != 0).any(1).all()  # every position counts


def test_decimation_keeps_pixels():
    image = torch.arange(64.0).view(1, 1, 8, 8)
    assert decimate(image, 4).tolist() == [[[[0.0, 4.0], [32.0, 36.0]]]]


def test_antialiasing_equals_pillow():
    pixels = np.random.default_rng(0).random((24, 32), dtype=np.float32)
    expected = np.asarray(Image.fromarray(pixels).resize((16, 12), Image.Resampling.BILINEAR))
    result = antialias(torch.tensor(pixels)[None, None], 2)[0, 0]
    torch.testing.assert_close(result, torch.tensor(expected), atol=1e-5, rtol=0)


def test_only_antialiasing_removes_what_the_small_image_cannot_show():
    stripes = (torch.arange(32) % 2).float().expand(1, 3, 32, 32)
    assert decimate(stripes, 2).mean().item() == 0  # aliased: the light stripes are gone
    assert antialias(stripes, 2).mean().item() == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("name", DOWNSCALES)
@pytest.mark.parametrize("factor", [2, 4])
def test_sizes(name, factor):
    assert DOWNSCALES[name](torch.rand(1, 3, 64, 48), factor).shape == (1, 3, 64 // factor, 48 // factor)
