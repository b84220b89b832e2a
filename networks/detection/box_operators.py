"""Operators on boxes under the names and signatures of mmcv's compiled ones: suppression and pooling.

They fill tensors that the caller made, as the compiled ones do. Reduced precision is computed in float32, for which
torchvision has kernels on every device, and rounded at the end.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample
from torchvision import ops

from visionscapes.errors import UserError


def full_precision(x: Tensor) -> Tensor:
    """Return ``x`` as it is if it is float64, else in float32."""
    return x if x.dtype == torch.float64 else x.float()


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Suppress boxes that overlap one of a higher score.

    Args:
        boxes: (N, 4) float, xyxy.
        scores: (N,) float.
        iou_threshold: a box goes if its IoU with a kept one is above this.
        offset: 1 counts pixels, sides are x2 - x1 + 1 then; 0 measures lengths.

    Returns:
        (K,) int64 indices of the kept boxes by descending score.
    """
    boxes = full_precision(boxes)
    boxes = boxes + boxes.new_tensor([0, 0, offset, offset])
    # mmcv compares in the precision of the boxes, torchvision in float64: that differs where an IoU is the threshold.
    threshold = torch.tensor(iou_threshold, dtype=boxes.dtype).item()
    return ops.nms(boxes, scores.to(boxes.dtype), threshold)


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Select boxes by descending score, lowering the scores of those that overlap a selected one.

    Equal to mmcv's function also in the order of equal scores, which depends on swaps within its array.

    Args:
        boxes: (N, 4) float, xyxy, on the CPU.
        scores: (N,) float.
        dets: (N, 5), its first K rows receive the selected boxes and their lowered scores.
        iou_threshold: overlap from which methods 0 and 1 act.
        sigma: width of method 2.
        min_score: boxes whose score falls below are dropped.
        method: 0 sets scores to 0, 1 multiplies by 1 - IoU, 2 by exp(-IoU² / sigma).
        offset: see `nms`.

    Returns:
        (K,) int64 indices of the selected boxes.
    """
    box, score = full_precision(boxes).numpy(), full_precision(scores).numpy().copy()
    area = _area(box, offset)
    order = np.arange(len(box))
    step = 0
    while step < len(order):
        best = step + int(score[order[step:]].argmax())
        order[[step, best]] = order[[best, step]]
        chosen, rest = order[step], order[step + 1 :]
        iou = _overlap(box, area, chosen, rest, offset)
        if method == 0:
            score[rest] *= iou < iou_threshold
        elif method == 1:
            score[rest] *= np.where(iou >= iou_threshold, 1 - iou, 1)
        else:
            score[rest] *= np.exp(-(iou**2) / sigma)
        order = np.concatenate([order[: step + 1], _without(rest, score[rest] < min_score)])
        step += 1
    selected = torch.from_numpy(order)
    dets[: len(order)] = torch.cat([boxes[selected], torch.from_numpy(score)[selected, None].to(boxes.dtype)], 1)
    return selected


def nms_match(dets: Tensor, iou_threshold: float) -> list[list[int]]:
    """Group every box with the box that suppresses it.

    Args:
        dets: (N, 5) float boxes xyxy and scores, on the CPU.
        iou_threshold: a box joins the group of a higher one if their IoU is at least this.

    Returns:
        Indices by descending score, a list for each kept box, which comes first.
    """
    box = full_precision(dets[:, :4]).numpy()
    area = _area(box, 0)
    left = dets[:, 4].argsort(descending=True, stable=True).numpy()
    groups = []
    while len(left):
        first, rest = left[0], left[1:]
        joins = _overlap(box, area, first, rest, 0) >= iou_threshold
        groups.append([int(first), *rest[joins].tolist()])
        left = rest[~joins]
    return groups


def _area(box: np.ndarray, offset: int) -> np.ndarray:
    return np.prod(box[:, 2:] - box[:, :2] + offset, axis=1)


def _overlap(box: np.ndarray, area: np.ndarray, one: int, others: np.ndarray, offset: int) -> np.ndarray:
    sides = np.minimum(box[one, 2:], box[others, 2:]) - np.maximum(box[one, :2], box[others, :2]) + offset
    inter = np.prod(np.maximum(sides, 0), axis=1)
    with np.errstate(invalid="ignore"):  # two boxes without area: 0 / 0, which is no overlap
        return np.nan_to_num(inter / (area[one] + area[others] - inter))


def _without(items: np.ndarray, gone: np.ndarray) -> np.ndarray:
    """Drop items as an array does whose last item moves into each hole."""
    stays = len(items) - int(gone.sum())
    out = items.copy()
    out[np.flatnonzero(gone[:stays])] = items[stays + np.flatnonzero(~gone[stays:])][::-1]
    return out[:stays]


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Average bilinear samples in each cell of boxes (mmcv's mode "avg").

    Args:
        input: (B, C, H, W) float features.
        rois: (R, 5) float, index of the image and box xyxy in pixels of the image.
        output: (R, C, aligned_height, aligned_width), filled.
        argmax_y: unused.
        argmax_x: unused.
        aligned_height: cells along y.
        aligned_width: cells along x.
        spatial_scale: pixels of the features per pixel of the image.
        sampling_ratio: samples per side of a cell; 0 adapts them to its size.
        pool_mode: 1, averages.
        aligned: whether pixel centres lie at half-integers.

    Raises:
        UserError: pool_mode is 0, maxima, which no detector of mmdet uses.
    """
    if pool_mode != 1:
        raise UserError("RoIAlign has pool_mode 'max' in compiled mmcv only; choose 'avg'")
    x = full_precision(input)
    cells = (aligned_height, aligned_width)
    output.copy_(ops.roi_align(x, _finite(rois.to(x.dtype)), cells, spatial_scale, sampling_ratio, aligned))


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Fill ``grad_input`` (B, C, H, W) with the gradient for the features; see `roi_align_forward`."""
    grad = full_precision(grad_output)
    cells, shape = (aligned_height, aligned_width), grad_input.shape
    backward = torch.ops.torchvision._roi_align_backward
    grad_input.copy_(
        backward(grad, _finite(rois.to(grad.dtype)), spatial_scale, *cells, *shape, sampling_ratio, aligned)
    )


def _finite(rois: Tensor) -> Tensor:
    """Move what is not finite to 0: at such boxes, which diverged training makes, torchvision reads foreign memory."""
    return rois.nan_to_num(0, 0, 0)


def deform_roi_pool_forward(
    input: Tensor,
    rois: Tensor,
    offset: Tensor,
    output: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    gamma: float,
) -> None:
    """Average bilinear samples in cells of boxes, every cell moved by an offset of its own.

    Args:
        input: (B, C, H, W) float features.
        rois: (R, 5) float, see `roi_align_forward`.
        offset: (R, 2, pooled_height, pooled_width) moves in x and in y; empty for none.
        output: (R, C, pooled_height, pooled_width), filled.
        pooled_height: cells along y.
        pooled_width: cells along x.
        spatial_scale: pixels of the features per pixel of the image.
        sampling_ratio: samples per side of a cell; 0 adapts them to its size.
        gamma: what an offset of 1 moves by, in sides of the box.
    """
    cells = (pooled_height, pooled_width)
    output.copy_(_deform_roi_pool(full_precision(input), rois, offset, cells, spatial_scale, sampling_ratio, gamma))


def deform_roi_pool_backward(
    grad_output: Tensor,
    input: Tensor,
    rois: Tensor,
    offset: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    gamma: float,
) -> None:
    """Fill the gradients for features and offsets; samples on the border of the features do not move offsets."""
    x = full_precision(input).detach().requires_grad_()
    moves = offset.to(x.dtype).detach().requires_grad_()
    with torch.enable_grad():
        cells = (pooled_height, pooled_width)
        output = _deform_roi_pool(x, rois, moves, cells, spatial_scale, sampling_ratio, gamma)
    wanted = [x, moves] if offset.numel() else [x]
    grads = torch.autograd.grad(output, wanted, grad_output.to(x.dtype))
    for target, grad in zip((grad_input, grad_offset), grads, strict=False):
        target.copy_(grad)


def _deform_roi_pool(
    x: Tensor, rois: Tensor, offset: Tensor, cells: tuple[int, int], scale: float, ratio: int, gamma: float
) -> Tensor:
    rois = _finite(rois.to(x.dtype))
    boxes = rois[:, 1:] * scale - 0.5
    sides = boxes[:, 2:] - boxes[:, :2]  # (R, 2) in x and y, as in all below
    moves = x.new_zeros(len(rois), 2, *cells)
    if offset.numel():
        moves = gamma * sides[:, :, None, None] * offset.to(x.dtype)
    counts = sides.new_tensor(cells[::-1])
    samples = torch.full_like(sides, ratio) if ratio > 0 else (sides / counts).ceil().clamp(min=0)
    output = x.new_zeros(len(rois), x.shape[1], *cells)
    # Boxes of one image with the same number of samples are pooled together.
    for image, across, along in torch.unique(torch.cat([rois[:, :1], samples], 1).long(), dim=0).tolist():
        if not across * along:
            continue
        group = ((rois[:, 0] == image) & (samples[:, 0] == across) & (samples[:, 1] == along)).nonzero()[:, 0]
        xs, ys = (
            boxes[group, axis, None, None] + sides[group, axis, None, None] / cells[1 - axis] * _grid(x, cell, number)
            for axis, cell, number in ((0, cells[1], across), (1, cells[0], along))
        )  # (G, cells, samples)
        at_x = xs[:, None, :, None, :] + moves[group, 0, :, :, None, None]
        at_y = ys[:, :, None, :, None] + moves[group, 1, :, :, None, None]
        at_x, at_y = torch.broadcast_tensors(at_x, at_y)  # (G, h, w, along, across)
        output = output.index_copy(0, group, _bilinear(x[image], at_x, at_y).mean((-2, -1)))
    return output


def _grid(x: Tensor, cells: int, samples: int) -> Tensor:
    """Positions of the samples of cells, in sides of a cell: (cells, samples)."""
    within = (torch.arange(samples, device=x.device, dtype=x.dtype) + 0.5) / samples
    return torch.arange(cells, device=x.device, dtype=x.dtype)[:, None] + within


def _bilinear(features: Tensor, at_x: Tensor, at_y: Tensor) -> Tensor:
    """Sample (C, H, W) at positions (G, ...): (G, C, ...); 0 more than a pixel outside."""
    height, width = features.shape[1:]
    inside = (at_x >= -1) & (at_x <= width) & (at_y >= -1) & (at_y <= height)
    grid = torch.stack([(at_x * 2 + 1) / width - 1, (at_y * 2 + 1) / height - 1], -1)
    flat = grid.view(1, len(at_x), -1, 2)
    sampled = grid_sample(features[None], flat, padding_mode="border", align_corners=False)[0]
    return sampled.transpose(0, 1).reshape(len(at_x), len(features), *at_x.shape[1:]) * inside[:, None]


OPERATORS = (
    nms,
    softnms,
    nms_match,
    roi_align_forward,
    roi_align_backward,
    deform_roi_pool_forward,
    deform_roi_pool_backward,
)
