"""Where the cells of dense features lie in the image: the one place that turns cells into pixels and back.

A ViT with patches of p pixels, s pixels apart, gives h = (H - p) // s + 1 cells for H pixels. Cell i stands for the s
pixels around the centre of its patch, p / 2 + s i, so that the cells cover the pixels from (p - s) / 2 on, s h of them.
Where s = p and H is a multiple these are all; elsewhere the official code stretches the grid over the whole image, and
with it over pixels that the ViT never saw.
"""

import math
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from visionscapes.errors import UserError

Grid = Literal["official", "covered"]


class Cells(NamedTuple):
    """Where cells lie along one side of the image, or along both: cell i from ``start + size i`` on.

    Attributes:
        start: where the first cell begins, in pixels from the edge of the image.
        size: of a cell in pixels.
    """

    start: float
    size: float

    def split(self, factor: int) -> "Cells":
        """Return the cells of which ``factor`` lie where one lay before."""
        return Cells(self.start, self.size / factor)

    def at(self, pixels: float, old: float) -> "Cells":
        """Return the cells in an image resized from ``old`` to ``pixels``."""
        return Cells(self.start * pixels / old, self.size * pixels / old)

    def edge(self, cell: int) -> float:
        """Return where cell ``cell`` begins, and the one before it ends, in pixels."""
        return self.start + self.size * cell

    def centre(self, cell: int) -> float:
        """Return the centre of cell ``cell`` in pixels."""
        return self.start + self.size * (cell + 0.5)


@runtime_checkable
class LocatesCells(Protocol):
    """Dense features that say where their cells lie."""

    def cells(self) -> Cells | None:
        """Return where the cells lie along either side of any image; None if they always tile all of it evenly."""
        ...


def cells_of(features: nn.Module, name: str = "") -> Cells | None:
    """Return where the cells of dense features lie; None if they tile every image evenly.

    Args:
        features: dense features.
        name: under which results report them, for the message.

    Raises:
        UserError: they do not say.
    """
    if not isinstance(features, LocatesCells):
        kind = type(features).__name__
        raise UserError(
            f"grid is covered, and {f'{name!r}, ' * bool(name)}{kind}, does not say which pixels its cells cover: give "
            "it a method cells() that returns networks.cells.Cells(start, size) in pixels, or None if they tile every "
            "image evenly; or leave it at grid: official"
        )
    return features.cells()


def cells_along(cells: Cells | None, count: int, pixels: int) -> Cells:
    """Return where ``count`` cells lie along a side of ``pixels``; over all of it, evenly, where ``cells`` is None."""
    return Cells(0.0, pixels / count) if cells is None else cells


def tile_evenly(cells: Cells | None, grid: tuple[int, int], size: tuple[int, int]) -> bool:
    """Return whether the cells of a grid (h, w) tile an image (H, W) of ``size`` evenly, which is the official view."""
    return all(_evenly(cells, *side) for side in zip(grid, size, strict=True))


def _evenly(cells: Cells | None, count: int, pixels: int) -> bool:
    return cells is None or (cells.start == 0 and math.isclose(cells.size, pixels / count))


def covered_pixels(cells: Cells | None, count: int, pixels: int) -> slice:
    """Return the pixels of a side whose centres lie in one of ``count`` cells."""
    along = cells_along(cells, count, pixels)
    first, end = (math.ceil(along.edge(cell) - 0.5) for cell in (0, count))
    return slice(max(0, first), min(pixels, max(first + 1, end)))


def enlarge(maps: Tensor, size: tuple[int, int], cells: Cells | None = None) -> Tensor:
    """Return maps (K, h, w) enlarged bilinearly to (K, H, W); beyond the outermost centres they stay what they are.

    Args:
        maps: (K, h, w), a value a cell.
        size: H and W of the image in pixels.
        cells: where they lie; they tile the image evenly if None, as the official code has it.
    """
    if not len(maps):  # which torch does not interpolate
        return maps.new_zeros(0, *size)
    if tile_evenly(cells, (maps.shape[-2], maps.shape[-1]), size):
        return F.interpolate(maps[None], size=size, mode="bilinear", align_corners=False)[0]
    (top, down), (left, right) = (
        lower_and_fraction(cells, count, pixels, maps) for count, pixels in zip(maps.shape[-2:], size, strict=True)
    )
    next_row, next_column = (top + 1).clamp(max=maps.shape[-2] - 1), (left + 1).clamp(max=maps.shape[-1] - 1)
    rows = maps[:, top].lerp(maps[:, next_row], down[:, None])
    return rows[:, :, left].lerp(rows[:, :, next_column], right)


def lower_and_fraction(cells: Cells | None, count: int, pixels: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cell at or before each pixel of a side and how far the pixel is on the way to the next one.

    Args:
        cells: where they lie; evenly along the side if None.
        count: how many cells there are.
        pixels: of the side.
        like: tensor with the device of both results and the dtype of the second.

    Returns:
        (pixels,) int64 and (pixels,) in [0, 1], between the centres of cells.
    """
    centre = torch.arange(pixels, device=like.device) + 0.5
    if cells is None or _evenly(cells, count, pixels):
        position = centre * (count / pixels) - 0.5
    else:
        position = (centre - cells.start) / cells.size - 0.5
    position = position.clamp(0, count - 1)
    lower = position.floor()
    return lower.long(), (position - lower).to(like.dtype)
