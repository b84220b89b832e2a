"""Deformable and masked convolution under the names and signatures of mmcv's compiled operators.

See `networks.detection.box_operators` for what the operators have in common.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import pad
from torchvision import ops

from networks.detection.box_operators import full_precision

OUTSIDE = 1e6  # pixels


def modulated_deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    group: int,
    deformable_group: int,
    with_bias: bool,
) -> None:
    """Convolve at moved positions, every sample weighted (deformable convolution, version 2).

    Args:
        input: (B, C, H, W) float.
        weight: (D, C / group, kernel_h, kernel_w).
        bias: (D,); empty for none.
        ones: unused.
        offset: (B, 2 * deformable_group * kernel_h * kernel_w, H', W') moves in pixels, y before x.
        mask: (B, deformable_group * kernel_h * kernel_w, H', W') weights.
        output: (B, D, H', W'), filled.
        columns: unused.
        kernel_h: height of the kernel.
        kernel_w: width of the kernel.
        stride_h: step along y.
        stride_w: step along x.
        pad_h: padding at the top and at the bottom.
        pad_w: padding at either side.
        dilation_h: distance of the kernel's rows.
        dilation_w: distance of the kernel's columns.
        group: groups of channels of the convolution.
        deformable_group: groups of channels with offsets of their own.
        with_bias: whether there is a bias.
    """
    x = full_precision(input)
    weight = weight.to(x.dtype)
    offset, mask = _as_read(_finite(offset.to(x.dtype)), output), _as_read(mask.to(x.dtype), output)
    geometry = ((stride_h, stride_w), (pad_h, pad_w), (dilation_h, dilation_w))
    output.copy_(ops.deform_conv2d(x, offset, weight, bias.to(x.dtype) if with_bias else None, *geometry, mask))


def modulated_deform_conv_backward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    group: int,
    deformable_group: int,
    with_bias: bool,
) -> None:
    """Fill the gradients of `modulated_deform_conv_forward`."""
    geometry = (stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, group, deformable_group)
    offset, mask = _as_read(offset, grad_output), _as_read(mask, grad_output)
    grads = _deform_conv_gradients(grad_output, input, weight, offset, mask, geometry)
    for target, grad in zip((grad_input, grad_weight, grad_offset, grad_mask, grad_bias), grads, strict=True):
        if target.numel():
            unread = target.numel() // len(target) - grad.numel() // len(grad)
            target.copy_(pad(grad.flatten(1), (0, unread)).view(target.shape) if unread else grad)


def _as_read(x: Tensor, output: Tensor) -> Tensor:
    """View offsets or weights (B, C, ...) as mmcv reads them: the first numbers of each image in the output's shape.

    It does not look at their shape, and DyHead gives it those of a larger map; its published weights are used to that.
    """
    shape = (x.shape[1], *output.shape[2:])
    return x if x.shape[1:] == shape else x.flatten(1)[:, : math.prod(shape)].unflatten(1, shape)


def _finite(offset: Tensor) -> Tensor:
    """Move what is not finite outside the image, where samples are 0 as in mmcv; torchvision reads foreign memory."""
    return offset.nan_to_num(OUTSIDE, OUTSIDE, -OUTSIDE)


def deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    output: Tensor,
    columns: Tensor,
    ones: Tensor,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    im2col_step: int,
) -> None:
    """Convolve at moved positions (version 1): `modulated_deform_conv_forward` with weights 1 and without bias."""
    x = full_precision(input)
    geometry = ((dH, dW), (padH, padW), (dilationH, dilationW))
    output.copy_(ops.deform_conv2d(x, _finite(offset.to(x.dtype)), weight.to(x.dtype), None, *geometry))


def deform_conv_backward_input(
    input: Tensor,
    offset: Tensor,
    gradOutput: Tensor,
    gradInput: Tensor,
    gradOffset: Tensor,
    weight: Tensor,
    columns: Tensor,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    im2col_step: int,
) -> None:
    """Fill the gradients of `deform_conv_forward` for features and offsets."""
    geometry = (dH, dW, padH, padW, dilationH, dilationW, group, deformable_group)
    grads = _deform_conv_gradients(gradOutput, input, weight, offset, None, geometry)
    gradInput.copy_(grads[0])
    gradOffset.copy_(grads[2])


def deform_conv_backward_parameters(
    input: Tensor,
    offset: Tensor,
    gradOutput: Tensor,
    gradWeight: Tensor,
    columns: Tensor,
    ones: Tensor,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    scale: float,
    im2col_step: int,
) -> None:
    """Add ``scale`` times the gradient of `deform_conv_forward` for the kernel to ``gradWeight``."""
    geometry = (dH, dW, padH, padW, dilationH, dilationW, group, deformable_group)
    grads = _deform_conv_gradients(gradOutput, input, gradWeight, offset, None, geometry)
    gradWeight.add_(grads[1].to(gradWeight.dtype), alpha=scale)


def _deform_conv_gradients(
    grad: Tensor, input: Tensor, weight: Tensor, offset: Tensor, mask: Tensor | None, geometry: tuple[int, ...]
) -> tuple[Tensor, ...]:
    """Gradients for input, weight, offset, mask and bias."""
    x = full_precision(input)
    weights = x.new_zeros(len(x), 1) if mask is None else mask.to(x.dtype)
    return torch.ops.torchvision._deform_conv2d_backward(
        grad.to(x.dtype),
        x,
        weight.to(x.dtype),
        _finite(offset.to(x.dtype)),
        weights,
        x.new_zeros(len(weight)),
        *geometry,
        mask is not None,
    )


def masked_im2col_forward(
    im: Tensor,
    mask_h_idx: Tensor,
    mask_w_idx: Tensor,
    col: Tensor,
    kernel_h: int,
    kernel_w: int,
    pad_h: int,
    pad_w: int,
) -> None:
    """Fill ``col`` (C * kernel_h * kernel_w, M) with the neighbourhoods of M pixels of ``im`` (1, C, H, W)."""
    x = pad(im[0], (pad_w, pad_w, pad_h, pad_h))
    taps = [x[:, mask_h_idx + row, mask_w_idx + column] for row in range(kernel_h) for column in range(kernel_w)]
    col.copy_(torch.stack(taps, 1).flatten(0, 1))


def masked_col2im_forward(
    col: Tensor, mask_h_idx: Tensor, mask_w_idx: Tensor, im: Tensor, height: int, width: int, channels: int
) -> None:
    """Write the columns of ``col`` (C, M) to M pixels of ``im`` (1, C, H, W)."""
    im[0, :, mask_h_idx, mask_w_idx] = col.to(im.dtype)


OPERATORS = (
    modulated_deform_conv_forward,
    modulated_deform_conv_backward,
    deform_conv_forward,
    deform_conv_backward_input,
    deform_conv_backward_parameters,
    masked_im2col_forward,
    masked_col2im_forward,
)
