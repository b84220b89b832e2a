import pytest
import torch
from safetensors.torch import load_file, save_file

from datamodules.detection.scenes import NAMES
from datamodules.procedural.scenes.repainting import SceneInpainter
from networks.box_diffusion import CELL, BoxDiffusion, emptied, painted_boxes
from networks.diffusion_inpainter import DiffusionInpainter, SamplingSteps, estimates
from networks.gligen import inside
from networks.guidance import Guidance, Guide
from networks.inpainting import PictureLayout
from tests.helpers.tiny_diffusion import write_diffusion
from visionscapes.errors import UserError

BOXES = torch.tensor([[4.0, 4.0, 20.0, 20.0], [20.5, 10.0, 43.2, 36.0]])
STEPS = 4


class Bright(Guide):
    """Finds objects the harder the brighter they are."""

    def __init__(self, **options):
        super().__init__()
        self.guidance = Guidance(**({"ceiling": None, "near": 0.0} | options))
        self.asked = []

    def forward(self, image, boxes, names):
        self.asked.append((image.detach(), boxes, names))
        return torch.stack([image[:, int(y1) : int(y2), int(x1) : int(x2)].mean() for x1, y1, x2, y2 in boxes.tolist()])


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return str(write_diffusion(tmp_path_factory.mktemp("diffusion") / "a.safetensors"))


@pytest.fixture
def inpainter(path):
    return DiffusionInpainter(path, steps=STEPS)


def layout(height=40, width=50, boxes=BOXES, names=("fish", "cat")):
    image = torch.randint(0, 255, (3, height, width), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return PictureLayout(image, boxes, names)


def test_boxes_are_drawn_anew_and_the_rest_stays(inpainter):
    given = layout()
    made = inpainter.inpaint(given, 0)
    covered = inside(BOXES, (40, 50))
    assert torch.equal(made.image[:, ~covered], given.image[:, ~covered])
    assert (made.image != given.image).any(0)[covered].double().mean() > 0.9
    assert made.image.dtype == torch.uint8
    assert made.repainted.tolist() == [True, True]
    assert made.prompt == "a fish and a cat"
    assert made.truth is None


def test_what_was_in_the_boxes_is_not_looked_at(inpainter):
    given = layout()
    other = PictureLayout(torch.where(inside(BOXES, (40, 50)), 99, given.image), BOXES, given.names)
    assert torch.equal(inpainter.inpaint(given, 0).image, inpainter.inpaint(other, 0).image)


@pytest.mark.parametrize("guided", [False, True])
def test_layout_and_seed_decide_everything_and_the_random_numbers_of_others_stay(inpainter, guided):
    if guided:
        inpainter.guided_by(Bright())
    torch.manual_seed(7)
    before = torch.get_rng_state()
    first = inpainter.inpaint(layout(), 3).image
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(inpainter.inpaint(layout(), 4).image, first)
    assert torch.equal(inpainter.inpaint(layout(), 3).image, first)
    assert not torch.equal(inpainter.inpaint(layout(names=("cat", "fish")), 3).image, first)


def test_the_sampling_is_ddim_of_the_library(inpainter):
    given = layout(40, 48)
    image = given.image[None].float() / 255
    asked = emptied(image, painted_boxes(BOXES, [0, 5], len(NAMES), (40, 48))[None])
    scheduler, network = BoxDiffusion.scheduler(STEPS), inpainter.network
    noised, *fresh = torch.randn(STEPS + 1, *image.shape, generator=torch.Generator().manual_seed(2))
    assert scheduler.timesteps[0] == 999
    with torch.no_grad():
        found = estimates(network, noised, asked, SamplingSteps(STEPS, scheduler.timesteps.tolist(), fresh))
        for step, known, noise in zip(scheduler.timesteps, found, fresh, strict=True):
            estimate = network(noised, step, asked).clamp(-1, 1)
            assert torch.equal(estimate, known)
            clipped = {"use_clipped_model_output": True, "variance_noise": noise}
            noised = scheduler.step(estimate, step, noised, eta=1.0, **clipped).prev_sample
    expected = ((noised[0] + 1) * 127.5).round().to(torch.uint8)
    covered = inside(BOXES, (40, 48))
    made = inpainter.inpaint(PictureLayout(given.image, BOXES, (NAMES[0], NAMES[5])), 2).image
    assert (
        (made.int() - expected.int()).abs()[:, covered] <= 1
    ).all()  # the last step gives the estimate, up to rounding


@pytest.mark.parametrize(("height", "width"), [(64, 64), (33, 31), (17, 90)])
def test_any_shape_comes_back_in_its_shape(inpainter, height, width):
    box = torch.tensor([[0.25 * width, 0.25 * height, 0.75 * width, 0.75 * height]])
    given = layout(height, width, box, ("tree",))
    made = inpainter.inpaint(given, 0).image
    assert made.shape == given.image.shape
    assert not (made != given.image).any(0)[~inside(box, (height, width))].any()


def test_nothing_asked_is_nothing_drawn(inpainter):
    given = layout(boxes=BOXES[:0], names=())
    assert torch.equal(inpainter.inpaint(given, 0).image, given.image)


def test_a_network_that_ignores_boxes_is_known(inpainter, tmp_path):
    assert not inpainter.ignores_boxes(layout(), 0)
    deaf = write_diffusion(tmp_path / "deaf.safetensors")
    state = load_file(deaf)
    state["unet.conv_in.weight"][:, 7 * CELL**2 :] = 0  # what stands behind pictures and mask
    save_file(state, deaf, inpainter.network.described())
    assert DiffusionInpainter(str(deaf), steps=2).ignores_boxes(layout(), 0)


def test_classes_that_were_not_learned_are_named(inpainter):
    with pytest.raises(UserError, match="has not learned to draw 'zebra', but fish, car"):
        inpainter.inpaint(layout(names=("fish", "zebra")), 0)


def test_a_draft_is_drawn_over_and_stays_the_more_the_less_it_is_noised(path):
    given, draft = layout(), SceneInpainter()
    drafted = draft.inpaint(given, 0).image.int()
    covered = inside(BOXES, (40, 50))
    away = []
    for strength in (0.05, 0.9):
        inpainter = DiffusionInpainter(path, steps=20, draft=draft, strength=strength)
        made = inpainter.inpaint(given, 0).image
        assert torch.equal(made[:, ~covered], given.image[:, ~covered])
        assert torch.equal(inpainter.inpaint(given, 0).image, made)
        away.append((made.int() - drafted)[:, covered].abs().float().mean().item())
    assert away[0] < 0.5 * away[1]
    assert inpainter.options["draft"]["class"].endswith(".SceneInpainter")
    assert inpainter.options["strength"] == 0.9


# ------------------------------------------------------------------------------------------- guided


def brightness(image):
    return image[:, inside(BOXES, image.shape[1:])].float().mean().item()


def test_a_guide_is_climbed(inpainter):
    plain = inpainter.inpaint(layout(), 0).image
    inpainter.guided_by(Bright(scale=0.3))
    guided = inpainter.inpaint(layout(), 0).image
    assert brightness(guided) > brightness(plain) + 1
    covered = inside(BOXES, (40, 50))
    assert torch.equal(guided[:, ~covered], layout().image[:, ~covered])


def test_it_is_climbed_where_lightning_predicts(inpainter):
    inpainter.guided_by(Bright(scale=0.3))
    expected = inpainter.inpaint(layout(), 0).image
    with torch.inference_mode():
        assert torch.equal(inpainter.inpaint(layout(), 0).image, expected)


def test_a_scale_of_0_is_no_guidance(inpainter):
    plain = inpainter.inpaint(layout(), 0).image
    guide = Bright(scale=0.0)
    inpainter.guided_by(guide)
    assert torch.equal(inpainter.inpaint(layout(), 0).image, plain)
    assert not guide.asked


@pytest.mark.parametrize(("every", "asked"), [(1, 3), (2, 2), (3, 1), (9, 1)])
def test_the_guide_is_asked_at_some_steps_and_never_at_the_last(inpainter, every, asked):
    guide = Bright(every=every)
    inpainter.guided_by(guide)
    inpainter.inpaint(layout(), 0)
    assert len(guide.asked) == asked


def test_the_guide_sees_the_estimate_in_the_picture(inpainter):
    guide = Bright()
    inpainter.guided_by(guide)
    given = layout()
    inpainter.inpaint(given, 0)
    covered = inside(BOXES, (40, 50))
    for image, boxes, names in guide.asked:
        assert image.shape == (3, 40, 50)
        assert torch.allclose(image[:, ~covered], given.image[:, ~covered] / 255, atol=1e-6)
        assert 0 <= image.min() <= image.max() <= 1
        assert torch.equal(boxes, BOXES)
        assert names == given.names


def test_nearness_holds_it_back(path):
    inpainter = DiffusionInpainter(path, steps=10)
    plain = inpainter.inpaint(layout(), 0).image.int()
    moved = []
    for near in (0.0, 1e6):
        inpainter.guided_by(Bright(scale=0.3, near=near))
        moved.append((inpainter.inpaint(layout(), 0).image.int() - plain).square().float().mean().item())
    assert moved[1] < 0.2 * moved[0]


def test_what_it_was_made_with_is_told(inpainter, path):
    digest = inpainter.options["digest"]
    assert inpainter.options == {"weights": path, "steps": STEPS, "digest": digest}
    with torch.no_grad():
        next(inpainter.network.parameters()).flatten()[0] += 1
    assert inpainter.options["digest"] != digest
    inpainter.guided_by(Bright(scale=0.2))
    told = inpainter.options["guide"]
    assert told["class"].endswith(".Bright")
