import copy

import pytest
import torch

from networks.gligen import MOST_BOXES, GLIGENInpainter, inside, letterboxed, restored
from networks.inpainting import PictureLayout
from tests.helpers.tiny_gligen import SIDE, write_gligen
from visionscapes.errors import UserError

BOXES = torch.tensor([[8.0, 8.0, 40.0, 30.0], [50.0, 20.0, 90.0, 60.0]])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_gligen(tmp_path_factory.mktemp("gligen"))


@pytest.fixture(scope="module")
def inpainter(folder):
    return GLIGENInpainter(str(folder), steps=3, grounded=0.5)


def picture(height=64, width=96):
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randint(40, 220, (3, 4, 6), generator=generator).float()
    return torch.nn.functional.interpolate(coarse[None], (height, width), mode="bilinear")[0].to(torch.uint8)


def layout(boxes=BOXES, **size):
    return PictureLayout(picture(**size), boxes, tuple("dog" for _ in boxes))


def test_boxes_are_repainted_and_the_rest_stays(inpainter):
    made = inpainter.inpaint(layout(), 0)
    covered = inside(BOXES, (64, 96))
    assert torch.equal(made.image[:, ~covered], layout().image[:, ~covered])
    assert (made.image != layout().image).any(0)[covered].double().mean() > 0.9
    assert made.repainted.tolist() == [True, True]
    assert made.prompt == "a dog and a dog"
    assert made.truth is None


def test_a_seed_decides_everything_and_leaves_the_random_numbers_of_others_alone(inpainter):
    torch.manual_seed(7)
    before = torch.get_rng_state()
    first = inpainter.inpaint(layout(), 3).image
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(8)
    inpainter.inpaint(layout(), 1)
    assert torch.equal(inpainter.inpaint(layout(), 3).image, first)
    assert not torch.equal(inpainter.inpaint(layout(), 4).image, first)


def test_names_matter(inpainter):
    other = PictureLayout(layout().image, BOXES, ("dog", "cat"))
    assert not torch.equal(inpainter.inpaint(layout(), 0).image, inpainter.inpaint(other, 0).image)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (50, 200), (200, 50), (33, 31)])
def test_any_shape_comes_back_in_its_shape_with_the_boxes_where_they_were(inpainter, height, width):
    box = torch.tensor([[0.25 * width, 0.25 * height, 0.75 * width, 0.75 * height]])
    given = layout(box, height=height, width=width)
    made = inpainter.inpaint(given, 0)
    assert made.image.shape == given.image.shape
    if made.repainted.any():
        changed = (made.image != given.image).any(0)
        assert not changed[~inside(box, (height, width))].any()


def test_of_many_boxes_the_largest_are_drawn():
    found = GLIGENInpainter.drawable
    boxes = torch.tensor([[0.0, 0.0, 10.0 + k, 10.0 + k] for k in range(40)])

    class Stub:
        side, pipeline = SIDE, type("", (), {"vae_scale_factor": 8})

    chosen = found(Stub, boxes, (64, 64))
    assert chosen.tolist() == [False] * (40 - MOST_BOXES) + [True] * MOST_BOXES


def test_boxes_that_cover_no_cell_stay_as_they_are(inpainter):
    boxes = torch.tensor([[1.0, 1.0, 6.0, 6.0], [8.0, 8.0, 40.0, 30.0]])  # 64 of 96 pixels: the first has 3.3
    made = inpainter.inpaint(layout(boxes), 0)
    assert made.repainted.tolist() == [False, True]
    assert torch.equal(made.image[:, 1:6, 1:6], layout().image[:, 1:6, 1:6])
    nothing = inpainter.inpaint(layout(boxes[:1]), 0)
    assert torch.equal(nothing.image, layout().image)
    assert not nothing.repainted.any()
    assert torch.equal(inpainter.inpaint(layout(boxes[:0]), 0).image, layout().image)


def test_without_pasting_pixels_come_out_of_the_autoencoder(folder):
    made = GLIGENInpainter(str(folder), steps=3, paste=False).inpaint(layout(), 0)
    covered = inside(BOXES, (64, 96))
    assert (made.image != layout().image).any(0)[~covered].double().mean() > 0.9


def test_a_pipeline_that_ignores_boxes_is_known(inpainter, tmp_path):
    assert not inpainter.ignores_boxes(layout(), 0)
    assert GLIGENInpainter(str(write_gligen(tmp_path, fused=0.0)), steps=3).ignores_boxes(layout(), 0)


def test_it_moves_as_one(inpainter):
    assert {each.dtype for each in copy.deepcopy(inpainter).double().parameters()} == {torch.float64}
    assert not any(each.requires_grad for each in inpainter.parameters())


def test_letterboxing_is_undone():
    image = picture(50, 90)
    square, scale = letterboxed(image, 180)
    assert square.shape == (3, 180, 180)
    assert scale == 2
    assert (restored(square, (50, 90), scale).int() - image.int()).abs().max() <= 8
    assert torch.equal(square[:, 120, :90], square[:, 99, :90]), "the border goes on"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attention": "default"}, "takes no boxes, or does not inpaint"),
        ({"in_channels": 4}, "takes no boxes, or does not inpaint"),
    ],
)
def test_other_pipelines_are_refused(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        GLIGENInpainter(str(write_gligen(tmp_path, **changes)))


def test_a_folder_without_a_pipeline_is_named(tmp_path):
    with pytest.raises(UserError, match=f"cannot read GLIGEN from '{tmp_path}'"):
        GLIGENInpainter(str(tmp_path))
