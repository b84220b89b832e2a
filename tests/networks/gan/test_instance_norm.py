import pytest
import torch
from torch.nn import functional as F

from networks.gan.instance_norm import instance_norm
from visionscapes.errors import UserError


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("eps", [1e-5, 1e-3])
def test_is_torchs(memory_format, eps):
    x = (torch.randn(3, 4, 5, 6, dtype=torch.float64) * 0.1 + 7).to(memory_format=memory_format)
    torch.testing.assert_close(instance_norm(x, eps), F.instance_norm(x, eps=eps))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_the_order_in_memory_is_kept(memory_format):
    x = torch.randn(2, 4, 5, 6).to(memory_format=memory_format)
    assert instance_norm(x).stride() == x.stride()


def test_by_hand():
    x = torch.tensor([1.0, 3.0]).view(1, 1, 1, 2)  # mean 2, variance 1
    torch.testing.assert_close(instance_norm(x, eps=3.0), torch.tensor([-0.5, 0.5]).view(1, 1, 1, 2))


def test_single_pixels_are_a_user_error():
    with pytest.raises(UserError, match="1x1"):
        instance_norm(torch.randn(2, 3, 1, 1))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_on_a_gpu(dtype):
    x = torch.randn(3, 4, 8, 8, device="cuda").to(dtype)
    with torch.autocast("cuda", torch.bfloat16):
        normed = instance_norm(x)
    assert normed.dtype == dtype
    torch.testing.assert_close(normed.float().cpu(), instance_norm(x.float().cpu()), atol=0.03, rtol=0.03)
