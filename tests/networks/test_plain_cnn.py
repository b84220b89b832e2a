import pytest
import torch

from networks.plain_cnn import PlainCNN
from networks.timm_backbones import create_backbone
from visionscapes.errors import UserError


def test_the_plain_network_sees_every_pixel_and_halves_from_then_on():
    model = PlainCNN((4, 6, 8))
    sizes = []
    for layer in model.layers:
        layer.register_forward_hook(lambda module, inputs, output: sizes.append(tuple(output.shape[1:])))
    model(torch.rand(1, 3, 16, 16))
    assert sizes == [(4, 16, 16), (6, 8, 8), (8, 4, 4)]
    assert [info["reduction"] for info in model.feature_info] == [1, 2, 4]


@pytest.mark.parametrize("options", [{"weights": "timm"}, {"num_classes": 3}])
def test_what_the_plain_network_does_not_have(options):
    weights = options.pop("weights", None)
    if weights:
        with pytest.raises(UserError, match="cannot fetch"):
            create_backbone("plain_cnn", weights, options)
    else:
        import timm

        with pytest.raises(ValueError, match="no classifier"):
            timm.create_model("plain_cnn", num_classes=3)
