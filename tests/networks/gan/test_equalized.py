import math

import pytest
import torch
from torch.nn import functional as F

from networks.gan.equalized import EqualizedConv2d, EqualizedLinear


@pytest.mark.parametrize("gain", [1.0, math.sqrt(2)])
@pytest.mark.parametrize("variance", [1.0, 9.0])
def test_output_variance_is_gain_squared_times_that_of_the_input(gain, variance):
    torch.manual_seed(0)
    linear = EqualizedLinear(300, 400, gain=gain)
    assert linear(torch.randn(200, 300) * variance**0.5).var().item() == pytest.approx(gain**2 * variance, rel=0.1)
    convolution = EqualizedConv2d(32, 64, 3, gain=gain)
    inner = convolution(torch.randn(4, 32, 32, 32) * variance**0.5)[..., 1:-1, 1:-1]  # the border sees zeros
    assert inner.var().item() == pytest.approx(gain**2 * variance, rel=0.1)


def test_parameters_start_as_standard_normal_and_zero_whatever_the_size():
    torch.manual_seed(0)
    for layer in (EqualizedConv2d(8, 200, 3), EqualizedLinear(50, 400), EqualizedConv2d(100, 64, 1)):
        assert layer.weight.std().item() == pytest.approx(1, abs=0.05)
        assert not layer.bias.any()
    assert EqualizedConv2d(2, 2, 1, bias=False).bias is None


def test_by_hand():
    layer = EqualizedConv2d(2, 1, 1, gain=3.0)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([1.0, 2.0]).view(1, 2, 1, 1))
        layer.bias.fill_(5.0)
    x = torch.tensor([4.0, 6.0]).view(1, 2, 1, 1)
    # (4 * 1 + 6 * 2) * 3 / sqrt(2) + 5: the bias is not scaled
    assert layer(x).item() == pytest.approx(16 * 3 / math.sqrt(2) + 5)


@pytest.mark.parametrize("kernel", [1, 3, 7])
def test_convolution_is_that_of_the_scaled_weight(kernel):
    layer = EqualizedConv2d(3, 5, kernel, gain=1.5)
    x = torch.randn(2, 3, 9, 8)
    weight = layer.weight * (1.5 / math.sqrt(3 * kernel**2))
    torch.testing.assert_close(layer(x), F.conv2d(x, weight, layer.bias, padding="same"))


def test_even_kernels_are_refused():
    with pytest.raises(ValueError, match="even"):
        EqualizedConv2d(3, 3, 4)


def test_gradients():
    convolution, linear = EqualizedConv2d(2, 3, 3).double(), EqualizedLinear(4, 3).double()
    assert torch.autograd.gradcheck(convolution, torch.randn(2, 2, 3, 3, dtype=torch.float64, requires_grad=True))
    assert torch.autograd.gradcheck(linear, torch.randn(2, 4, dtype=torch.float64, requires_grad=True))
    convolution(torch.randn(1, 2, 4, 4).double()).sum().backward()
    assert convolution.bias.grad.tolist() == [16.0] * 3


def test_adam_moves_every_layer_by_the_same_share():
    """The reason for the scale: a narrow and a wide layer change by the same part of their weights in one step."""
    torch.manual_seed(0)
    shares = []
    for width in (4, 400):
        layer = EqualizedLinear(width, 64)
        before = layer.weight.detach().clone()
        optimizer = torch.optim.Adam(layer.parameters(), lr=0.01)
        layer(torch.randn(8, width)).square().sum().backward()
        optimizer.step()
        shares.append((layer.weight.detach() - before).norm().item() / before.norm().item())
    assert shares[0] == pytest.approx(shares[1], rel=0.1)
