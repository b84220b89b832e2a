import numpy as np
import pytest
import torch

from datamodules.procedural.scenes import crowds
from datamodules.procedural.sources import contents as source_contents
from datamodules.procedural.sources import sources
from datamodules.procedural.sources.contents import KINDS, PictureBlock, hsv, render_contents

SIZE = 36


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_a_function_of_seed_and_number(kind):
    block = render_contents(kind, 3, range(5, 8), SIZE)
    assert (block.shape, block.dtype) == ((3, 3, SIZE, SIZE), torch.float32)
    assert 0 <= block.min() < block.max() <= 1
    assert torch.equal(block, render_contents(kind, 3, range(5, 8), SIZE))
    assert torch.allclose(block[1], render_contents(kind, 3, [6], SIZE)[0], atol=1e-5)  # whatever is drawn with it
    assert not torch.allclose(block[0], block[1], atol=0.05)
    assert not torch.allclose(block, render_contents(kind, 4, range(5, 8), SIZE), atol=0.05)


def test_content_has_random_numbers_of_its_own():
    streams = [source_contents.CONTENT + 16 * kind for kind in range(5)]
    taken = [*range(7), crowds.CROWD, sources.WEIGHTS, sources.CAPTURE]
    assert len({*streams, *taken}) == len(streams) + len(taken)


def test_numpy_and_torch_are_left_alone():
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    for kind in KINDS:
        render_contents(kind, 0, [0], SIZE)
    assert np.array_equal(np.random.get_state()[1], before[0])
    assert torch.equal(torch.get_rng_state(), before[1])


def test_colours_by_hue():
    hue = torch.tensor([0.0, 1 / 3, 2 / 3, 0.0])
    saturation, value = torch.tensor([1.0, 1, 1, 0]), torch.tensor([1.0, 1, 0.5, 0.25])
    wanted = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 0.5], [0.25] * 3])
    assert torch.allclose(hsv(hue, saturation, value), wanted, atol=1e-6)


def test_shapes_cover_their_area():
    canvas = PictureBlock(torch.zeros(1, 1), torch.zeros(1, 3), 100)

    def number(value):
        return torch.full((1, 1, 1), value)

    box = canvas.box(number(0.1), number(0.2), number(0.5), number(0.7))
    assert box.sum() == pytest.approx(40 * 50, rel=0.01)
    assert (box[0, 21:69, 11:49] == 1).all()
    ellipse = canvas.ellipse(number(0.5), number(0.5), number(0.3), number(0.2))
    assert ellipse.sum() == pytest.approx(np.pi * 30 * 20, rel=0.03)
    canvas.paint(box, torch.tensor([[0.25, 0.5, 1.0]]))
    assert torch.equal(canvas.image[0, :, 30, 30], torch.tensor([0.25, 0.5, 1.0]))
    assert (canvas.image[0, :, 90, 90] == 0).all()
