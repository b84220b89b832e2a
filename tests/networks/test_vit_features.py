import math

import pytest
import timm
import torch
from timm.layers import resample_abs_pos_embed
from torch import nn
from torch.nn import functional as F

from networks.position_tables import resize_positions_official, resize_positions_timm
from networks.vit_features import ViTFeatures
from tests.helpers.timm_families import PLAIN_FAMILIES, SMALLEST, WITHOUT_FACETS, few_blocks
from tests.helpers.tiny_vit import TINY_64
from visionscapes.errors import UserError

PLAIN = ("vit_tiny_patch16_224", {**TINY_64, "patch_size": 8})
REGISTERS = ("vit_small_patch14_reg4_dinov2", {**TINY_64, "img_size": 56})
ROTARY = ("vit_small_patch16_dinov3", TINY_64)
# One of every family that timm builds differently: prefix tokens, norms, biases and positions.
FAMILIES = {
    "plain": PLAIN,
    "registers, patch 14": REGISTERS,
    "distilled": ("deit_tiny_distilled_patch16_224", TINY_64),
    "norm before, no bias": ("vit_base_patch16_clip_224", TINY_64),
    "no class token": ("vit_base_patch16_siglip_224", TINY_64),
    "rotary": ROTARY,
    "rotary, fused projection": ("eva02_base_patch14_224", {**TINY_64, "img_size": 56}),
    "fewer keys than queries": ("vit_base_patch16_sapiens2", {**TINY_64, "num_heads": 4, "num_kv_heads": (4, 2)}),
    "relative, one size": ("beit_base_patch16_224", TINY_64),
    "no tokens but patches": ("samvit_base_patch16", {**TINY_64, "window_size": 0}),
}
NATIVE_SIZE_ONLY = ("distilled", "relative, one size", "no tokens but patches")  # in timm's own forward pass


def features(model=PLAIN, seed=0, **options) -> ViTFeatures:
    torch.manual_seed(seed)
    net = ViTFeatures(model[0], weights=None, model_args=dict(model[1]), **options)
    for name, parameter in net.named_parameters():  # zero-initialised biases and scales would hide mistakes
        if parameter.ndim < 2 or "token" in name or "pos_embed" in name:
            nn.init.normal_(parameter, mean=float("norm" in name and name.endswith("weight")), std=0.2)
    return net


def picture(height=64, width=64, batch=2) -> torch.Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(height * 1000 + width))


def cubic_matrix(cells: int, wanted: int, scale: float) -> torch.Tensor:
    """Cubic convolution with a = -0.75 as a (wanted, cells) matrix; sample i lies at (i + 0.5) / scale - 0.5."""

    def kernel(t, a=-0.75):
        t = abs(t)
        if t <= 1:
            return (a + 2) * t**3 - (a + 3) * t**2 + 1
        return a * (t**3 - 5 * t**2 + 8 * t - 4) if t < 2 else 0.0

    matrix = torch.zeros(wanted, cells, dtype=torch.float64)
    for i in range(wanted):
        position = (i + 0.5) / scale - 0.5
        for j in range(math.floor(position) - 1, math.floor(position) + 3):
            matrix[i, min(max(j, 0), cells - 1)] += kernel(position - j)
    return matrix


def naive_facets(net: ViTFeatures, image: torch.Tensor, h: int, w: int) -> dict[str, torch.Tensor]:
    """Facets of the last block of a plain ViT as the official extractor gets them: whole passes, explicit softmax,
    a hook that keeps the projection, (B, heads, N, d) turned into channels with the head fastest."""
    vit, p = net.vit, net.patch_size
    x = (image - net.mean) / net.std
    embed = vit.patch_embed.proj
    patches = F.unfold(x, p, stride=net.stride).transpose(1, 2) @ embed.weight.flatten(1).T + embed.bias
    side = int(math.sqrt(vit.pos_embed.shape[1] - 1))
    table = vit.pos_embed[0, 1:].view(side, side, -1).double()
    if (h, w) != (side, side):
        rows, columns = (cubic_matrix(side, n, (n + 0.1) / side) for n in (h, w))
        table = torch.einsum("is,jt,stc->ijc", rows, columns, table)
    patches = patches + table.flatten(0, 1).float()
    x = torch.cat([(vit.cls_token + vit.pos_embed[:, :1]).expand(len(x), -1, -1), patches], 1)
    for block in vit.blocks:
        attention = block.attn
        qkv = attention.qkv(block.norm1(x)).unflatten(2, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
        weights = (qkv[0] @ qkv[1].transpose(2, 3) / math.sqrt(qkv.shape[-1])).softmax(-1)
        x = x + attention.proj((weights @ qkv[2]).transpose(1, 2).flatten(2))
        x = x + block.mlp(block.norm2(x))
    facets = {
        name: qkv[k].permute(0, 2, 3, 1).flatten(2)[:, 1:] for k, name in enumerate(("query", "key", "value"))
    } | {"token": x[:, 1:]}
    return {name: value.transpose(1, 2).unflatten(2, (h, w)) for name, value in facets.items()}


@pytest.mark.parametrize("facet", ["key", "query", "value", "token"])
@pytest.mark.parametrize(
    ("size", "stride"), [((64, 64), 8), ((48, 80), 8), ((70, 61), 8), ((64, 64), 4), ((40, 51), 3)]
)
def test_equals_naive_vit(facet, size, stride):
    net, image = features(facet=facet, stride=stride), picture(*size)
    h, w = net.grid(*size)
    assert (h, w) == ((size[0] - 8) // stride + 1, (size[1] - 8) // stride + 1)
    torch.testing.assert_close(net(image), naive_facets(net, image, h, w)[facet], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_tokens_equal_timm(family):
    """Every layer's tokens are those of timm's own forward pass."""
    name, args = FAMILIES[family]
    size = args["img_size"] + 16 * (family not in NATIVE_SIZE_ONLY)
    image = picture(size, size)
    for layer in range(args["depth"]):
        net = features((name, args), facet="token", layer=layer, position_embedding="timm")
        p = net.patch_size
        cut = image[..., : image.shape[-2] // p * p, : image.shape[-1] // p * p]
        expected = net.vit.forward_intermediates(net.normalise(cut), indices=[layer], intermediates_only=True)[0]
        torch.testing.assert_close(net(image), expected, atol=1e-5, rtol=1e-4)
        assert net(image).shape == (2, net.dim, cut.shape[-2] // p, cut.shape[-1] // p)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("facet", ["query", "key", "value"])
def test_facets_equal_hook_in_timm(family, facet):
    """The projection is what timm's attention computes in its own forward pass, with the head fastest."""
    net = features(FAMILIES[family], facet=facet)
    size = FAMILIES[family][1]["img_size"]
    image, seen = picture(size, size), []
    attention = net.vit.blocks[-1].attn
    attention.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    net.vit.forward_features(net.normalise(image))
    tokens = seen[0].flatten(1, -2)
    if getattr(attention, "qkv", None) is None:
        projection = getattr(attention, f"{facet[0]}_proj")(tokens)
    else:
        bias = attention.qkv.bias
        if bias is None and getattr(attention, "q_bias", None) is not None:
            bias = torch.cat([attention.q_bias, torch.zeros_like(attention.q_bias), attention.v_bias])
        projection = F.linear(tokens, attention.qkv.weight, bias).chunk(3, -1)[("query", "key", "value").index(facet)]
    prefix = getattr(net.vit, "num_prefix_tokens", 0)
    h, w = net.grid(size, size)
    expected = projection[:, prefix:].transpose(1, 2).unflatten(2, (h, w))
    heads = attention.num_heads if facet == "query" else getattr(attention, "num_kv_heads", attention.num_heads)
    assert net.dim == net(image).shape[1] == expected.shape[1]
    ours = net(image).unflatten(1, (-1, heads)).transpose(1, 2).flatten(1, 2)  # back to timm's d-fastest order
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("grid", [(7, 7), (14, 14), (28, 28), (5, 11), (15, 9)])
def test_official_positions_follow_dinos_formula(grid):
    table = torch.randn(1, 6, 14, 14, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    resized = resize_positions_official(table, *grid)
    if grid == (14, 14):
        assert resized is table
        return
    rows, columns = (cubic_matrix(14, n, (n + 0.1) / 14) for n in grid)
    torch.testing.assert_close(resized[0], torch.einsum("is,jt,cst->cij", rows, columns, table[0]), atol=1e-9, rtol=0)
    unshifted = F.interpolate(table, size=grid, mode="bicubic", align_corners=False)
    assert (resized - unshifted).abs().max() > 1e-3  # the offset of 0.1 matters


@pytest.mark.parametrize("grid", [(7, 7), (14, 14), (20, 31)])
def test_timm_positions_equal_timm(grid):
    table = torch.randn(1, 6, 14, 14, generator=torch.Generator().manual_seed(1))
    expected = resample_abs_pos_embed(table.flatten(2).transpose(1, 2), list(grid), num_prefix_tokens=0)
    ours = resize_positions_timm(table, *grid).flatten(2).transpose(1, 2)
    torch.testing.assert_close(ours, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("model", [PLAIN, ROTARY], ids=["plain", "rotary"])
@pytest.mark.parametrize(("facet", "layer", "ran"), [("key", 3, [0, 1, 2]), ("key", 1, [0]), ("token", 1, [0, 1])])
def test_stops_at_the_layer_it_needs(model, facet, layer, ran):
    net = features((model[0], {**model[1], "depth": 4}), facet=facet, layer=layer)
    called: list[int] = []
    for k, block in enumerate(net.vit.blocks):
        block.register_forward_hook(lambda *_, k=k: called.append(k))
    net.vit.norm.register_forward_hook(lambda *_: pytest.fail("the final norm is not needed"))
    net(picture())
    assert called == ran


def test_unseen_border_has_no_influence():
    net, image = features(), picture(71, 69)
    torch.testing.assert_close(net(image), net(image[..., :64, :64]))


def test_frozen_and_in_evaluation_mode():
    net = features()
    assert not net.train().vit.training
    assert not any(parameter.requires_grad for parameter in net.parameters())


def test_normalisation_is_the_models_own_or_the_given_one():
    image = picture()
    imagenet = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    torch.testing.assert_close(features(("vit_small_patch16_224.dino", PLAIN[1])).mean, imagenet)
    given = features(mean=[0.1, 0.2, 0.3], std=[0.5, 0.6, 0.7]).normalise(image)
    torch.testing.assert_close(given[:, 2], (image[:, 2] - 0.3) / 0.7)


def test_small_vit_has_the_shapes_of_the_thesis():
    net = ViTFeatures("vit_small_patch16_224.dino", weights=None)
    assert sum(parameter.numel() for parameter in net.parameters()) == 21_665_664
    with torch.inference_mode():
        assert net(picture(224, 224, 1)).shape == (1, 384, 14, 14)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (("vit_smal_patch16_224", {}), {}, "similar ones: .*vit_small_patch16_224"),
        (("vit_small_patch16_224.nonsense", {}), {}, r"similar ones: .*vit_small_patch16_224\.dino"),
        (("resnet18", {}), {}, "not a plain vision transformer"),
        (("hiera_tiny_224", {"embed_dim": 24}), {}, "change from block to block.* such as vit_small_patch16_224"),
        (("crossvit_tiny_240", {}), {}, "not cut from the image"),
        (("vit_tiny_r_s16_p8_224", {}), {}, "not cut from the image"),
        (("vit_tiny_patch16_224", {"nonsense": 1}), {}, "nonsense"),
        (("vit_tiny_patch16_224", {**TINY_64, "num_heads": 5}), {}, "divisible"),
        (PLAIN, {"layer": 2}, "layer 2 .* 2 blocks, 0 to 1"),
        (PLAIN, {"layer": -3}, "layer -3"),
        (PLAIN, {"stride": 0}, "stride is 0"),
        (PLAIN, {"stride": 9}, "stride 9 .* from 1 to its patch size, 8"),
        (ROTARY, {"stride": 8}, "stride must be 16"),
        (ROTARY, {"layer": 0}, "from layer 1 on"),
        (("vit_base_patch16_rpn_224", TINY_64), {}, "facet: token"),
    ],
)
def test_wrong_settings_are_user_errors(model, options, message):
    with pytest.raises(UserError, match=message):
        ViTFeatures(model[0], weights=None, model_args=model[1], **options)


def test_wrong_image_sizes_are_user_errors():
    with pytest.raises(UserError, match="smaller than a patch"):
        features()(picture(64, 7))
    with pytest.raises(UserError, match=r"64x64 pixels only, not 80x64.*img_size"):
        features(FAMILIES["relative, one size"])(picture(64, 80))


def test_weights_that_cannot_be_fetched_are_a_user_error(monkeypatch):
    """Without a network the message names what to fetch and where to put it."""

    def no_network(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(timm, "create_model", no_network)
    with pytest.raises(UserError, match=r"timm/vit_small_patch16_224\.dino.*weights=<file>.*weights=None"):
        ViTFeatures("vit_small_patch16_224.dino")


def test_local_weights_give_the_same_features(tmp_path):
    trained = features()
    torch.save({"state_dict": {f"module.{k}": v for k, v in trained.vit.state_dict().items()}}, tmp_path / "vit.pth")
    loaded = ViTFeatures(PLAIN[0], str(tmp_path / "vit.pth"), model_args=PLAIN[1])
    assert torch.equal(trained(picture()), loaded(picture()))


def test_the_vit_of_a_detector(tmp_path):
    """Its features, from a checkpoint that has no final norm, and many other tensors."""
    trained = features(facet="token", position_embedding="timm")
    state = {f"detector.backbone.vit.{k}": v for k, v in trained.vit.state_dict().items() if not k.startswith("norm.")}
    others = {"detector.backbone.lift.out.bias": torch.zeros(2), "detector.neck.weight": torch.zeros(2)}
    torch.save({"state_dict": state | others}, tmp_path / "vitdet.ckpt")
    path = str(tmp_path / "vitdet.ckpt")
    loaded = ViTFeatures(PLAIN[0], path, facet="token", position_embedding="timm", model_args=PLAIN[1])
    assert torch.equal(trained(picture()), loaded(picture()))
    assert isinstance(loaded.vit.norm, torch.nn.Identity)
    torch.save(
        {"state_dict": {k.removeprefix("detector.backbone."): v for k, v in state.items()}}, tmp_path / "other.ckpt"
    )
    with pytest.raises(UserError, match=r"missing: norm\.bias, norm\.weight"):  # of what is no detector
        ViTFeatures(PLAIN[0], str(tmp_path / "other.ckpt"), model_args=PLAIN[1])


QUICK = ["test_vit", "test_vit_relpos", "deit_tiny_distilled_patch16_224", "vit_dwee_patch16_reg1_gap_256"]


def check_cells_are_their_patches(model: str, facet: str) -> None:
    """New pixels in one patch change the features of its own cell most, in the corners and in the middle."""
    torch.manual_seed(0)
    few = few_blocks(model)
    net = ViTFeatures(model, None, facet=facet, model_args=few)
    p = net.patch_size
    if net.fixed_size and max(net.fixed_size) > 300:
        net = ViTFeatures(model, None, facet=facet, model_args={**few, "img_size": (4 * p, 5 * p)})
    height, width = net.fixed_size or (4 * p + 3, 5 * p)
    h, w = net.grid(height, width)
    assert (h, w) == (height // p, width // p)
    places = [(0, w - 1), (h // 2, w // 2), (h - 1, 0)]
    images = picture(height, width, 1).repeat(1 + len(places), 1, 1, 1)
    for image, (row, column) in zip(images[1:], places, strict=True):
        patch = image[:, row * p : (row + 1) * p, column * p : (column + 1) * p]
        patch.copy_(torch.rand(patch.shape, generator=torch.Generator().manual_seed(1)))
    with torch.inference_mode():
        found = net(images)
    assert found.shape == (len(images), net.dim, h, w)
    for changed, (row, column) in zip(found[1:], places, strict=True):
        assert int((changed - found[0]).norm(dim=0).argmax()) == row * w + column


@pytest.mark.parametrize("facet", ["key", "token"])
@pytest.mark.parametrize(
    "model",
    [
        model if model in QUICK else pytest.param(model, marks=pytest.mark.slow)
        for family in PLAIN_FAMILIES
        for model in SMALLEST[family]
    ],
)
def test_plain_families_have_a_cell_for_every_patch(model, facet):
    if facet == "key" and model in WITHOUT_FACETS:
        with pytest.raises(UserError, match="no attention facets here; use facet: token"):
            ViTFeatures(model, None, model_args={"depth": 3})
    else:
        check_cells_are_their_patches(model, facet)


@pytest.mark.parametrize(
    "family",
    [
        family if family in ("pit", "crossvit", "hiera") else pytest.param(family, marks=pytest.mark.slow)
        for family in timm.list_modules()
        if family not in PLAIN_FAMILIES
    ],
)
def test_every_other_family_says_in_one_line_what_it_lacks(family):
    for model in SMALLEST.get(family) or timm.list_models(module=family)[:1]:
        with pytest.raises(UserError) as told:
            ViTFeatures(model, None, facet="token")
        assert f"'{model}' is not a plain vision transformer: " in str(told.value)
        assert "such as vit_small_patch16_224" in str(told.value)
        assert "\n" not in str(told.value)
