import pytest
import torch
import torchvision.ops
from torch import nn
from torch.nn import functional as F

from networks.detection.ops import ensure_ops

ensure_ops()
from mmcv.ops import MaskedConv2d, deform_conv2d, modulated_deform_conv2d  # noqa: E402

gpu = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
devices = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=gpu)])

# Different along y and x wherever mmcv allows it, so that no two arguments can change places unnoticed.
STRIDE, PADDING, DILATION, GROUPS, OFFSETS = (2, 1), (1, 2), (1, 2), 2, 4


def tensors(device, dtype=torch.float64, batch=2):
    generator = torch.Generator().manual_seed(0)
    out = {
        "x": torch.randn(batch, 8, 9, 10, generator=generator),
        "offset": torch.randn(batch, 2 * OFFSETS * 6, 5, 10, generator=generator),
        "mask": torch.rand(batch, OFFSETS * 6, 5, 10, generator=generator),
        "weight": torch.randn(4, 8 // GROUPS, 2, 3, generator=generator),
        "bias": torch.randn(4, generator=generator),
    }
    return {name: value.to(device, dtype).requires_grad_() for name, value in out.items()}


def gradients(out, inputs):
    weights = torch.linspace(-1, 2, out.numel(), device=out.device, dtype=out.dtype).view_as(out)
    return torch.autograd.grad((out * weights).sum(), inputs)


@devices
@pytest.mark.parametrize("with_bias", [True, False])
def test_modulated_convolution_equals_torchvision(device, with_bias):
    t = tensors(device)
    bias = t["bias"] if with_bias else None
    inputs = [t["x"], t["offset"], t["mask"], t["weight"], *([bias] if with_bias else [])]
    args = (STRIDE, PADDING, DILATION)
    out = modulated_deform_conv2d(t["x"], t["offset"], t["mask"], t["weight"], bias, *args, GROUPS, OFFSETS)
    expected = torchvision.ops.deform_conv2d(t["x"], t["offset"], t["weight"], bias, *args, t["mask"])
    torch.testing.assert_close(out, expected)
    for ours, theirs in zip(gradients(out, inputs), gradients(expected, inputs), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_offsets_of_a_larger_map_are_read_from_its_start_as_mmcv_does():
    t = tensors("cpu")
    args = (None, STRIDE, PADDING, DILATION, GROUPS, OFFSETS)
    expected = modulated_deform_conv2d(t["x"], t["offset"], t["mask"], t["weight"], *args)
    larger = {}
    for name in ("offset", "mask"):
        filled = torch.cat([t[name].detach().flatten(1), torch.full((2, t[name][0].numel()), 7.0)], 1)
        larger[name] = filled.view(2, -1, 10, 10).requires_grad_()
    out = modulated_deform_conv2d(t["x"], larger["offset"], larger["mask"], t["weight"], *args)
    torch.testing.assert_close(out, expected)
    grads, wanted = gradients(out, [*larger.values()]), gradients(expected, [t["offset"], t["mask"]])
    for grad, first in zip(grads, wanted, strict=True):
        torch.testing.assert_close(grad.flatten(1), F.pad(first.flatten(1), (0, first[0].numel())))


@devices
def test_convolution_of_version_1_equals_torchvision(device):
    t = tensors(device)
    inputs = [t["x"], t["offset"], t["weight"]]
    out = deform_conv2d(t["x"], t["offset"], t["weight"], STRIDE, PADDING, DILATION, GROUPS, OFFSETS)
    expected = torchvision.ops.deform_conv2d(t["x"], t["offset"], t["weight"], None, STRIDE, PADDING, DILATION)
    torch.testing.assert_close(out, expected)
    for ours, theirs in zip(gradients(out, inputs), gradients(expected, inputs), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_without_offsets_it_is_convolution():
    t = tensors("cpu")
    still = torch.zeros_like(t["offset"])
    args = (STRIDE, PADDING, DILATION, GROUPS)
    expected = F.conv2d(t["x"], t["weight"], None, *args)
    torch.testing.assert_close(deform_conv2d(t["x"], still, t["weight"], *args, OFFSETS), expected)
    half = torch.full_like(t["mask"], 0.5)
    out = modulated_deform_conv2d(t["x"], still, half, t["weight"], t["bias"], *args, OFFSETS)
    torch.testing.assert_close(out, expected / 2 + t["bias"].view(1, -1, 1, 1))


def test_whole_offsets_pick_other_pixels_y_before_x():
    x = torch.arange(48, dtype=torch.float32).view(1, 1, 6, 8)
    offset = torch.zeros(1, 2, 6, 8)
    offset[:, 0], offset[:, 1] = 1, 2
    out = deform_conv2d(x, offset, torch.ones(1, 1, 1, 1))
    torch.testing.assert_close(out[..., :5, :6], x[..., 1:, 2:])
    assert not out[..., 5, :].any()


@devices
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_reduced_precision_is_the_rounded_one(device, dtype):
    t = tensors(device, dtype)
    full = {name: value.detach().float().requires_grad_() for name, value in t.items()}
    inputs = ["x", "offset", "mask", "weight"]
    outs = [
        modulated_deform_conv2d(*(each[name] for name in inputs), None, STRIDE, PADDING, DILATION, GROUPS, OFFSETS)
        for each in (t, full)
    ]
    assert outs[0].dtype == dtype
    torch.testing.assert_close(outs[0], outs[1].to(dtype))
    grads = [
        torch.autograd.grad(out.sum(), [each[name] for name in inputs])
        for out, each in zip(outs, (t, full), strict=True)
    ]
    for ours, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(ours, theirs.to(dtype))


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf")])
def test_samples_at_offsets_of_diverged_training_are_zero(wrong):
    t = tensors("cpu")
    offset = t["offset"].detach().clone()
    offset[0] = wrong
    offset.requires_grad_()
    args = (STRIDE, PADDING, DILATION, GROUPS, OFFSETS)
    outs = [
        deform_conv2d(t["x"], offset, t["weight"], *args),
        modulated_deform_conv2d(t["x"], offset, t["mask"], t["weight"], None, *args),
    ]
    for out in outs:
        assert not out[0].any()
        assert out[1].any()
        grads = gradients(out, [t["x"], offset, t["weight"]])
        assert all(grad.isfinite().all() for grad in grads)
        assert not grads[1][0].any()


def test_a_frozen_kernel_still_passes_gradients_on():
    t = tensors("cpu")
    t["weight"].requires_grad_(False)
    deform_conv2d(t["x"], t["offset"], t["weight"], STRIDE, PADDING, DILATION, GROUPS, OFFSETS).sum().backward()
    assert t["weight"].grad is None
    assert t["x"].grad.any()
    assert t["offset"].grad.any()


@devices
@pytest.mark.parametrize(("kernel", "padding"), [(1, 0), (3, 1), ((3, 5), (1, 2))])
def test_masked_convolution_is_convolution_where_the_mask_is(device, kernel, padding):
    torch.manual_seed(0)
    masked = MaskedConv2d(3, 4, kernel, padding=padding).to(device)
    plain = nn.Conv2d(3, 4, kernel, padding=padding).to(device)
    plain.load_state_dict(masked.state_dict())
    x, mask = torch.randn(1, 3, 7, 9, device=device), torch.rand(1, 7, 9, device=device) > 0.6
    with torch.no_grad():
        torch.testing.assert_close(masked(x, mask), plain(x) * mask)
        assert not masked(x, torch.zeros_like(mask)).any()
