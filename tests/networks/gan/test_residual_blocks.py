import math
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from networks.gan.blur_pool import blur_pool
from networks.gan.equalized import EqualizedConv2d, EqualizedLinear
from networks.gan.residual_blocks import ResidualBlock, ResidualDown, ResidualUp, leaky_relu, upsample, widths


def test_widths_of_the_thesis():
    """Thesis 5.5.1.1: 64 feature maps at first, doubled by each of six blocks, 512 at most."""
    assert widths(64, 512, 6) == [64, 128, 256, 512, 512, 512, 512]


def scaled(layer: nn.Module) -> torch.Tensor:
    return layer.weight * math.sqrt(2 / layer.weight[0].numel())


def convolve(layer: EqualizedConv2d, x: torch.Tensor) -> torch.Tensor:
    return F.conv2d(x, scaled(layer), layer.bias, padding="same")


def randomise_biases(module: nn.Module) -> None:
    for name, parameter in module.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter)


@pytest.mark.parametrize("norm", ["none", "instance"])
def test_down_is_biggans_block(norm):
    """Written as in the papers: the shortcut's convolution before its pooling, with which it commutes."""
    block = ResidualDown(3, 5, norm=norm, eps=1e-3).double()
    randomise_biases(block)
    x = torch.randn(2, 3, 8, 6, dtype=torch.float64)

    def normalise(x):
        return x if norm == "none" else F.instance_norm(x, eps=1e-3)

    inner = convolve(block.first, F.leaky_relu(normalise(x), 0.2))
    inner = blur_pool(convolve(block.second, F.leaky_relu(normalise(inner), 0.2)))
    torch.testing.assert_close(block(x), blur_pool(convolve(block.shortcut, x)) + inner)
    assert block.first.out_channels == 3
    assert block.shortcut.bias is None


@pytest.mark.parametrize(("down", "size"), [("blur", (4, 3)), ("average", (3, 3))])
def test_down_of_odd_sizes(down, size):
    assert ResidualDown(3, 5, down=down)(torch.randn(1, 3, 7, 6)).shape == (1, 5, *size)


def test_average_is_that_of_four_pixels():
    block = ResidualDown(2, 2, down="average")
    nn.init.zeros_(block.second.weight)
    x = torch.randn(1, 2, 4, 4)
    torch.testing.assert_close(block(x), convolve(block.shortcut, F.avg_pool2d(x, 2)))


def test_scale_is_of_the_sum():
    torch.manual_seed(0)
    plain = ResidualDown(3, 4)
    halved = ResidualDown(3, 4, scale=0.5)
    halved.load_state_dict(plain.state_dict())
    x = torch.randn(1, 3, 8, 8)
    torch.testing.assert_close(halved(x), plain(x) / 2)


@pytest.mark.parametrize("channels", [(3, 5), (5, 3), (4, 4)])
def test_block_by_its_equation(channels):
    block = ResidualBlock(*channels, activation=F.relu)
    randomise_biases(block)
    x = torch.randn(2, channels[0], 5, 5)
    inner = convolve(block.second, F.relu(convolve(block.first, F.relu(x))))
    shortcut = x if channels[0] == channels[1] else convolve(block.shortcut, x)
    torch.testing.assert_close(block(x), shortcut + inner)
    assert block.first.out_channels == min(channels)


def test_up_by_its_equation():
    block = ResidualUp(3, 4, 6, eps=1e-3).double()
    randomise_biases(block)
    x, style = torch.randn(2, 3, 4, 5, dtype=torch.float64), torch.randn(2, 6, dtype=torch.float64)

    def normalise(layer, x):
        linear = layer.style
        gamma, beta = F.linear(style, scaled(linear), linear.bias)[:, :, None, None].chunk(2, 1)
        return F.instance_norm(x, eps=1e-3) * (1 + gamma) + beta

    inner = convolve(block.first, upsample(F.leaky_relu(normalise(block.first_norm, x), 0.2)))
    inner = convolve(block.second, F.leaky_relu(normalise(block.second_norm, inner), 0.2))
    out = block(x, style)
    torch.testing.assert_close(out, convolve(block.shortcut, upsample(x)) + inner)
    assert out.shape == (2, 4, 8, 10)


def test_gradients():
    x = torch.randn(2, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    style = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(ResidualDown(2, 3, norm="instance").double(), x)
    assert torch.autograd.gradcheck(ResidualBlock(2, 3).double(), x)
    assert torch.autograd.gradcheck(ResidualUp(2, 3, 3).double(), (x, style))
    assert torch.autograd.gradgradcheck(ResidualDown(2, 3).double(), x)


@pytest.mark.parametrize(
    "block", [ResidualDown(4, 6), ResidualDown(4, 6, norm="instance"), ResidualBlock(4, 6), ResidualUp(4, 6, 3)]
)
def test_bf16_autocast_and_channels_last(block):
    torch.manual_seed(0)
    x = torch.randn(2, 4, 8, 8)
    arguments = (torch.randn(2, 3),) if isinstance(block, ResidualUp) else ()
    expected = block(x, *arguments)
    block = block.to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        low = block(x.to(memory_format=torch.channels_last), *arguments)
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(low.float(), expected, atol=0.15, rtol=0.05)
    block.zero_grad()
    low.float().square().sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in block.parameters())


def test_lsr_encoder_is_made_of_them():
    """At 224 px maps of 224, 112, 56, 28, 14, 7, 3, and 3 * 3 * 512 features at the end (widths divided by 8)."""
    widths = [4, 8, 16, 32, 64, 64, 64]
    layers: list[nn.Module] = [EqualizedConv2d(6, widths[0], 7), nn.ReLU()]
    for inner, outer in pairwise(widths):
        layers += [nn.AvgPool2d(2), ResidualBlock(inner, outer, activation=F.relu)]
    encoder = nn.Sequential(*layers, nn.ReLU(), nn.Flatten(), EqualizedLinear(3 * 3 * 64, 64))
    assert encoder(torch.randn(1, 6, 224, 224)).shape == (1, 64)
    assert [isinstance(block.shortcut, nn.Identity) for block in encoder if isinstance(block, ResidualBlock)] == [
        *[False] * 4,
        *[True] * 2,
    ]


def test_lsr_layout_predictor_is_made_of_them():
    """Down from the raw drawing of three channels, up with skips behind the blocks (widths divided by 8)."""
    x, style = torch.randn(1, 3, 224, 224), torch.randn(1, 16)
    skips = []
    for inner, outer in [(3, 8), (8, 16), (16, 32), (32, 64), (64, 64)]:
        block = ResidualDown(inner, outer, norm="instance", eps=1e-3)
        x = block(x)
        skips.append(x)
        assert block.first.out_channels == inner
    assert x.shape == (1, 64, 7, 7)
    skips.pop()
    for outer in (64, 32, 16, 8, 4):
        x = ResidualUp(x.shape[1], outer, 16, eps=1e-3)(x, style)
        if skips:
            x = torch.cat([x, skips.pop()], 1)
    assert EqualizedConv2d(x.shape[1], 22, 3, gain=1)(x).shape == (1, 22, 224, 224)


def test_leaky_relu_by_hand():
    assert leaky_relu(torch.tensor([-5.0, 0.0, 5.0])).tolist() == [-1.0, 0.0, 5.0]
