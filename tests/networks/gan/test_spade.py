import pytest
import torch
from torch import nn
from torch.nn import functional as F

from networks.gan.equalized import EqualizedConv2d
from networks.gan.spade import SPADENorm, SPADEResidualBlock


def one_hot(classes: int, size: int, batch: int = 2) -> torch.Tensor:
    return F.one_hot(torch.randint(classes, (batch, size, size)), classes).permute(0, 3, 1, 2).float()


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_by_its_equation(norm):
    torch.manual_seed(0)
    layer = SPADENorm(4, 3, hidden=5, norm=norm)
    x, condition = torch.randn(2, 4, 8, 8) * 3 + 1, torch.randn(2, 3, 8, 8)
    hidden = F.relu(F.conv2d(condition, layer.hidden.weight, layer.hidden.bias, padding=1))
    gamma = F.conv2d(hidden, layer.modulation.weight[:4], layer.modulation.bias[:4], padding=1)
    beta = F.conv2d(hidden, layer.modulation.weight[4:], layer.modulation.bias[4:], padding=1)
    normed = F.instance_norm(x) if norm == "instance" else F.batch_norm(x, None, None, training=True)
    torch.testing.assert_close(layer(x, condition), normed * (1 + gamma) + beta)


def test_batch_norm_uses_running_statistics_in_evaluation():
    layer, condition = SPADENorm(4, 3, hidden=5, norm="batch"), torch.randn(2, 3, 8, 8)
    x = torch.randn(2, 4, 8, 8) * 3 + 1
    trained = layer(x, condition)
    layer.eval()
    alone = layer(x[:1], condition[:1])
    torch.testing.assert_close(alone, layer(x, condition)[:1])
    assert not torch.allclose(trained[:1], alone)


@pytest.mark.parametrize("size", [(4, 6), (3, 6), (5, 5), (8, 12), (16, 24)])
def test_averages_of_whole_parts_are_those_of_interpolation(size):
    norm = SPADENorm(2, 3, hidden=2, resize="area")
    condition = torch.rand(2, 3, 8, 12, generator=torch.Generator().manual_seed(0))
    resized = norm.resized(condition, torch.empty(2, 2, *size))
    torch.testing.assert_close(resized, F.interpolate(condition, size, mode="area"))


def test_nearest_keeps_one_hot_labels_and_area_averages():
    condition, x = one_hot(3, 8), torch.randn(2, 4, 4, 4)
    seen = {}
    for resize in ("nearest", "area"):
        layer = SPADENorm(4, 3, hidden=5, resize=resize)
        layer.hidden.register_forward_hook(lambda m, arguments, out, key=resize: seen.update({key: arguments[0]}))
        layer(x, condition)
    assert torch.equal(seen["nearest"], condition[..., ::2, ::2])
    torch.testing.assert_close(seen["area"], F.avg_pool2d(condition, 2))


def test_the_condition_acts_where_it_is():
    """Two labels side by side: far from the border each half has the modulation of its own label."""
    torch.manual_seed(0)
    layer, x = SPADENorm(2, 2, hidden=4), torch.randn(1, 2, 12, 12)
    left, right = torch.zeros(1, 2, 12, 12), torch.zeros(1, 2, 12, 12)
    left[:, 0], right[:, 1] = 1, 1
    both = torch.cat([left[..., :6], right[..., 6:]], -1)
    out = layer(x, both)
    torch.testing.assert_close(out[..., :4], layer(x, left)[..., :4])
    torch.testing.assert_close(out[..., 8:], layer(x, right)[..., 8:])
    assert not torch.allclose(layer(x, left), layer(x, right))


@pytest.mark.parametrize("equalized", [False, True])
@pytest.mark.parametrize("channels", [(3, 5), (5, 3), (4, 4)])
def test_residual_block_by_its_equation(channels, equalized):
    block = SPADEResidualBlock(*channels, condition_channels=3, hidden=4, equalized=equalized)
    x, m = torch.randn(2, channels[0], 6, 6), one_hot(3, 6)
    inner = block.first(F.leaky_relu(block.first_norm(x, m), 0.2))
    inner = block.second(F.leaky_relu(block.second_norm(inner, m), 0.2))
    shortcut = x if channels[0] == channels[1] else block.shortcut(block.shortcut_norm(x, m))
    torch.testing.assert_close(block(x, m), shortcut + inner)
    assert block.first.out_channels == min(channels)
    convolutions = [layer for layer in block.modules() if isinstance(layer, nn.Conv2d)]
    assert all(isinstance(layer, EqualizedConv2d) == equalized for layer in convolutions)
    if block.learned_shortcut:
        assert block.shortcut.bias is None


def test_spectral_norm_bounds_the_blocks_own_convolutions_only():
    torch.manual_seed(0)
    block = SPADEResidualBlock(6, 4, 3, hidden=4, spectral=True)
    x, m = torch.randn(2, 6, 6, 6), one_hot(3, 6)
    for _ in range(20):  # a power iteration a step
        block(x, m)
    for layer in (block.first, block.second, block.shortcut):
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.02)
    assert not hasattr(block.first_norm.hidden, "parametrizations")


def test_both_kinds_of_weights_are_refused():
    with pytest.raises(ValueError, match="not both"):
        SPADEResidualBlock(4, 4, 3, spectral=True, equalized=True)


def test_gradients():
    block = SPADEResidualBlock(2, 3, 2, hidden=3, equalized=True).double()
    with torch.no_grad():
        for layer in block.modules():
            if isinstance(layer, nn.Conv2d) and layer.bias is not None:
                layer.bias.add_(torch.rand_like(layer.bias))  # away from the corner of the ReLU
    x = torch.randn(1, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    condition = torch.rand(1, 2, 6, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(block, (x, condition))


@pytest.mark.parametrize(
    "options",
    [{"norm": "batch", "spectral": True}, {"equalized": True, "resize": "area", "eps": 1e-3}],
    ids=["spade", "lsr"],
)
def test_bf16_autocast_and_channels_last(options):
    torch.manual_seed(0)
    block = SPADEResidualBlock(4, 6, 3, hidden=8, **options)
    x, m = torch.randn(2, 4, 8, 8), one_hot(3, 16)
    block(x, m)
    block.eval()
    expected = block(x, m)
    block = block.to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        low = block(x.to(memory_format=torch.channels_last), m)
    torch.testing.assert_close(low.float(), expected, atol=0.3, rtol=0.1)
    block.train()
    with torch.autocast("cpu", torch.bfloat16):
        block(x, m).float().square().sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in block.parameters())


def test_lsr_generator_is_made_of_them():
    """7x7 and five doublings with soft labels of 224 px (widths divided by 16)."""
    m = torch.rand(1, 19, 224, 224).softmax(1)
    options = {"hidden": 4, "equalized": True, "resize": "area", "eps": 1e-3}
    x = SPADEResidualBlock(32, 32, 19, **options)(torch.randn(1, 32, 7, 7), m)
    for outer in (32, 16, 8, 4, 2):
        x = F.interpolate(x, scale_factor=2, mode="bilinear")
        x = SPADEResidualBlock(x.shape[1], outer, 19, **options)(x, m)
    assert x.shape == (1, 2, 224, 224)
