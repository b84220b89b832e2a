import pytest
import timm.layers
import torch
from torch import nn
from torch.nn import functional as F

from networks.gan.blur_pool import _binomial, blur_pool


@pytest.mark.parametrize("size", [(8, 8), (7, 7), (4, 9), (1, 1), (14, 7)])
def test_equals_timm_and_two_average_pools(size):
    x = torch.randn(2, 5, *size, dtype=torch.float64)
    pooled = blur_pool(x)
    assert pooled.shape == (2, 5, (size[0] + 1) // 2, (size[1] + 1) // 2)
    # an average over pixels i - 1, i and one over i, i + 1, averaged
    torch.testing.assert_close(pooled, F.avg_pool2d(F.avg_pool2d(x, 2, stride=1, padding=1), 2))
    torch.testing.assert_close(pooled, timm.layers.BlurPool2d(5, pad_mode="constant").double()(x))


def test_by_hand():
    x = torch.zeros(1, 1, 4, 4)
    x[0, 0, 1, 2] = 16.0
    assert blur_pool(x)[0, 0].tolist() == [[0, 2], [0, 2]]
    corner = torch.zeros(1, 1, 4, 4)
    corner[0, 0, 0, 0] = 16.0
    assert blur_pool(corner)[0, 0].tolist() == [[4, 0], [0, 0]]


def test_keeps_constants_inside_and_removes_the_finest_pattern():
    assert torch.equal(blur_pool(torch.ones(1, 2, 8, 8))[..., 1:, 1:], torch.ones(1, 2, 3, 3))
    checkers = (torch.arange(8)[:, None] + torch.arange(8)).remainder(2).float() * 2 - 1
    assert not blur_pool(checkers.expand(1, 1, 8, 8))[..., 1:, 1:].any()


def test_gradients_to_second_order():
    x = torch.randn(1, 2, 5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(blur_pool, x)
    assert torch.autograd.gradgradcheck(lambda x: blur_pool(x).square(), x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_type_and_format_are_kept(dtype):
    x = torch.randn(2, 8, 6, 6).to(dtype, memory_format=torch.channels_last)
    pooled = blur_pool(x)
    assert pooled.dtype == dtype
    assert pooled.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(pooled.float(), blur_pool(x.float().contiguous()), atol=0.02, rtol=0.02)


def test_training_works_after_inference_mode():
    _binomial.cache_clear()
    with torch.inference_mode():
        blur_pool(torch.randn(1, 3, 4, 4))
    layer = nn.Conv2d(1, 3, 1)
    blur_pool(layer(torch.randn(1, 1, 4, 4))).sum().backward()
    assert layer.weight.grad is not None


def penalty_and_gradients(pool, x, weight):
    """Return a gradient penalty of a small network with a blur pool, and its gradients."""
    x, weight = x.clone().requires_grad_(), weight.clone().requires_grad_()
    logits = pool(F.leaky_relu(F.conv2d(x, weight, padding=1), 0.2)).square().sum((1, 2, 3))
    (slope,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    penalty = slope.square().sum()
    return penalty, *torch.autograd.grad(penalty, (x, weight))


def plain(x):
    return F.conv2d(x, _binomial(x.shape[1], x.dtype, x.device), stride=2, padding=1, groups=x.shape[1])


@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", [(8, 8), (7, 10)])
def test_penalties_are_those_of_the_plain_convolution_to_the_last_bit(size, form):
    x, weight = torch.randn(2, 3, *size).to(memory_format=form), torch.randn(4, 3, 3, 3)
    found = zip(penalty_and_gradients(blur_pool, x, weight), penalty_and_gradients(plain, x, weight), strict=True)
    for ours, theirs in found:
        assert torch.equal(ours, theirs)


def test_penalties_take_no_derivative_by_the_filter():
    """Torch's own takes one channel by channel: more convolutions than there are channels."""
    convolutions = []

    class Counting(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            convolutions.extend([1] * ("convolution" in str(function)))
            return function(*args, **(kwargs or {}))

    counts = {}
    for pool in (blur_pool, plain):
        convolutions.clear()
        with Counting():
            penalty_and_gradients(pool, torch.randn(1, 3, 8, 8), torch.randn(32, 3, 3, 3))
        counts[pool] = len(convolutions)
    assert counts[plain] > 32 > counts[blur_pool]


def test_autocast_is_left_to_torch():
    x = torch.randn(2, 3, 8, 8, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        pooled = blur_pool(x)
    assert pooled.dtype == plain_under_autocast(x).dtype
    pooled.sum().backward()
    assert x.grad.dtype == torch.float32


def plain_under_autocast(x):
    with torch.autocast("cpu", torch.bfloat16):
        return plain(x)
