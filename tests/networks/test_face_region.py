import pytest
import torch
from lightning_fabric.utilities import move_data_to_device

from networks.dubbed import Dubbed
from networks.face_region import FaceRegion
from networks.turning import turned
from visionscapes.errors import UserError

MOUTH = FaceRegion(left=0.25, top=0.5, right=0.75, bottom=1.0)


def test_the_whole_face_is_the_default():
    faces = torch.rand(2, 5, 3, 8, 8)
    assert FaceRegion().box(8) == (0, 0, 8, 8)
    assert torch.equal(FaceRegion().of(faces), faces)
    assert torch.equal(FaceRegion().paste(faces, faces + 1), faces + 1)


def test_what_is_pasted_is_what_was_cut_and_the_rest_stays():
    faces = torch.rand(2, 5, 3, 16, 16)
    assert MOUTH.box(16) == (4, 8, 12, 16)
    assert MOUTH.shape(16) == (8, 8)
    assert torch.equal(MOUTH.paste(faces, MOUTH.of(faces)), faces)
    pasted = MOUTH.paste(faces, torch.full((2, 5, 3, 8, 8), 2.0))
    assert (MOUTH.of(pasted) == 2).all()
    outside = torch.ones(16, 16, dtype=torch.bool)
    outside[8:16, 4:12] = False
    assert torch.equal(pasted[..., outside], faces[..., outside])


def test_gradients_pass_to_the_patches():
    patches = torch.rand(1, 3, 8, 8, requires_grad=True)
    MOUTH.paste(torch.rand(1, 3, 16, 16), patches).sum().backward()
    assert torch.equal(patches.grad, torch.ones_like(patches))


def test_shares_are_rounded_to_pixels():
    region = FaceRegion(left=0.2, top=0.33, right=0.81, bottom=0.97)
    assert region.box(10) == (2, 3, 8, 10)
    rounded = region.in_pixels_of(10)
    assert (rounded.left, rounded.top, rounded.right, rounded.bottom) == (0.2, 0.3, 0.8, 1.0)
    assert rounded.box(10) == region.box(10)


def test_in_a_frame_it_has_its_shares_of_the_box():
    boxes = torch.tensor([[100.0, 20.0, 180.0, 120.0]])
    assert MOUTH.in_frame(boxes).tolist() == [[120, 70, 160, 120]]


@pytest.mark.parametrize("wrong", [{"left": 0.8, "right": 0.5}, {"top": 1.0}, {"left": -0.1}, {"bottom": 1.2}])
def test_regions_that_are_none_are_refused(wrong):
    with pytest.raises(UserError, match="FaceRegion"):
        FaceRegion(**wrong)


def test_lightning_may_copy_what_has_a_region():
    region, pictures = FaceRegion(top=0.5), torch.rand(2, 3, 4, 8)
    moved = move_data_to_device(Dubbed(pictures, pictures, pictures[:, :1], region), torch.device("meta"))
    assert moved.region == region
    assert hash(moved.region) == hash(region)
    assert moved.faces.is_meta


def test_in_a_face_that_leans_it_turns_with_the_face():
    """Each corner of the box, turned about its own middle, is where the corner is that turns with the face."""
    boxes, rolls = torch.tensor([[100.0, 20.0, 180.0, 120.0], [3.0, 5.0, 40.0, 44.0]]), torch.tensor([0.4, -1.0])
    region = MOUTH.in_frame(boxes, rolls)
    assert torch.allclose(region[:, 2:] - region[:, :2], (MOUTH.in_frame(boxes)[:, 2:] - MOUTH.in_frame(boxes)[:, :2]))
    for box, upright, face, roll in zip(region, MOUTH.in_frame(boxes), boxes, rolls, strict=True):
        there = turned(box.view(2, 2), box.view(2, 2).mean(0), roll)
        assert torch.allclose(there, turned(upright.view(2, 2), face.view(2, 2).mean(0), roll), atol=1e-4)
    assert torch.equal(MOUTH.in_frame(boxes, torch.zeros(2)), MOUTH.in_frame(boxes))
