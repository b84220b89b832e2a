import pytest
import torch
from safetensors.torch import save_file

from lightning_modules.supervision.dense_contrastive import DenseContrastive
from lightning_modules.supervision.dino import DINO
from lightning_modules.supervision.vit import MEAN, STD, TrainableViT
from networks.vit_features import ViTFeatures
from tests.helpers.tiny_vit import MODEL, TINY


@pytest.mark.parametrize(("height", "width"), [(32, 32), (16, 48)])
def test_shapes(height, width):
    class_token, patches = TrainableViT(MODEL, TINY)(torch.rand(2, 3, height, width))
    assert class_token.shape == (2, 16)
    assert patches.shape == (2, 16, height // 8, width // 8)


def test_the_grid_has_its_rows_along_the_height():
    network = TrainableViT(MODEL, TINY | {"depth": 0, "pos_embed": "none"}).eval()
    images = torch.rand(1, 3, 16, 48)
    patches = network(images)[1]
    shown = images[..., 8:16, 16:24]  # second row, third column
    torch.testing.assert_close(network(shown)[1][..., 0, 0], patches[..., 1, 2])


@pytest.mark.parametrize("method", [DenseContrastive, DINO])
def test_the_backbone_that_is_kept_is_the_one_that_was_trained(method, tmp_path):
    module = method(MODEL, TINY).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    save_file(module.backbone_state(), tmp_path / "backbone.safetensors")
    kept = ViTFeatures(
        MODEL, str(tmp_path / "backbone.safetensors"), facet="token", model_args=TINY, mean=list(MEAN), std=list(STD)
    )
    images = torch.rand(2, 3, 32, 32)
    network = module.teacher if method is DINO else module.network
    with torch.no_grad():
        wanted = network.vit.norm(kept(images).flatten(2).transpose(1, 2)).transpose(1, 2).unflatten(2, (4, 4))
        torch.testing.assert_close(network(images)[1], wanted)
