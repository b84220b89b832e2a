from types import SimpleNamespace

import pytest
import torch

from datamodules.detection.given import GivenScenes
from datamodules.detection.scenes import NAMES
from lightning_modules import Detector, LayoutInpainting
from lightning_modules.gen2det.guiding import DetectorGuide
from lightning_modules.gen2det.hardness import instance_losses
from networks.diffusion_inpainter import DiffusionInpainter
from networks.guidance import Guidance
from networks.inpainting import PictureLayout
from tests.helpers.small_detectors import FPN, RETINA
from tests.helpers.tiny_diffusion import write_diffusion
from tests.lightning_modules.gen2det.cases import module
from visionscapes.errors import UserError

BOXES = torch.tensor([[4.0, 4.0, 28.0, 24.0], [20.0, 10.0, 58.0, 50.0]])
OBJECTS = ("cat", "fish")
CATEGORIES = [{"id": number, "name": name} for number, name in enumerate(reversed(NAMES), 1)]


@pytest.fixture
def guide(monkeypatch):
    """Return a function that makes a guide of a small detector with random weights, which numbers classes otherwise."""

    def make(config=FPN, size=64, kind=Detector, **options):
        judge = module(config, kind=kind)
        judge.categories = CATEGORIES
        found = SimpleNamespace(module=judge, inputs=GivenScenes(size=size, longest=4 * size), source="a run")
        monkeypatch.setattr("lightning_modules.gen2det.guiding.load", lambda place, device: found)
        return DetectorGuide("runs/a", Guidance(**options))

    return make


def picture(height=64, width=64):
    coarse = torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(coarse[None], (height, width), mode="bilinear")[0]


def test_losses_are_those_of_the_detector_at_the_boxes_by_name(guide):
    made = guide()
    labels = torch.tensor([list(reversed(NAMES)).index(name) for name in OBJECTS])
    (expected,) = instance_losses(made.judge.detector, [255 * picture()], [BOXES], [labels])
    assert torch.equal(made(picture(), BOXES, OBJECTS), expected)
    assert not torch.equal(made(picture(), BOXES, OBJECTS[::-1]), expected)


def test_pictures_are_shown_at_the_size_that_the_detector_learned_from(guide):
    made = guide(size=128)
    labels = torch.tensor([list(reversed(NAMES)).index(name) for name in OBJECTS])
    large = torch.nn.functional.interpolate(picture()[None], scale_factor=2, mode="bilinear", antialias=True)[0]
    (expected,) = instance_losses(made.judge.detector, [255 * large], [2 * BOXES], [labels])
    torch.testing.assert_close(made(picture(), BOXES, OBJECTS), expected)


def test_a_step_along_the_gradient_makes_objects_harder(guide):
    made = guide()
    image = picture().requires_grad_()
    before = made(image, BOXES, OBJECTS).mean()
    (gradient,) = torch.autograd.grad(before, image)
    after = made(image.detach() + 0.02 * gradient / gradient.abs().max(), BOXES, OBJECTS).mean()
    assert after > before


def test_the_detector_stays_as_it_is(guide):
    made = guide()
    state = {name: value.clone() for name, value in made.state_dict().items()}
    digest = made.options["digest"]
    made.train()
    made(picture().requires_grad_(), BOXES, OBJECTS).sum().backward()
    assert not made.judge.training
    assert all(each.grad is None for each in made.parameters())
    assert all(torch.equal(value, state[name]) for name, value in made.state_dict().items())
    assert made.options == {
        "detector": "a run",
        "guidance": {"scale": 0.1, "every": 1, "ceiling": 1.5, "near": 10.0},
        "digest": digest,
    }
    next(made.judge.parameters()).data += 1
    assert made.options["digest"] != digest


def test_classes_that_the_detector_does_not_know_are_named(guide):
    with pytest.raises(UserError, match="does not know 'zebra'"):
        guide()(picture(), BOXES, ("cat", "zebra"))


def test_detectors_of_one_stage_are_refused(guide):
    with pytest.raises(UserError, match="cannot be asked what a single object costs"):
        guide(RETINA)


def test_the_module_gives_its_inpainter_the_guide(guide, tmp_path):
    known = guide(scale=0.3, ceiling=None)
    inpainter = DiffusionInpainter(str(write_diffusion(tmp_path / "a.safetensors")), steps=3)
    image = (255 * picture()).round().byte()
    layout = PictureLayout(image, BOXES, OBJECTS)
    plain = inpainter.inpaint(layout, 5).image
    drawing = LayoutInpainting(inpainter, guide="runs/a", guidance=Guidance(scale=0.3, ceiling=None))
    batch = {"task": "generate", "image": image, "boxes": BOXES, "names": list(OBJECTS), "seed": 5, "name": "a"}
    guided = drawing.predict_step(batch, 0).image
    assert torch.equal(guided, inpainter.inpaint(layout, 5).image)
    assert not torch.equal(guided, plain)
    assert known(guided / 255, BOXES, OBJECTS).mean() > known(plain / 255, BOXES, OBJECTS).mean()
