import copy
from typing import Any

import pytest
import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from networks.vit_layers import BlockView, LayeredViT, RandomFeatures
from tests.helpers.timm_families import PLAIN_FAMILIES, SMALLEST, few_blocks
from visionscapes.errors import UserError

SMALL = {"img_size": 32, "embed_dim": 48, "depth": 3, "num_heads": 4}
PLAIN = {"patch_size": 8, **SMALL}
ARCHITECTURES: dict[str, tuple[str, dict[str, Any], int]] = {  # model, arguments, number of prefix tokens
    "plain": ("vit_tiny_patch16_224", PLAIN, 1),
    "layer scale": ("deit3_small_patch16_224", PLAIN, 1),
    "registers": ("vit_small_patch14_reg4_dinov2", {**SMALL, "img_size": 28}, 5),
    "distilled": ("deit_tiny_distilled_patch16_224", PLAIN, 2),
    "clip": ("vit_base_patch16_clip_quickgelu_224", PLAIN, 1),
    "beit": ("beit_base_patch16_224", PLAIN, 1),
    "beit, shared bias": (
        "beit_base_patch16_224",
        {**PLAIN, "use_shared_rel_pos_bias": True, "use_rel_pos_bias": False},
        1,
    ),
    "rotary": ("eva02_tiny_patch14_224", {**SMALL, "img_size": 28}, 1),
    "dinov3": ("vit_small_patch16_dinov3", {**SMALL, "img_size": 32}, 5),
}


def layered(name: str = "plain") -> LayeredViT:
    torch.manual_seed(0)
    model, arguments, _ = ARCHITECTURES[name]
    vit = LayeredViT(model, None, arguments)
    for parameter in vit.parameters():  # zeros of layer scale or position tables would hide mistakes
        parameter.data.add_(0.02 * torch.randn_like(parameter))
    return vit


def pictures(vit: LayeredViT, count: int = 2) -> Tensor:
    return torch.rand(count, 3, vit.image_size, vit.image_size, generator=torch.Generator().manual_seed(1))


def views(vit: LayeredViT, images: Tensor, attention: bool = True) -> list[BlockView]:
    found: list[BlockView] = []
    vit.visit(images, [found.append], attention)
    return found


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_block_is_seen_as_the_model_computes_it(name: str) -> None:
    vit = layered(name)
    images, prefix = pictures(vit), ARCHITECTURES[name][2]
    found = views(vit, images)
    assert [view.layer for view in found] == [0, 1, 2]
    cells = vit.grid[0] * vit.grid[1]
    for before, view in zip([None, *found], found, strict=False):
        assert view.prefix == prefix
        assert view.tokens.shape == (2, prefix + cells, 48)
        assert view.cls.shape == (2, 48)
        assert view.patches.shape == (2, cells, 48)
        assert view.attention is not None
        assert view.attention.shape == (2, 4, prefix + cells, prefix + cells)
        assert torch.allclose(view.attention.sum(-1), torch.ones(()), atol=1e-5)
        parts = view.parts
        assert torch.allclose(parts["attention_skip"] + parts["attention_branch"], parts["mlp_skip"], atol=1e-6)
        assert torch.allclose(parts["mlp_skip"] + parts["mlp_branch"], view.tokens, atol=1e-6)
        if before is not None:
            assert torch.equal(parts["attention_skip"], before.tokens)
    block = vit.vit.blocks[1]
    assert torch.equal(found[1].parts["norm1"], block.norm1(found[0].tokens))
    assert torch.equal(found[1].parts["norm2"], block.norm2(found[1].parts["mlp_skip"]))


@pytest.mark.parametrize("name", ["plain", "beit", "registers"])
def test_tokens_equal_those_of_timm(name: str) -> None:
    vit = layered(name)
    images = pictures(vit)
    expected = vit.vit.forward_intermediates(
        (images - vit.mean) / vit.std, norm=False, return_prefix_tokens=True, intermediates_only=True
    )
    for view, (maps, prefix) in zip(views(vit, images, attention=False), expected, strict=True):
        assert torch.allclose(view.patches, maps.flatten(2).transpose(1, 2), atol=1e-6)
        assert torch.allclose(view.tokens[:, : view.prefix], prefix, atol=1e-6)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_fused_attention_on_and_off_gives_the_same(name: str) -> None:
    vit = layered(name)
    images = pictures(vit)
    for fused, formed in zip(views(vit, images, attention=False), views(vit, images), strict=True):
        assert fused.attention is None
        assert torch.allclose(fused.tokens, formed.tokens, atol=1e-5)


def test_the_model_is_left_as_it_was_even_after_an_error() -> None:
    vit = layered()
    images, before = pictures(vit), copy.deepcopy(vit.state_dict())
    expected = vit.vit(images)
    flags = [block.attn.fused_attn for block in vit.vit.blocks]
    assert any(flags)
    views(vit, images)

    def fail(view: BlockView) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        vit.visit(images, [fail], attention=True)
    assert not any(module._forward_hooks for module in vit.vit.modules())
    assert [block.attn.fused_attn for block in vit.vit.blocks] == flags
    assert all(torch.equal(tensor, before[name]) for name, tensor in vit.state_dict().items())
    assert torch.equal(vit.vit(images), expected)
    assert not vit.train().vit.training


def test_several_observers_share_one_pass() -> None:
    vit, calls = layered(), []
    vit.vit.blocks[0].register_forward_hook(lambda *_: calls.append("pass"))
    vit.visit(pictures(vit), [lambda view: calls.append(f"a{view.layer}"), lambda view: calls.append(f"b{view.layer}")])
    assert calls == ["pass", "a0", "b0", "a1", "b1", "a2", "b2"]


def test_all_layers_are_dense_features_and_larger_pictures_are_tiled() -> None:
    vit = layered()
    images = torch.rand(2, 3, 64, 87)
    maps = vit(images)
    assert {name: tuple(each.shape) for name, each in maps.items()} == {str(n): (2, 48, 8, 10) for n in (1, 2, 3)}
    resized = torch.nn.functional.interpolate(images, (64, 80), mode="bicubic", antialias=True).clamp(0, 1)
    corner = views(vit, resized[:, :, 32:, :32])[2].patches
    assert torch.allclose(maps["3"][:, :, 4:, :4].flatten(2).transpose(1, 2), corner, atol=1e-5)
    with pytest.raises(UserError, match="smaller than the tile"):
        vit(torch.rand(1, 3, 24, 40))


def test_pictures_of_another_size_come_at_the_models_own() -> None:
    model, arguments, _ = ARCHITECTURES["plain"]
    vit = LayeredViT(model, None, arguments, data_size=16)
    assert views(vit, torch.rand(1, 3, 16, 16))[0].tokens.shape[1] == 1 + 16
    assert vit(torch.rand(1, 3, 32, 32))["1"].shape == (1, 48, 8, 8)
    with pytest.raises(UserError, match="16x16 pixels, not 20x20"):
        vit.visit(torch.rand(1, 3, 20, 20), [])


def test_another_size_of_the_model_resizes_its_positions() -> None:
    model, arguments, _ = ARCHITECTURES["plain"]
    assert LayeredViT(model, None, arguments, image_size=48)(torch.rand(1, 3, 48, 48))["3"].shape == (1, 48, 6, 6)
    with pytest.raises(UserError, match="no multiple of its patch"):
        LayeredViT(model, None, arguments, image_size=30)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("resnet18", "no plain|not a plain"),
        ("swin_tiny_patch4_window7_224", "not a plain"),
        ("vit_base_patch16_siglip_224", "no class token"),
        ("cait_xxs24_224", "LayerScaleBlock"),
    ],
)
def test_what_cannot_be_analysed_is_refused(model: str, message: str) -> None:
    assert timm.is_model(model)
    with pytest.raises(UserError, match=message):
        LayeredViT(model, None)


def test_features_that_are_no_numbers_are_refused_at_the_layer_they_come_from() -> None:
    vit = layered()
    vit.vit.blocks[1].mlp.fc2.bias.data[5] = torch.nan
    with pytest.raises(UserError, match=r"layer 2 of 'vit_tiny_patch16_224' with random weights .* 2 of 2 images"):
        views(vit, pictures(vit), attention=False)


WITHOUT_ANALYSIS = {  # why
    "no class token": [
        "deepseek_vit_412m_enc",
        "qwen3_vit_88m_enc",
        "samvit_base_patch16",
        "samvit_base_patch16_224",
        "test_vit2",
        "test_vit_relpos",
        "vit_base_patch16_rpn_224",
        "vit_base_patch16_siglip_224",
        "vit_betwixt_patch16_rope_reg4_gap_256",
        "vit_dpwee_patch16_reg1_gap_256",
        "vit_dwee_patch16_reg1_gap_256",
        "vit_medium_patch16_rope_reg1_gap_256",
        "vit_pwee_patch16_reg1_gap_256",
        "vit_relpos_small_patch16_rpn_224",
    ],
    "blocks of the kind": [
        "cait_xxs24_224",
        "convit_tiny",
        "eva02_enormous_patch14_clip_224",
        "vit_base_patch16_xp_224",
        "vit_small_patch16_18x2_224",
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize("model", [model for family in PLAIN_FAMILIES for model in SMALLEST[family]])
def test_every_plain_family_of_timm_is_looked_into_or_says_why_not(model: str) -> None:
    arguments = few_blocks(model)
    if max(timm.get_pretrained_cfg(model).input_size) > 300:  # type: ignore[union-attr]
        arguments["img_size"] = 56 if "14" in model or "deepseek" in model else 64
    reason = next((reason for reason, models in WITHOUT_ANALYSIS.items() if model in models), None)
    if reason is not None:
        with pytest.raises(UserError, match=f"'{model}' has .*{reason}"):
            LayeredViT(model, None, arguments)
        return
    vit = LayeredViT(model, None, arguments)
    last = views(vit, pictures(vit, 1))[-1]
    assert last.grid == (vit.image_size // vit.patch_size,) * 2
    tokens = last.prefix + last.grid[0] * last.grid[1]
    assert last.tokens.shape == (1, tokens, vit.dim)
    assert last.attention is not None
    assert last.attention.shape[-2:] == (tokens, tokens)


def test_weights_of_another_patch_size_are_refused(tmp_path) -> None:
    other = timm.create_model("vit_tiny_patch16_224", num_classes=0, **{**PLAIN, "patch_size": 16})
    assert isinstance(other, VisionTransformer)
    torch.save(other.state_dict(), tmp_path / "other.pth")
    with pytest.raises(UserError, match=r"other shapes: patch_embed|other shapes: pos_embed"):
        LayeredViT("vit_tiny_patch16_224", str(tmp_path / "other.pth"), PLAIN)


@pytest.mark.parametrize("uniform", [False, True])
def test_noise_depends_on_the_picture_alone(uniform: bool) -> None:
    noise = RandomFeatures(16, 8, 32, uniform=uniform)
    images = torch.rand(3, 3, 32, 32)

    def tokens(pictures: Tensor) -> Tensor:
        found: list[BlockView] = []
        noise.visit(pictures, [found.append])
        (view,) = found
        assert view.attention is None
        return view.tokens

    alone = torch.cat([tokens(image[None]) for image in images])
    assert torch.equal(tokens(images), alone)
    assert alone.shape == (3, 17, 16)
    assert abs(float(alone.mean()) - 0.5 * uniform) < 0.1
    assert not torch.allclose(alone[0], alone[1])
    assert noise(torch.rand(1, 3, 64, 48))["1"].shape == (1, 16, 8, 6)
