import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from datamodules.images.people_world import blurred, render_people
from metrics.verification import Verification
from networks.identity import SmallIdentity, has_weights_of
from visionscapes.errors import UserError


def heads(count=3, side=64):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(side))


def test_embeddings_have_unit_length_at_any_size():
    network = SmallIdentity(weights=None).eval()
    for side in (32, 64, 100):
        embeddings = network(heads(side=side))
        assert embeddings.shape == (3, 128)
        assert embeddings.norm(dim=1).tolist() == pytest.approx([1] * 3)
    enlarged = nn.functional.interpolate(heads(), scale_factor=3)
    torch.testing.assert_close(network(enlarged), network(heads()), atol=0.02, rtol=0)


def test_the_weights_tell_held_out_people_apart_and_see_through_blur():
    network, metric, blurry = SmallIdentity(), Verification(), Verification()
    images = render_people(424242, 24, 4).flatten(0, 1).float() / 255
    people = torch.arange(24).repeat_interleave(4)
    metric.update(network(images), people)
    blurry.update(network(torch.stack([blurred(each, 2) for each in images])), people)
    found = metric.compute()
    assert found["AUC"] > 0.99
    assert found["same"] > 0.85
    assert abs(found["other"]) < 0.1
    assert blurry.compute()["AUC"] > 0.98


def test_weights_of_something_else_are_refused(tmp_path):
    save_file({"layers.0.0.weight": torch.zeros(2, 3)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match=r"does not fit SmallIdentity.*FaceIdentity"):
        SmallIdentity(str(tmp_path / "other.safetensors"))


def test_loaded_weights_are_frozen(tmp_path):
    save_file(SmallIdentity(weights=None).state_dict(), tmp_path / "identity.safetensors")
    network = SmallIdentity(str(tmp_path / "identity.safetensors"))
    assert not network.training
    assert not any(each.requires_grad for each in network.parameters())


def test_a_module_with_the_same_weights_is_recognised():
    embedder, other = SmallIdentity(weights=None), SmallIdentity(weights=None)
    holder = nn.Sequential(nn.Linear(2, 2), embedder)
    assert has_weights_of(holder, embedder)
    assert not has_weights_of(nn.Sequential(other), embedder)
    other.load_state_dict(embedder.state_dict())
    assert has_weights_of(nn.Sequential(other), embedder)
    assert not has_weights_of(nn.Sequential(other), nn.Identity())
