import numpy as np
import pytest
import torch
from torch.nn import functional as F

from datamodules.procedural.sources.contents import render_contents
from datamodules.procedural.sources.generators import NOISE, Decoder, camera, capture
from datamodules.procedural.sources.sources import ARCHITECTURES

SIDE = 40


@pytest.fixture(scope="module")
def shown():
    return render_contents("faces", 0, range(8), SIDE)


def rngs(count, seed=0):
    return [np.random.default_rng([seed, number]) for number in range(count)]


def decoder(architecture, seed=0):
    return Decoder(architecture, np.random.default_rng(seed))


@pytest.mark.parametrize("letter", ARCHITECTURES)
def test_a_decoder_changes_high_frequencies_only(shown, letter):
    made = decoder(ARCHITECTURES[letter])(shown)
    change = made - shown
    assert 0.02 < change.std() < 0.12
    coarse = F.avg_pool2d(change, 8)
    assert coarse.std() < 0.25 * change.std()
    assert coarse.std() < 0.06 * F.avg_pool2d(shown, 8).std()
    assert change.mean((0, 2, 3)).abs().max() < 0.003
    contrast = made.std((1, 2, 3)) / shown.std((1, 2, 3))
    assert ((contrast > 0.9) & (contrast < 1.1)).all()


def test_no_two_architectures_are_alike():
    assert len(set(ARCHITECTURES.values())) == len(ARCHITECTURES)


def test_weights_follow_from_their_random_numbers(shown):
    architecture = ARCHITECTURES["a"]
    first = decoder(architecture)(shown)
    assert torch.equal(first, decoder(architecture)(shown))
    assert not torch.allclose(first, decoder(architecture, 1)(shown), atol=0.01)


def test_a_camera_is_noisier_where_it_is_bright():
    dark, bright = torch.full((1, 3, 64, 64), 0.1), torch.full((1, 3, 64, 64), 0.9)
    noise = [camera(image, rngs(1)) - image for image in (dark, bright)]
    assert noise[1].std() > 1.3 * noise[0].std()
    assert all(abs(each.mean()) < 0.003 and each.std() < 3 * NOISE for each in noise)


def test_capture_keeps_the_picture():
    smooth = F.interpolate(torch.rand(4, 3, 4, 4, generator=torch.Generator().manual_seed(0)), (72, 72), mode="bicubic")
    captured = capture(smooth, rngs(4), 64)
    assert (captured.shape, captured.dtype) == ((4, 64, 64, 3), np.uint8)
    centre = smooth[:, :, 4:68, 4:68].permute(0, 2, 3, 1).clamp(0, 1) * 255
    assert np.abs(captured - centre.numpy()).mean() < 8
    assert np.array_equal(captured, capture(smooth, rngs(4), 64))
    assert not np.array_equal(captured, capture(smooth, rngs(4, seed=1), 64))


def test_capture_looks_at_nothing_outside_the_picture():
    """Whatever is drawn, the window stays within the rendered picture: a frame of 2 pixels is never seen."""
    image = torch.full((64, 3, 76, 76), 0.5)
    image[:, :, :1], image[:, :, -1:], image[..., :1], image[..., -1:] = 1, 1, 1, 1
    assert np.abs(capture(image, rngs(64), 64).astype(int) - 128).max() <= 3
