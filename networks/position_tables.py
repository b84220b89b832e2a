"""Tables of position embeddings resized to other grids, and each once more for grids whose size is not known yet.

The latter compare no sizes and take none for a number: a network that is followed once to be exported has them for all
sizes. They are equal to the former up to rounding.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SHARPNESS = -0.75  # of cubic convolution in torch


def resize_positions_official(table: Tensor, h: int, w: int) -> Tensor:
    """Resize position embeddings (1, C, H, W) to (1, C, h, w) as DINO does.

    Bicubic with scale factor (h + 0.1) / H and no antialiasing: the 0.1 guards DINO against a rounding error and moves
    the sampling points a little. The native grid is returned untouched.
    """
    if (h, w) == table.shape[-2:]:
        return table
    factors = [(h + 0.1) / table.shape[-2], (w + 0.1) / table.shape[-1]]
    resized = F.interpolate(table, scale_factor=factors, mode="bicubic", align_corners=False)
    if resized.shape[-2:] != (h, w):  # pragma: no cover
        raise ValueError(f"position embeddings became {tuple(resized.shape)}, wanted {(h, w)}")
    return resized


def resize_positions_timm(table: Tensor, h: int, w: int) -> Tensor:
    """Resize position embeddings (1, C, H, W) to (1, C, h, w), bicubic with antialiasing as timm does."""
    if (h, w) == table.shape[-2:]:
        return table
    return F.interpolate(table, size=(h, w), mode="bicubic", antialias=True)


def resize_positions_official_traceable(table: Tensor, h: int, w: int) -> Tensor:
    """Resize position embeddings as `resize_positions_official` does, by products with matrices."""
    native = (_length(h, table) == table.shape[-2]) & (_length(w, table) == table.shape[-1])
    rows, columns = (
        _cubic_matrix(cells, side, torch.where(native, 1.0, (_length(side, table) + 0.1) / cells)).to(table.dtype)
        for cells, side in zip(table.shape[-2:], (h, w), strict=True)
    )
    return rows @ table @ columns.T


def resize_positions_timm_traceable(table: Tensor, h: int, w: int) -> Tensor:
    """Resize position embeddings as `resize_positions_timm` does, which leaves the native grid as it is anyway."""
    return F.interpolate(table, size=(h, w), mode="bicubic", antialias=True)


TRACEABLE = ", traceable"
RESIZE: dict[str, Callable[[Tensor, int, int], Tensor]] = {
    "official": resize_positions_official,
    "timm": resize_positions_timm,
    f"official{TRACEABLE}": resize_positions_official_traceable,
    f"timm{TRACEABLE}": resize_positions_timm_traceable,
}


def of_any_size(name: str) -> str:
    """Return the name of the rule that does the same as another one and compares no sizes."""
    return name if name.endswith(TRACEABLE) else f"{name}{TRACEABLE}"


class CentredRotary(nn.Module):
    """Stands in for timm's rotary positions of DINOv3, which take the height and width of the grid for constants.

    Args:
        rotary: timm's.
    """

    def __init__(self, rotary: Any):
        super().__init__()
        self.rotary = rotary

    @classmethod
    def in_place_of(cls, rotary: Any) -> "CentredRotary | None":
        """Return one that stands in for rotary positions; None where there are none, or others."""
        from timm.layers import RotaryEmbeddingDinoV3

        known = isinstance(rotary, RotaryEmbeddingDinoV3) and rotary.normalize_coords == "separate"
        return cls(rotary) if known and rotary.grid_indexing == "ij" else None

    def get_embed(self, shape: tuple[int, int], dtype: torch.dtype | None = None) -> Tensor:
        """Return sines and cosines (h w, 2 D) for a grid (h, w)."""
        device = self.rotary.periods.device
        sides = [(torch.arange(side, device=device).float() + 0.5 + self.rotary.grid_offset) / side for side in shape]
        grid = 2 * torch.stack(torch.meshgrid(sides, indexing="ij"), dim=-1) - 1
        embedded = torch.cat(self.rotary._get_pos_embed_from_coords(grid.flatten(0, 1)), dim=-1)
        return embedded if dtype is None else embedded.to(dtype)


def _length(count: int, like: Tensor) -> Tensor:
    """Return a number of cells as a float64 scalar, whose value may be known only when the network runs."""
    return torch.ones(count, dtype=torch.float64, device=like.device).sum()


def _cubic_matrix(cells: int, wanted: int, scale: Tensor) -> Tensor:
    """Return the matrix (wanted, cells) of cubic convolution; sample i lies at (i + 0.5) / scale - 0.5."""
    place = (torch.arange(wanted, dtype=torch.float64, device=scale.device) + 0.5) / scale - 0.5
    first = place.floor()
    matrix = torch.zeros(1, cells, dtype=torch.float64, device=scale.device)
    for step in range(-1, 3):
        cell = first + step
        weight = _cubic((place - cell).abs())
        hit = cell.clamp(0, cells - 1)[:, None] == torch.arange(cells, device=scale.device)
        matrix = matrix + weight[:, None] * hit
    return matrix


def _cubic(distance: Tensor) -> Tensor:
    """Return Keys' kernel at distances from 0 to 2."""
    a = SHARPNESS
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return torch.where(distance <= 1, near, torch.where(distance < 2, far, torch.zeros_like(distance)))
