import pytest
import torch
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from safetensors.torch import save_file

from networks.box_diffusion import COVERED, PLACES, STEPS, AskedBoxes, BoxDiffusion, emptied, painted_boxes
from tests.helpers.tiny_diffusion import tiny_diffusion, write_diffusion
from visionscapes.errors import UserError

CLASSES = ("a", "b", "c")
BOXES = torch.tensor([[2.0, 4.0, 10.0, 12.0], [6.0, 6.0, 10.0, 8.0]])


def test_planes_by_hand():
    planes = painted_boxes(BOXES, [2, 0], 3, (16, 16))
    assert planes.shape == (PLACES + 3, 16, 16)
    covered = torch.zeros(16, 16)
    covered[4:12, 2:10] = 1
    assert torch.equal(planes[0], covered)
    in_front = torch.zeros(16, 16, dtype=torch.bool)
    in_front[6:8, 6:10] = True
    behind = (covered > 0) & ~in_front
    assert torch.equal(planes[PLACES], in_front.float())
    assert not planes[PLACES + 1].any()
    assert (planes[PLACES + 2][in_front] == COVERED).all()
    assert (planes[PLACES + 2][behind] == 1).all()
    assert planes[1, 5, 2:10].tolist() == pytest.approx([(k + 0.5) / 4 - 1 for k in range(8)])  # x of the larger box
    assert planes[1, 6, 6:10].tolist() == pytest.approx([-0.75, -0.25, 0.25, 0.75])  # of the smaller one
    assert planes[2, 6:8, 7].tolist() == pytest.approx([-0.5, 0.5])
    assert not planes[:, covered == 0].any()


def test_which_box_is_listed_first_makes_no_difference():
    planes = painted_boxes(BOXES, [2, 0], 3, (16, 16))
    assert torch.equal(painted_boxes(BOXES.flip(0), [0, 2], 3, (16, 16)), planes)


def test_boxes_end_with_the_picture_and_cover_pixels_in_part():
    planes = painted_boxes(torch.tensor([[-4.0, 3.5, 2.5, 30.0], [20.0, 20.0, 24.0, 24.0]]), [0, 1], 3, (8, 8))
    expected = torch.zeros(8, 8)
    expected[3:, :3] = 1
    assert torch.equal(planes[0], expected)
    assert not planes[PLACES + 1].any()


def test_pictures_are_empty_in_their_boxes_alone():
    image = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    planes = painted_boxes(BOXES, [0, 1], 3, (16, 16))[None]
    asked = emptied(image, planes)
    inside = (planes[:, :1] > 0).expand_as(image)
    assert not asked.kept[inside].any()
    assert torch.allclose(asked.kept[~inside], 2 * image[~inside] - 1)
    assert torch.equal(asked.mask, planes[:, :1])


def test_noise_is_that_of_the_library():
    network = tiny_diffusion(CLASSES)
    generator = torch.Generator().manual_seed(0)
    image, noise = (torch.randn(3, 3, 8, 8, generator=generator) for _ in range(2))
    step = torch.tensor([0, 400, STEPS - 1])
    expected = DDPMScheduler(STEPS, beta_schedule="squaredcos_cap_v2").add_noise(image, noise, step)
    assert torch.allclose(network.noised(image, noise, step), expected, atol=1e-6)


def given(size=(16, 24), seed=0):
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(2, 3, *size, generator=generator)
    planes = painted_boxes(BOXES, [0, 1], 3, size).expand(2, -1, -1, -1)
    return torch.randn(2, 3, *size, generator=generator), emptied(image, planes)


def test_what_is_outside_the_boxes_stays_and_its_noise_is_not_looked_at():
    network = tiny_diffusion(CLASSES)
    noised, asked = given()
    outside = (asked.mask == 0).expand_as(noised)
    made = network(noised, torch.tensor([10, 900]), asked)
    assert torch.equal(made[outside], asked.kept[outside])
    assert torch.equal(network(torch.where(outside, 7.0, noised), torch.tensor([10, 900]), asked), made)
    assert not torch.equal(network(torch.where(outside, noised, 7.0), torch.tensor([10, 900]), asked), made)


def test_classes_places_and_surroundings_are_heard():
    network = tiny_diffusion(CLASSES)
    noised, asked = given()
    made = network(noised, 500, asked)
    for plane in range(1, asked.planes.shape[1] - 1):  # of the last class there is no object
        planes = asked.planes.clone()
        planes[:, plane] = 0
        assert not torch.equal(network(noised, 500, AskedBoxes(asked.kept, planes)), made), plane
    other = AskedBoxes(asked.kept * 0.5, asked.planes)
    inside = (asked.mask > 0).expand_as(made)
    assert not torch.equal(network(noised, 500, other)[inside], made[inside])


def test_a_file_knows_its_network(tmp_path):
    path = write_diffusion(tmp_path / "a.safetensors", CLASSES)
    network = BoxDiffusion.from_file(path)
    assert network.options == tiny_diffusion(CLASSES).options
    noised, asked = given()
    assert torch.equal(network(noised, 3, asked), tiny_diffusion(CLASSES)(noised, 3, asked))
    assert not network.training
    assert not any(each.requires_grad for each in network.parameters())


def test_cells_of_another_size_are_known_to_the_file(tmp_path):
    network = BoxDiffusion(CLASSES, (8, 16), cell=2)
    torch.nn.init.normal_(network.unet.conv_out.weight, std=0.1)
    assert network.multiple == 2 * 2
    noised, asked = given()
    assert network(noised, 3, asked).shape == noised.shape
    described = network.described()
    save_file(network.state_dict(), tmp_path / "a.safetensors", described)
    again = BoxDiffusion.from_file(tmp_path / "a.safetensors")
    assert again.options == network.options
    assert torch.equal(again(noised, 3, asked), network(noised, 3, asked))
    older = tiny_diffusion(CLASSES)  # a file from before cells were an option
    header = {key: value for key, value in older.described().items() if key != "cell"}
    save_file(older.state_dict(), tmp_path / "b.safetensors", header)
    assert BoxDiffusion.from_file(tmp_path / "b.safetensors").options == older.options


def test_files_of_something_else_are_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(UserError, match="does not say which diffusion model it holds"):
        BoxDiffusion.from_file(path)
    save_file({"a": torch.zeros(1)}, path, tiny_diffusion(CLASSES).described())
    with pytest.raises(UserError, match="does not fit BoxDiffusion"):
        BoxDiffusion.from_file(path)
    with pytest.raises(UserError, match="no weights at"):
        BoxDiffusion.from_file(tmp_path / "none.safetensors")


@pytest.mark.parametrize("channels", [[], [4], [12, 16]])
def test_channels_that_no_norm_can_group_are_refused(channels):
    with pytest.raises(UserError, match=r"BoxDiffusion\.channels"):
        BoxDiffusion(CLASSES, channels)
