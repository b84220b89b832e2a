import pytest
import torch

from datamodules.procedural.scenes.repainting import SceneInpainter
from lightning_modules.gen2det.generating import LayoutInpainting
from networks.inpainting import GroundedInpainter, Inpainted, PictureLayout
from visionscapes.errors import UserError


class Deaf(GroundedInpainter):
    """Changes the picture and heeds no box."""

    title = "deaf"

    def __init__(self, repaints: bool = True):
        super().__init__()
        self.repaints, self.asked = repaints, 0

    def inpaint(self, layout, seed):
        self.asked += 1
        return Inpainted(255 - layout.image, torch.full((len(layout.boxes),), self.repaints))

    def ignores_boxes(self, layout, seed):
        without = PictureLayout(layout.image, layout.boxes[:0], ())
        return torch.equal(self.inpaint(layout, seed).image, self.inpaint(without, seed).image)


def batch(**options):
    image = torch.randint(0, 255, (3, 40, 48), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    boxes = torch.tensor([[4.0, 4.0, 20.0, 20.0], [20.0, 10.0, 44.0, 36.0]])
    return {
        "task": "generate",
        "image": image,
        "boxes": boxes,
        "names": ["fish", "cat"],
        "seed": 3,
        "name": "a",
    } | options


def test_pictures_are_those_of_the_inpainter():
    inpainter, given = SceneInpainter(), batch()
    made = LayoutInpainting(inpainter).predict_step(given, 0)
    alone = inpainter.inpaint(PictureLayout(given["image"], given["boxes"], ("fish", "cat")), 3)
    assert torch.equal(made.image, alone.image)
    assert made.prompt == alone.prompt == "a fish and a cat"
    assert made.truth.verdicts == alone.truth.verdicts == ("right", "right")


def test_an_inpainter_that_ignores_boxes_is_refused():
    with pytest.raises(UserError, match="Deaf gives the same picture with and without boxes, tried with a"):
        LayoutInpainting(Deaf()).predict_step(batch(), 0)


def test_the_check_waits_for_a_layout_that_is_drawn_and_happens_once():
    module = LayoutInpainting(Deaf(repaints=False))
    module.predict_step(batch(), 0)
    module.inpainter.repaints = True
    with pytest.raises(UserError, match="without boxes"):
        module.predict_step(batch(), 1)
    module = LayoutInpainting(SceneInpainter())
    module.predict_step(batch(), 0)
    module.inpainter = Deaf()
    module.predict_step(batch(), 1)
    assert module.inpainter.asked == 1


def test_data_that_are_no_layouts_are_refused():
    with pytest.raises(UserError, match="--data=Layouts"):
        LayoutInpainting(SceneInpainter()).predict_step({"task": "predict"}, 0)
    assert not LayoutInpainting(SceneInpainter()).predict_step({"task": "end"}, 0)


def test_options_of_inpainters_tell_how_they_were_made():
    options = SceneInpainter().options
    assert options == {"faults": {"wrong_class": 0.0, "missing": 0.0, "extra": 0.0, "low_quality": 0.0}}
