import pytest
import torch

from lightning_modules.diff2lip.experts import ExpertOptions, sync_logits
from networks.feature_networks import SmallDistance
from tests.lightning_modules.diff2lip.cases import SYNCNET
from visionscapes.errors import UserError


def test_the_syncnet_is_frozen_in_evaluation_mode_and_passes_gradients():
    expert = ExpertOptions(syncnet=SYNCNET).sync_expert()
    expert.train()
    assert not expert.network.training
    assert not any(each.requires_grad for each in expert.network.parameters())
    assert not list(expert.state_dict())
    faces = torch.rand(2, 5, 3, 48, 48, requires_grad=True)
    sync_logits(expert, faces, torch.randn(2, 80, 16)).sum().backward()
    assert faces.grad[..., 24:, :].abs().max() > 0


def test_it_stays_in_float32_under_autocast():
    expert = ExpertOptions(syncnet=SYNCNET).sync_expert()
    faces, mel = torch.rand(2, 5, 3, 48, 48), torch.randn(2, 80, 16)
    wanted = sync_logits(expert, faces, mel)
    with torch.autocast("cpu", torch.bfloat16):
        found = sync_logits(expert, faces, mel)
    assert found.dtype == torch.float32
    assert torch.equal(found, wanted)


def test_what_is_missing_is_told(tmp_path):
    with pytest.raises(UserError, match=r"lambda_sync=0"):
        ExpertOptions().sync_expert()
    with pytest.raises(UserError, match="no weights at"):
        ExpertOptions(syncnet=str(tmp_path / "none.safetensors")).sync_expert()
    with pytest.raises(UserError, match="no weights at"):
        ExpertOptions(perceptual_weights=str(tmp_path / "none.pth")).perceptual_distance((16, 16))


def test_the_small_distance_needs_no_weights():
    distance = ExpertOptions(perceptual="small").perceptual_distance((16, 16))
    assert isinstance(distance.network, SmallDistance)
    assert distance(torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16)).shape == (2,)


@pytest.mark.parametrize(("perceptual", "least"), [("small", 8), ("vgg", 16), ("alex", 31)])
def test_a_region_that_is_too_small_for_the_perceptual_loss_is_told(perceptual, least):
    with pytest.raises(UserError, match=rf"{least} pixels or more.*40 x {least - 1}"):
        ExpertOptions(perceptual=perceptual).perceptual_distance((least - 1, 40))
