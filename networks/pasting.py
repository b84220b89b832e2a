"""Generated mouths put back into the frames that they were made for, at the frames' own resolution."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from networks.dubbed import Dubbed
from networks.turning import reach, turned_picture

CUBIC = -0.5  # Keys' kernel, which keeps straight lines straight
AROUND = 2  # pixels around what has weight, for cubic interpolation, in which the weight is 0

FEATHER = 0.12  # width of the soft edge, as a share of the shorter side of what is generated


def pasted(batch: Mapping[str, Any], outputs: Dubbed, feather: float = FEATHER) -> list[NDArray[np.uint8]]:
    """Return the frames of a chunk with their new mouths, new arrays; those without a face are as they were.

    Args:
        batch: with "frames", "found", "fade", "boxes" and "roll".
        outputs: of the module.
        feather: width of the soft edge, as a share of the shorter side of what is generated.
    """
    rolls = batch["roll"].cpu()
    boxes = outputs.region.in_pixels_of(outputs.faces.shape[-1]).in_frame(batch["boxes"].cpu(), rolls)
    found, fade, roll = batch["found"].tolist(), batch["fade"].tolist(), rolls.tolist()
    frames = []
    for at, frame in enumerate(batch["frames"]):
        new: Tensor = torch.from_numpy(frame.copy())
        if found[at]:
            paste(new, outputs.patches[at], outputs.mask[at], boxes[at], roll=roll[at], fade=fade[at], feather=feather)
        frames.append(new.numpy())
    return frames


def paste(
    frame: Tensor,
    patch: Tensor,
    mask: Tensor,
    box: Tensor,
    *,
    roll: float = 0.0,
    fade: float = 1.0,
    feather: float = 0.1,
) -> None:
    """Paste a generated patch into a frame, in place; where the weight is 0 the frame keeps every bit.

    The weight is ``fade`` times the mask, which rises from 0 at its edge to 1 within ``feather``. The patch is resized
    by cubic interpolation, with antialiasing where it becomes smaller, and lies where the box says to a fraction of a
    pixel; it is turned when it has the frame's resolution.

    Args:
        frame: (H, W, 3) uint8 RGB, on any device.
        patch: (3, h, w) float in [-1, 1], on any device; what lies beyond is clamped.
        mask: (1, h, w) float, 1 where it was generated and 0 elsewhere.
        box: (4,) float xyxy in pixels of the frame, which the patch stands for; it may reach beyond the frame.
        roll: radians by which the box is turned about its middle, clockwise on the screen.
        fade: weight in [0, 1].
        feather: width of the soft edge, as a share of the shorter side of the patch.
    """
    weight = feathered(mask.to(patch.device, torch.float32), feather)[0]
    x0, y0, x1, y1 = box.tolist()
    about = (x0 + x1) / 2, (y0 + y1) / 2
    whole = range(frame.shape[1]), range(frame.shape[0])
    seen = reach(*whole, about=about, angle=-roll) if roll else whole
    columns, rows = _touched(weight.any(0), x0, x1, seen[0]), _touched(weight.any(1), y0, y1, seen[1])
    if fade <= 0 or not len(rows) or not len(columns):
        return
    if roll:
        columns, rows = (range(each.start - AROUND, each.stop + AROUND) for each in (columns, rows))
    colours, share = (patch.float().clamp(-1, 1) + 1) * 127.5, weight[None]
    for pixels, start, end in ((columns, x0, x1), (rows, y0, y1)):  # each turns the sides round: back after the second
        colours = (colours @ resampling(pixels, start, end, colours.shape[-1], cubic=True).to(colours)).mT
        share = (share @ resampling(pixels, start, end, share.shape[-1], cubic=False).to(share)).mT
    if roll:
        corner = columns.start, rows.start
        columns, rows = map(_common, reach(columns, rows, about=about, angle=roll), whole)
        if not len(rows) or not len(columns):
            return
        colours = turned_picture(colours, corner, columns, rows, about=about, angle=-roll, cubic=True)
        share = turned_picture(share, corner, columns, rows, about=about, angle=-roll)
    there = frame[rows.start : rows.stop, columns.start : columns.stop]
    new = colours.clamp(0, 255).permute(1, 2, 0).to(frame.device)
    share = fade * share.clamp(0, 1).permute(1, 2, 0).to(frame.device)
    there.copy_(torch.lerp(there.float(), new, share.expand_as(new)).round_())


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


def resampling(pixels: range, start: float, end: float, size: int, *, cubic: bool) -> Tensor:
    """Return the weights (size, n) of the pixels of a line in n others, onto which it is stretched.

    Args:
        pixels: the n others, whole numbers.
        start: where the line begins among them.
        end: where it ends.
        size: pixels of the line.
        cubic: whether to interpolate by cubic pieces and repeat the line's ends; else by straight ones, and with zeros
            beyond its ends.
    """
    scale = size / (end - start)
    places = (torch.arange(pixels.start, pixels.stop, dtype=torch.float64) + 0.5 - start) * scale - 0.5
    wide = max(1.0, scale)  # pixels of the line that one of the others covers
    beyond = math.ceil(2 * wide) + math.ceil(scale)
    sources = torch.arange(-beyond, size + beyond, dtype=torch.float64)
    away = (places - sources[:, None]).abs() / wide
    weights = _cubic(away) if cubic else (1 - away).clamp_min(0)
    weights = weights / weights.sum(0).clamp_min(1e-9)
    inner = weights[beyond : beyond + size]
    if cubic:
        inner[0] += weights[:beyond].sum(0)
        inner[-1] += weights[beyond + size :].sum(0)
    return inner


def _cubic(away: Tensor) -> Tensor:
    near = ((CUBIC + 2) * away - (CUBIC + 3)) * away**2 + 1
    far = CUBIC * (((away - 5) * away + 8) * away - 4)
    return torch.where(away < 1, near, torch.where(away < 2, far, 0.0))


def _touched(weighed: Tensor, start: float, end: float, seen: range) -> range:
    """Return which pixels a line with some weight reaches that is stretched from start to end.

    Args:
        weighed: (size,) bool, which pixels of the line have weight.
        start: where it begins.
        end: where it ends.
        seen: pixels among which they are.
    """
    places = weighed.nonzero()
    if not len(places) or end <= start:
        return range(0)
    scale = (end - start) / len(weighed)
    first, last = start + (int(places[0]) - 1) * scale, start + (int(places[-1]) + 2) * scale
    return _common(range(math.floor(first), math.ceil(last)), seen)


def _common(one: range, other: range) -> range:
    first, last = max(one.start, other.start), min(one.stop, other.stop)
    return range(first, max(first, last))
