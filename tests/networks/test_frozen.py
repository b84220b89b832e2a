import pytest
import torch
from torch import nn

from lightning_modules.lift.module import LiFT
from networks.dense import AtLargerImage, Upsampled
from networks.frozen import Frozen, HasFrozenFeatures, remembering
from networks.vit_features import ViTFeatures
from tests.helpers.tiny_vit import MODEL, TINY


def vit(seed=0, model_args=TINY, **options):
    torch.manual_seed(seed)
    return ViTFeatures(MODEL, weights=None, model_args=model_args, **options)


def digest(network, *settings):
    return Frozen(network, (network,), settings).digest()


def test_equal_networks_have_equal_digests():
    assert digest(vit(), "antialias") == digest(vit(), "antialias")


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"layer": 0},
        {"facet": "value"},
        {"stride": 4},
        {"mean": [0.0, 0.0, 0.0]},
        {"position_embedding": "timm"},
        {"model_args": TINY | {"num_heads": 4}},  # the weights are the same
    ],
    ids=str,
)
def test_whatever_shapes_the_features_changes_the_digest(other):
    assert digest(vit(**other)) != digest(vit())


def test_one_bit_of_the_weights_and_the_settings_count():
    changed = vit()
    with torch.no_grad():
        weight = changed.vit.blocks[0].mlp.fc1.weight
        weight[0, 0] = torch.nextafter(weight[0, 0], torch.tensor(9.0))
    assert digest(changed) != digest(vit())
    assert digest(vit(), "decimate") != digest(vit(), "antialias")


def test_which_modules_have_frozen_features():
    assert isinstance(LiFT(vit()), HasFrozenFeatures)
    assert not isinstance(nn.Linear(1, 1), HasFrozenFeatures)


def test_images_that_were_just_seen_are_answered_from_memory(monkeypatch):
    network, passes = vit(), []
    once = ViTFeatures.forward
    monkeypatch.setattr(ViTFeatures, "forward", lambda self, images: passes.append(images) or once(self, images))
    images = torch.rand(2, 3, 32, 32)
    wanted = [net(images) for net in (network, Upsampled(network), AtLargerImage(network))]
    passes.clear()
    with remembering([network]):
        # The same pixels in another tensor are the same images; a changed one is not.
        for net, expected in zip((network, Upsampled(network), AtLargerImage(network)), wanted, strict=True):
            assert torch.equal(net(images.clone()), expected)
        assert len(passes) == 2
        network(images + 1e-6)
        network(images[:1])
        assert len(passes) == 4
        for side in (16, 24, 40, 48):
            network(torch.rand(1, 3, side, side))
        network(images)
        assert len(passes) == 9  # forgotten, for memory is small
    network(images)
    network(images)
    assert len(passes) == 11
    assert "forward" not in vars(network)


def test_networks_forget_after_an_error():
    network = vit()
    with pytest.raises(KeyError), remembering([network]):
        raise KeyError
    assert "forward" not in vars(network)
