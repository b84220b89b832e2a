"""Halving of feature maps behind a small low-pass filter (blur pooling, Zhang 2019)."""

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override


def blur_pool(x: Tensor) -> Tensor:
    """Return every other row and column of ``x`` filtered with [1, 2, 1] x [1, 2, 1] / 16, zero outside.

    Equal to ``timm.layers.BlurPool2d(pad_mode="constant")`` and to ``kornia.filters.blur_pool2d(x, 3)``. LSR's official
    code (TensorFlow, "SAME") starts at the second pixel of an even side instead of the first: the same network up to
    half a pixel, which matters for nothing but its weights.

    Args:
        x: (B, C, H, W), any floating type and memory format.

    Returns:
        (B, C, ceil(H / 2), ceil(W / 2)).
    """
    if x.device.type == "cpu" and x.dtype == torch.bfloat16:
        # Its backward pass takes a CPU ten times as long in bfloat16 as in float32.
        with torch.autocast("cpu", enabled=False):
            return blur_pool(x.float()).to(x.dtype)
    # What an exporter makes while it follows a network is no tensor that could be kept.
    make = _binomial.__wrapped__ if torch.compiler.is_exporting() else _binomial
    binomial = make(x.shape[1], x.dtype, x.device)
    differentiated, kind = x.requires_grad and torch.is_grad_enabled(), x.device.type
    autocast = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    if differentiated and not autocast and not torch.compiler.is_compiling():
        return _BlurPool.apply(x, binomial)  # type: ignore[no-any-return]
    return _filtered(x, binomial)


def _filtered(x: Tensor, binomial: Tensor) -> Tensor:
    # In float32 on CPUs a depthwise convolution takes a third of the time of two average pools if x is channels-last,
    # and a twentieth in the other.
    return F.conv2d(x, binomial, stride=2, padding=1, groups=x.shape[1])


class _BlurPool(torch.autograd.Function):
    """The convolution, whose derivatives leave out those by the filter, which nobody asks for.

    Torch takes them in the derivative of the derivative all the same, channel by channel: in a gradient penalty of a
    small discriminator that was a quarter of the time. What is computed is computed as by torch, to the last bit.
    """

    @staticmethod
    @override
    def forward(ctx: Any, x: Tensor, binomial: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(x, binomial)
        return _filtered(x, binomial)

    @staticmethod
    @override
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return _BlurPoolBackward.apply(gradient, *ctx.saved_tensors), None


class _BlurPoolBackward(torch.autograd.Function):
    """The derivative of the convolution by its input; linear in the gradient, as the convolution is in its input."""

    @staticmethod
    @override
    def forward(ctx: Any, gradient: Tensor, x: Tensor, binomial: Tensor) -> Tensor:  # type: ignore[override]
        wanted = (True, False, False)  # the derivative by x, not by the filter and a bias
        options = ([2, 2], [1, 1], [1, 1], False, [0, 0], x.shape[1], wanted)
        return torch.ops.aten.convolution_backward(gradient, x, binomial, None, *options)[0]

    @staticmethod
    @override
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        return blur_pool(gradient), None, None


@cache
def _binomial(channels: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the filter (channels, 1, 3, 3), made once: another copy to the device in every block would stall it."""
    with torch.inference_mode(False):  # a tensor made in inference mode cannot serve training later
        row = torch.tensor([0.25, 0.5, 0.25], dtype=dtype)
        return torch.outer(row, row).to(device).repeat(channels, 1, 1, 1)
