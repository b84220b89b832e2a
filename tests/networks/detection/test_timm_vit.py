"""A plain ViT of timm as a backbone; what it gives behind a pyramid is tested in test_vit_pyramid.py."""

import pytest
import timm
import torch

from networks.detection.build import setup_mmdet
from networks.lift_block import Lifted
from networks.vit_features import ViTFeatures
from tests.helpers.timm_families import PLAIN_FAMILIES, SMALLEST, few_blocks
from tests.helpers.tiny_vit import TINY_DETECTOR as VIT
from visionscapes.errors import UserError


@pytest.fixture
def timm_vit():
    setup_mmdet()
    from networks.detection.timm_vit import TimmViT

    return TimmViT


@pytest.mark.parametrize("size", [(64, 64), (48, 96)])
def test_features_are_those_that_lift_is_trained_on(timm_vit, size):
    torch.manual_seed(1)
    backbone = timm_vit(**VIT, lift={}).eval()
    features = ViTFeatures(**VIT, weights=None, facet="token", position_embedding="timm")
    features.vit.load_state_dict({**features.vit.state_dict(), **backbone.vit.state_dict()})
    images = torch.rand(2, 3, *size)
    with torch.no_grad():
        (lifted,) = backbone(features.normalise(images))
        assert lifted.shape == (2, 32, size[0] // 8, size[1] // 8)
        assert torch.allclose(lifted, Lifted(features, backbone.lift)(images), atol=1e-5)
        backbone.lift = None
        assert torch.allclose(backbone(features.normalise(images))[0], features(images), atol=1e-5)
    assert backbone.mean == tuple(features.mean.flatten().tolist())


def test_images_that_a_vit_cannot_take(timm_vit):
    with pytest.raises(UserError, match="90x64 pixels is no multiple of the ViT's patch of 16"):
        timm_vit(**VIT)(torch.zeros(1, 3, 64, 90))
    small = {"embed_dim": 24, "depth": 1, "num_heads": 2, "img_size": 64}
    beit = timm_vit("beit_base_patch16_224", model_args=small)
    assert beit(torch.zeros(1, 3, 64, 64))[0].shape == (1, 24, 4, 4)
    with pytest.raises(UserError, match="takes images of 64x64 pixels only, not 96x64"):
        beit(torch.zeros(1, 3, 64, 96))


def test_bilinear_enlargement_in_the_place_of_lift(timm_vit):
    torch.manual_seed(1)
    backbone = timm_vit(**VIT, lift="bilinear").eval()
    images = torch.rand(2, 3, 48, 64)
    with torch.no_grad():
        (enlarged,) = backbone(images)
        backbone.lift = None
        (plain,) = backbone(images)
    assert backbone.stride == 8
    assert enlarged.shape == (2, 32, 6, 8)
    # The centre of cell (2, 3) of the fine grid lies at (0.75, 1.25) of the coarse one.
    above, below = (0.75 * plain[..., row, 1] + 0.25 * plain[..., row, 2] for row in (0, 1))
    torch.testing.assert_close(enlarged[..., 2, 3], 0.25 * above + 0.75 * below)
    with pytest.raises(
        UserError, match=r"backbone\.lift is 'nearest': give options of a LiFT block, 'bilinear', or None"
    ):
        timm_vit(**VIT, lift="nearest")


def test_a_larger_lift(timm_vit):
    backbone = timm_vit(**VIT, lift={"stem": 8, "stem_blocks": 1}).eval()
    assert backbone.lift.stem[6].weight.shape == (8, 8, 3, 3)
    assert backbone(torch.rand(1, 3, 64, 64))[0].shape == (1, 32, 8, 8)


@pytest.mark.slow
@pytest.mark.parametrize("model", [model for family in PLAIN_FAMILIES for model in SMALLEST[family]])
def test_every_plain_family_of_timm_is_a_backbone(timm_vit, model):
    arguments = few_blocks(model)
    if max(timm.get_pretrained_cfg(model).input_size) > 300:
        arguments["img_size"] = 56 if "14" in model or "deepseek" in model else 64
    net = timm_vit(model, model_args=arguments).eval()
    patch, channels = net.patch_size, net.out_channels
    fixed = None if getattr(net.vit, "dynamic_img_size", False) else net.vit.patch_embed.img_size
    height, width = fixed or (2 * patch, 3 * patch)
    with torch.inference_mode():
        (found,) = net(torch.rand(1, 3, height, width))
    assert found.shape == (1, channels, height // patch, width // patch)


@pytest.mark.parametrize("model", ["hiera_tiny_224", "crossvit_tiny_240", "swin_tiny_patch4_window7_224"])
def test_other_families_are_refused(timm_vit, model):
    with pytest.raises(UserError, match=f"'{model}' is not a plain vision transformer"):
        timm_vit(model)
