"""Dense features by tiling: a large picture goes through a network of a fixed size window by window (thesis 2.7.3)."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from visionscapes.errors import UserError


def to_patch_multiple(images: Tensor, patch: int) -> Tensor:
    """Return images (B, 3, H, W) with both sides brought to the nearest lower multiple of ``patch``, at least one.

    Bicubic and antialiased; the aspect ratio changes by less than a patch. The thesis says "nearest", the official
    code takes the lower one, as this does.
    """
    sides = [max(patch, side // patch * patch) for side in images.shape[-2:]]
    if sides == list(images.shape[-2:]):
        return images
    return F.interpolate(images, sides, mode="bicubic", align_corners=False, antialias=True).clamp(0, 1)


def tile_starts(length: int, window: int) -> list[int]:
    """Return where windows begin along a side: one after the other, the last one shifted back to the border."""
    starts = list(range(0, length - window + 1, window))
    return starts if starts[-1] + window == length else [*starts, length - window]


def tiled(
    features: Callable[[Tensor], dict[str, Tensor]], images: Tensor, window: int, patch: int, at_once: int
) -> dict[str, Tensor]:
    """Return the features of large images, extracted window by window and put together.

    Where the shifted last window overlaps its neighbour, the neighbour's cells stay and its own are discarded: "for
    these areas the features are discarded" (2.7.3). That section speaks of two such crops; how many there are depends
    on the aspect ratio.

    Args:
        features: (b, 3, window, window) to maps (b, C, window / patch, window / patch) by name.
        images: (B, 3, H, W), both sides at least ``window`` and multiples of ``patch``.
        window: side of a tile in pixels, a multiple of ``patch``.
        patch: pixels of a cell.
        at_once: windows that pass together, which bounds the memory.

    Returns:
        Maps (B, C, H / patch, W / patch) by name.

    Raises:
        UserError: an image smaller than the tile, or sides that are no multiples of the patch.
    """
    batch, _, height, width = images.shape
    if min(height, width) < window:
        raise UserError(
            f"an image of {width}x{height} pixels is smaller than the tile of {window}x{window}: enlarge it, so that "
            f"its shorter side has at least {window} pixels"
        )
    if any(side % patch for side in (height, width, window)):
        raise UserError(f"{width}x{height} pixels or a tile of {window} are no multiples of {patch}, the patch")
    places = [(top, left) for top in tile_starts(height, window) for left in tile_starts(width, window)]
    if len(places) == 1:
        return features(images)
    windows = torch.cat([images[:, :, top : top + window, left : left + window] for top, left in places])
    parts = [features(part) for part in windows.split(at_once)]
    maps = {}
    for name in list(parts[0]):
        cells = torch.cat([part.pop(name) for part in parts]).unflatten(0, (len(places), batch))
        whole = cells.new_empty(batch, cells.shape[2], height // patch, width // patch)
        for (top, left), tile in reversed(list(zip(places, cells, strict=True))):  # so that earlier tiles win
            side = window // patch
            whole[:, :, top // patch : top // patch + side, left // patch : left // patch + side] = tile
        maps[name] = whole
    return maps
