import pytest
import torch
from safetensors.torch import save_file

from lightning_modules.lsr.experts import HeadExpertOptions, SmallPerceptual
from networks.feature_networks import SmallDistance
from networks.perceptual import VGGPerceptual, vgg19_features
from networks.vggface import VGGFaceDistance, VGGFaceNetwork
from visionscapes.errors import UserError


def pictures(count=2, size=32):
    random = torch.Generator().manual_seed(0)
    return 2 * torch.rand(2, count, 3, size, size, generator=random) - 1


def test_the_stand_in_is_the_small_distance_of_pictures_in_0_1():
    ours, theirs = pictures()
    expected = SmallDistance()((ours + 1) / 2, (theirs + 1) / 2).mean()
    assert torch.equal(HeadExpertOptions(perceptual="small").perceptual_distance()(ours, theirs), expected)
    assert SmallPerceptual()(ours, ours).abs() < 1e-6


def test_what_is_trained_draws_the_same_numbers_with_and_without_experts():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    HeadExpertOptions(perceptual="small").perceptual_distance()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.fixture(scope="module")
def vgg19(tmp_path_factory):
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("vgg19") / "vgg19.safetensors"
    save_file(vgg19_features(None).state_dict(), file)
    return str(file)


def test_vgg19_by_a_local_file_at_a_scale_of_ones_own(vgg19):
    ours, theirs = pictures()
    expert = HeadExpertOptions(perceptual_weights=vgg19, input_scale="caffe").perceptual_distance()
    assert torch.equal(expert(ours, theirs), VGGPerceptual(vgg19, input_scale="caffe")(ours, theirs))
    assert not any(each.requires_grad for each in expert.network.parameters())
    assert HeadExpertOptions().input_scale == "calibrated"


def test_vggface_by_a_local_file(tmp_path):
    torch.manual_seed(0)
    network, file = VGGFaceNetwork(2, 4, 3), str(tmp_path / "vggface.safetensors")
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    save_file(network.state_dict(), file)
    ours, theirs = pictures()
    found = HeadExpertOptions(vggface_weights=file, vggface_mean="vggface").face_distance()(ours, theirs)
    assert found == VGGFaceDistance(file, mean="vggface")(ours, theirs)
    with pytest.raises(UserError, match=r"--model\.experts\.vggface_weights <file>, or --model\.losses"):
        HeadExpertOptions().face_distance()
