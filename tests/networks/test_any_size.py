import pytest
import torch
from timm import create_model
from torch import nn

from networks.any_size import prepare_vit, top_left, with_only, with_same_weights
from networks.position_tables import CentredRotary


@pytest.mark.parametrize(("height", "width"), [(5, 3), (7, 9)])
def test_the_upper_left_part_is_a_copy(height, width):
    images = torch.rand(2, 3, 7, 9)
    part = top_left(images, height, width)
    assert torch.equal(part, images[..., :height, :width])
    assert part.is_contiguous()
    part.zero_()
    assert images.min() > 0


def test_a_copy_shares_weights_and_buffers():
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    copied = with_same_weights(network)
    assert copied[0] is not network[0]
    assert copied[0].weight is network[0].weight
    assert copied[1].running_mean is network[1].running_mean


def test_a_network_with_some_of_its_parts():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.ModuleDict({"a": nn.Linear(1, 1), "b": nn.Linear(1, 1)})
            self.outer, self.nothing = nn.Linear(1, 1), None
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, x):
            return self.scale * self.inner["a"](x)

    network = Two()
    part = with_only(network, "inner.a", "nothing")
    assert {name for name, _ in part.named_parameters()} == {"scale", "inner.a.weight", "inner.a.bias"}
    assert part.inner["a"] is network.inner["a"]
    assert torch.equal(part(torch.ones(1, 1)), network(torch.ones(1, 1)))
    assert len(list(network.parameters())) == 7, "the network itself keeps them all"


def test_a_vit_with_rotary_positions_is_prepared():
    small = {"img_size": 32, "embed_dim": 32, "depth": 1, "num_heads": 2, "num_classes": 0}
    vit = create_model("vit_small_patch16_dinov3", dynamic_img_size=True, **small).eval()
    images = torch.rand(1, 3, 48, 64)
    with torch.no_grad():
        before = vit(images)
        prepare_vit(vit)
        assert isinstance(vit.rope, CentredRotary)
        torch.testing.assert_close(vit(images), before)
