"""Deformable attention, content-aware upsampling and focal loss under the names of mmcv's compiled operators.

See `networks.detection.box_operators` for what the operators have in common.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad
from torchvision import ops

from networks.detection.box_operators import full_precision
from visionscapes.errors import UserError


def ms_deform_attn_forward(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_loc: Tensor,
    attn_weight: Tensor,
    im2col_step: int,
) -> Tensor:
    """Weighted sum of samples of several feature maps, with mmcv's own function for the CPU on any device.

    Args:
        value: (B, sum of H_l * W_l, heads, D) float.
        spatial_shapes: (L, 2) int64, H_l and W_l.
        level_start_index: unused, follows from the shapes.
        sampling_loc: (B, Q, heads, L, P, 2) x and y, 0 to 1 across a map.
        attn_weight: (B, Q, heads, L, P).
        im2col_step: unused.

    Returns:
        (B, Q, heads * D).
    """
    from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch

    x = full_precision(value)
    shapes = spatial_shapes.tolist()  # one transfer from a GPU instead of one for each number
    attended = multi_scale_deformable_attn_pytorch(x, shapes, sampling_loc.to(x.dtype), attn_weight.to(x.dtype))
    return attended.to(value.dtype)


def ms_deform_attn_backward(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_loc: Tensor,
    attn_weight: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_sampling_loc: Tensor,
    grad_attn_weight: Tensor,
    im2col_step: int,
) -> None:
    """Fill the gradients of `ms_deform_attn_forward`, whose values are computed once more for it."""
    inputs = [full_precision(x).detach().requires_grad_() for x in (value, sampling_loc, attn_weight)]
    values, locations, weights = inputs
    with torch.enable_grad():
        output = ms_deform_attn_forward(values, spatial_shapes, level_start_index, locations, weights, im2col_step)
    targets = (grad_value, grad_sampling_loc, grad_attn_weight)
    for target, grad in zip(targets, torch.autograd.grad(output, inputs, grad_output.to(output.dtype)), strict=True):
        target.copy_(grad)


def carafe_forward(
    features: Tensor,
    masks: Tensor,
    rfeatures: Tensor,
    routput: Tensor,
    rmasks: Tensor,
    output: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """Upsample features, each output pixel with a kernel of its own (CARAFE).

    Args:
        features: (B, C, H, W) float.
        masks: (B, group_size * kernel_size², s * H, s * W), the kernels.
        rfeatures: as ``features``, receives what `carafe_backward` needs.
        routput: unused.
        rmasks: unused.
        output: (B, C, s * H, s * W), filled.
        kernel_size: k, odd.
        group_size: groups of channels with kernels of their own.
        scale_factor: s.
    """
    rfeatures.copy_(features)
    x, kernels = _carafe_views(full_precision(features), full_precision(masks), kernel_size, group_size, scale_factor)
    total = torch.zeros_like(_split(full_precision(output), group_size, scale_factor))
    for tap, (top, left) in enumerate(_taps(kernel_size)):
        window = x[..., top : top + features.shape[2], left : left + features.shape[3]]
        total += window[..., :, None, :, None] * kernels[:, :, tap, None]
    output.copy_(total.reshape(output.shape))


def carafe_backward(
    top_grad: Tensor,
    rfeatures: Tensor,
    masks: Tensor,
    rtop_grad: Tensor,
    rbottom_grad_hs: Tensor,
    rbottom_grad: Tensor,
    rmask_grad: Tensor,
    bottom_grad: Tensor,
    mask_grad: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """Fill the gradients of `carafe_forward` for features and kernels."""
    height, width = rfeatures.shape[2:]
    x, kernels = _carafe_views(full_precision(rfeatures), full_precision(masks), kernel_size, group_size, scale_factor)
    grad = _split(full_precision(top_grad), group_size, scale_factor)
    grad_x, grad_kernels = torch.zeros_like(x), torch.zeros_like(kernels)
    for tap, (top, left) in enumerate(_taps(kernel_size)):
        window = (..., slice(top, top + height), slice(left, left + width))
        grad_kernels[:, :, tap] = (x[window][..., :, None, :, None] * grad).sum(2)
        grad_x[window] += (kernels[:, :, tap, None] * grad).sum((-3, -1))
    border = kernel_size // 2
    inside = grad_x[..., border : border + height, border : border + width]
    bottom_grad.copy_(inside.reshape(bottom_grad.shape))
    mask_grad.copy_(grad_kernels.reshape(mask_grad.shape))


def _carafe_views(features: Tensor, masks: Tensor, kernel: int, groups: int, scale: int) -> tuple[Tensor, Tensor]:
    """Padded features (B, G, C / G, H + k - 1, W + k - 1) and kernels (B, G, k², H, s, W, s)."""
    batch, channels, height, width = features.shape
    x = pad(features, [kernel // 2] * 4).unflatten(1, (groups, channels // groups))
    return x, masks.reshape(batch, groups, kernel**2, height, scale, width, scale)


def _split(x: Tensor, groups: int, scale: int) -> Tensor:
    """(B, C, s * H, s * W) as (B, G, C / G, H, s, W, s)."""
    batch, channels, height, width = x.shape
    return x.reshape(batch, groups, channels // groups, height // scale, scale, width // scale, scale)


def _taps(kernel: int) -> list[tuple[int, int]]:
    return [(top, left) for top in range(kernel) for left in range(kernel)]


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Focal loss of every logit.

    Args:
        input: (N, K) float logits.
        target: (N,) int64 class; K and above are background.
        weight: empty; weights of classes are not served.
        output: (N, K), filled.
        gamma: exponent of what is missing from a perfect probability.
        alpha: weight of positives in 0 to 1; negatives have 1 - alpha.

    Raises:
        UserError: weights of classes are given, which mmdet never does.
    """
    output.copy_(_focal_loss(full_precision(input), target, weight, gamma, alpha))


def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Fill ``grad_input`` (N, K) with the derivative of every loss for its own logit."""
    logits = full_precision(input).detach().requires_grad_()
    with torch.enable_grad():
        total = _focal_loss(logits, target, weight, gamma, alpha).sum()
    grad_input.copy_(torch.autograd.grad(total, logits)[0])


def _focal_loss(logits: Tensor, target: Tensor, weight: Tensor, gamma: float, alpha: float) -> Tensor:
    if weight.numel():
        raise UserError("sigmoid_focal_loss has weights of classes in compiled mmcv only; leave them out")
    positive = target[:, None] == torch.arange(logits.shape[1], device=target.device)
    return ops.sigmoid_focal_loss(logits, positive.to(logits.dtype), alpha, gamma)


OPERATORS = (
    ms_deform_attn_forward,
    ms_deform_attn_backward,
    carafe_forward,
    carafe_backward,
    sigmoid_focal_loss_forward,
    sigmoid_focal_loss_backward,
)
