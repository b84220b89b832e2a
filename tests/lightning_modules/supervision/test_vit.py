import pytest
import torch
from safetensors.torch import save_file

from lightning_modules.supervision.dense_contrastive import DenseContrastive
from lightning_modules.supervision.dino import DINO
from lightning_modules.supervision.vit import MEAN, STD, TrainableViT, fix_positions, require_native_size
from networks.vit_features import ViTFeatures, create_vit
from tests.helpers.tiny_vit import MODEL, TINY
from visionscapes.errors import UserError


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


def test_where_cells_lie_is_known_but_for_pictures_that_are_resized():
    module = DINO(MODEL, TINY)
    images = torch.zeros(1, 3, 37, 35)
    images[..., 32:, :], images[..., 32:] = 1, 1  # of no whole patch, and in no cell
    blank = torch.zeros(1, 3, 37, 35)
    with torch.no_grad():
        tokens = module.eval().predict_step({"image": images}, 0)
        assert torch.equal(tokens, module.predict_step({"image": blank}, 0))
    assert tokens.shape[-2:] == (4, 4)
    assert [module.cells().edge(cell) for cell in (0, 4)] == [0, 32]
    assert DINO("beit_base_patch16_224", {**TINY, "patch_size": 8}).cells() is None


def test_fixed_positions_are_waves_of_row_and_column():
    vit = create_vit(MODEL, None, TINY | {"embed_dim": 8})
    fix_positions(vit)
    assert not vit.pos_embed.requires_grad
    token, *patches = vit.pos_embed[0].unbind()
    assert not token.any()
    halves = torch.stack(patches).unflatten(0, (4, 4)).split(4, 2)  # one half tells the column, the other the row
    across = next(half for half in halves if not torch.equal(half[0, 0], half[0, 1]))
    place = torch.arange(4.0)
    waves = torch.stack([place.sin(), (place / 100).sin(), place.cos(), (place / 100).cos()], 1)
    torch.testing.assert_close(across[0], waves)
    assert torch.equal(across[0], across[3])
    other = next(half for half in halves if half is not across)
    torch.testing.assert_close(other[:, 0], waves)


@pytest.mark.parametrize(
    "change", [{"embed_dim": 18}, {"embed_dim": 10}, {"img_size": (32, 16)}, {"pos_embed": "none"}]
)
def test_fixed_positions_need_a_table_of_a_square_and_a_multiple_of_four(change):
    with pytest.raises(UserError, match="a multiple of 4"):
        fix_positions(create_vit(MODEL, None, TINY | change))


def test_images_of_another_size_than_the_vit_is_built_for_are_refused():
    vit = create_vit(MODEL, None, TINY | {"img_size": (32, 16)})
    require_native_size(vit, torch.zeros(1, 3, 32, 16))
    with pytest.raises(UserError, match="built for images of 16x32 pixels, not 32x16"):
        require_native_size(vit, torch.zeros(1, 3, 16, 32))
