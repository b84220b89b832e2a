"""Generated mouths put back into the frames that they were made for, at the frames' own resolution."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def paste(frame: Tensor, patch: Tensor, mask: Tensor, box: Tensor, *, fade: float = 1.0, feather: float = 0.1) -> None:
    """Paste a generated patch into a frame, in place; where the weight is 0 the frame keeps every bit.

    The weight is ``fade`` times the mask, which rises from 0 at its edge to 1 within ``feather``. The patch is enlarged
    by cubic interpolation, or made smaller with antialiasing, and lies where the box says to a fraction of a pixel.

    Args:
        frame: (H, W, 3) uint8 RGB, on any device.
        patch: (3, h, w) float in [-1, 1], on any device; what lies beyond is clamped.
        mask: (1, h, w) float, 1 where it was generated and 0 elsewhere.
        box: (4,) float xyxy in pixels of the frame, which the patch stands for; it may reach beyond the frame.
        fade: weight in [0, 1].
        feather: width of the soft edge, as a share of the shorter side of the patch.
    """
    height, width = frame.shape[:2]
    x0, y0, x1, y1 = box.tolist()
    left, top = max(math.floor(x0), 0), max(math.floor(y0), 0)
    right, bottom = min(math.ceil(x1), width), min(math.ceil(y1), height)
    if fade <= 0 or left >= right or top >= bottom:
        return
    patch = ((patch.float().clamp(-1, 1) + 1) * 127.5)[None]
    weight = feathered(mask.to(patch.device), feather)[None]
    size = math.ceil(y1 - y0), math.ceil(x1 - x0)
    smaller = min(size[0], patch.shape[2]), min(size[1], patch.shape[3])
    if smaller != tuple(patch.shape[2:]):
        patch = F.interpolate(patch, smaller, mode="bilinear", antialias=True, align_corners=False)
    columns = (torch.arange(left, right, device=patch.device) + 0.5 - x0) / (x1 - x0) * 2 - 1
    rows = (torch.arange(top, bottom, device=patch.device) + 0.5 - y0) / (y1 - y0) * 2 - 1
    grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1)[None].float()
    placed = F.grid_sample(patch, grid, mode="bicubic", padding_mode="border", align_corners=False)[0]
    weights = F.grid_sample(weight, grid, mode="bilinear", padding_mode="zeros", align_corners=False)[0]
    there = frame[top:bottom, left:right]
    new = placed.clamp(0, 255).permute(1, 2, 0).to(frame.device)
    share = fade * weights.permute(1, 2, 0).to(frame.device)
    old = there.float()
    there.copy_((old + share * (new - old)).round().to(torch.uint8))


def feathered(mask: Tensor, feather: float) -> Tensor:
    """Return a mask (1, h, w) that rises smoothly from 0 at its edge, and at that of the patch, to 1 within it.

    Args:
        mask: (1, h, w) float of 0 and 1.
        feather: width of the soft edge, as a share of the shorter side.
    """
    reach = max(1, round(feather * min(mask.shape[-2:])))
    # How much of a square around each pixel is mask: r + 1 of 2 r + 1 rows at a straight edge, where it becomes 0.
    inside = F.avg_pool2d(mask[None], 2 * reach + 1, stride=1, padding=reach)[0] * (2 * reach + 1)
    ramp = ((inside - reach - 1) / reach).clamp(0, 1) * mask
    return ramp * ramp * (3 - 2 * ramp)
