import numpy as np
import pytest
import torch
from torch.nn import functional as F

from datamodules.procedural.sources.diffusion import SIDE, STEPS, PictureDiffusion, whole_picture
from networks.box_diffusion import BoxDiffusion, emptied
from tests.helpers.tiny_diffusion import write_diffusion
from visionscapes.errors import UserError

CONTENTS = ("faces", "rooms")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_diffusion(tmp_path_factory.mktemp("diffusion") / "a.safetensors", CONTENTS)


def rngs(*numbers):
    return [np.random.default_rng(number) for number in numbers]


def test_a_whole_picture_is_asked_for():
    planes = whole_picture(1, 2, 8)
    assert planes.shape == (3 + 2, 8, 8)
    assert (planes[0] == 1).all()
    assert (planes[1, 0] == planes[2, :, 0]).all()
    assert planes[1, 0].tolist() == pytest.approx([-7 / 8, -5 / 8, -3 / 8, -1 / 8, 1 / 8, 3 / 8, 5 / 8, 7 / 8])
    assert (planes[3] == 0).all()
    assert (planes[4] == 1).all()


def test_pictures_are_what_ddim_makes_of_their_noise(path):
    """Against the equation of Song et al., "Denoising Diffusion Implicit Models" (2021), written out for eta = 0."""
    network, (rng,) = BoxDiffusion.from_file(path), rngs(5)
    drawn = torch.from_numpy(rng.standard_normal((1, 3, SIDE, SIDE), np.float32))
    planes = whole_picture(1, 2, SIDE)[None]
    times = [round(1000 - number * 1000 / STEPS) - 1 for number in range(STEPS)]
    for time, later in zip(times, [*times[1:], None], strict=True):
        alpha, after = network.alphas[time], torch.tensor(1.0) if later is None else network.alphas[later]
        estimate = network(drawn, torch.tensor(time), emptied(torch.zeros_like(drawn), planes))
        noise = (drawn - alpha.sqrt() * estimate) / (1 - alpha).sqrt()
        drawn = after.sqrt() * estimate.clamp(-1, 1) + (1 - after).sqrt() * noise
    found = PictureDiffusion(path)("rooms", rngs(5), SIDE)
    torch.testing.assert_close(found, ((drawn + 1) / 2).clamp(0, 1), atol=1e-4, rtol=0)


def test_a_picture_follows_from_its_own_random_numbers(path):
    model = PictureDiffusion(path)
    assert model.contents == CONTENTS
    three, state = model("faces", rngs(1, 2, 3), SIDE), torch.get_rng_state()
    assert (three.shape, three.dtype) == ((3, 3, SIDE, SIDE), torch.float32)
    assert 0 <= three.min() < three.max() <= 1
    torch.testing.assert_close(model("faces", rngs(2), SIDE), three[1:2], atol=1e-4, rtol=0)
    assert (three[0] - three[1]).abs().mean() > 0.01
    assert (model("rooms", rngs(1), SIDE) - three[:1]).abs().mean() > 0.001
    assert torch.equal(torch.get_rng_state(), state)
    assert not three.requires_grad


def test_other_sizes_are_resized(path):
    model = PictureDiffusion(path)
    drawn = model("faces", rngs(4), SIDE)
    for size in (SIDE // 2, 76):
        expected = F.interpolate(drawn, (size, size), mode="bicubic", antialias=True).clamp(0, 1)
        torch.testing.assert_close(model("faces", rngs(4), size), expected, atol=1e-5, rtol=0)


def test_another_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="no weights at"):
        PictureDiffusion(tmp_path / "none.safetensors")
