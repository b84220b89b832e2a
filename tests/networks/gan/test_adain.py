import pytest
import torch
from torch.nn import functional as F

from networks.gan.adain import AdaIN


def test_mean_and_deviation_are_those_the_style_asks_for():
    torch.manual_seed(0)
    layer = AdaIN(3, 8)
    x, style = torch.randn(2, 3, 16, 16) * 5 + 3, torch.randn(2, 8)
    gamma, beta = layer.style(style).chunk(2, 1)
    out = layer(x, style)
    torch.testing.assert_close(out.mean((2, 3)), beta, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(out.std((2, 3), correction=0), (1 + gamma).abs(), atol=1e-4, rtol=1e-4)


def test_zero_style_is_instance_norm():
    x = torch.randn(2, 3, 8, 8) * 2 + 1
    torch.testing.assert_close(AdaIN(3, 5)(x, torch.zeros(2, 5)), F.instance_norm(x))


def test_eps_is_used():
    x = torch.randn(1, 3, 8, 8) * 0.01
    torch.testing.assert_close(AdaIN(3, 5, eps=1e-3)(x, torch.zeros(1, 5)), F.instance_norm(x, eps=1e-3))


def test_every_sample_has_its_own_style():
    layer, x = AdaIN(3, 5), torch.randn(1, 3, 4, 4).repeat(2, 1, 1, 1)
    first, second = layer(x, torch.randn(2, 5))
    assert not torch.allclose(first, second)


def test_gradients():
    layer = AdaIN(2, 3).double()
    x = torch.randn(2, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    style = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (x, style))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_bf16_autocast(memory_format):
    torch.manual_seed(0)
    layer, x, style = AdaIN(4, 6), torch.randn(2, 4, 8, 8).to(memory_format=memory_format), torch.randn(2, 6)
    with torch.autocast("cpu", torch.bfloat16):
        low = layer(x.bfloat16(), style)
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(low.float(), layer(x, style), atol=0.1, rtol=0.05)
