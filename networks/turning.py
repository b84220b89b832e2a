"""Points and pictures turned about a place: heads held to a side are seen upright, and what was made of them put back.

Angles are in radians, clockwise on the screen. Places are in pixels, of which the first one reaches from 0 to 1.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def turned(points: Tensor, about: Tensor, angles: Tensor) -> Tensor:
    """Return points that are turned about a place.

    Args:
        points: (..., n, 2) xy.
        about: (..., 2) xy, the places.
        angles: (...) radians, clockwise on the screen.

    Returns:
        (..., n, 2) of the type of the points.
    """
    cos, sin = angles.to(points).cos()[..., None], angles.to(points).sin()[..., None]
    x, y = (points - about.to(points)[..., None, :]).unbind(-1)
    return torch.stack([cos * x - sin * y, sin * x + cos * y], -1) + about.to(points)[..., None, :]


def reach(columns: range, rows: range, *, about: tuple[float, float], angle: float) -> tuple[range, range]:
    """Return the columns and the rows that a rectangle of pixels reaches when it is turned.

    Args:
        columns: of the rectangle.
        rows: of the rectangle.
        about: x and y of the place about which it is turned.
        angle: radians, clockwise on the screen.
    """
    sides = (columns.start, columns.stop), (rows.start, rows.stop)
    corners = torch.cartesian_prod(*(torch.tensor(side, dtype=torch.float64) for side in sides))
    places = turned(corners, torch.tensor(about, dtype=torch.float64), torch.tensor(angle))
    ends = zip(places.amin(0).floor().int().tolist(), places.amax(0).ceil().int().tolist(), strict=True)
    return tuple(range(*end) for end in ends)  # type: ignore[return-value]


def turned_picture(
    picture: Tensor,
    corner: tuple[int, int],
    columns: range,
    rows: range,
    *,
    about: tuple[float, float],
    angle: float,
    cubic: bool = False,
) -> Tensor:
    """Return what a picture shows at pixels that are turned about a place, at its own scale.

    At an angle of 0, and at every multiple of a right angle about a corner or middle of a pixel, it is the picture's
    own pixels. What lies beyond the picture repeats its border.

    Args:
        picture: (C, H, W) float.
        corner: x and y of where the picture begins.
        columns: x of the pixels, before they are turned.
        rows: y of the pixels, before they are turned.
        about: x and y of the place about which they are turned.
        angle: radians by which they are, clockwise on the screen: what they show is turned the other way.
        cubic: whether to interpolate by cubic pieces, which keeps edges and may go beyond the picture's values; else by
            straight ones.

    Returns:
        (C, n, m) float of n rows and m columns.
    """
    height, width = picture.shape[-2:]
    cos, sin = math.cos(angle), math.sin(angle)
    across, down = (torch.arange(each.start, each.stop, dtype=torch.float64) + 0.5 for each in (columns, rows))
    across, down = across - about[0], down - about[1]
    grid = picture.new_empty(1, len(rows), len(columns), 2)  # [-1, 1] across the picture
    for axis, (by_column, by_row, length) in enumerate(((cos, -sin, width), (sin, cos, height))):
        first = 2 / length * (about[axis] - corner[axis]) - 1
        of_columns, of_rows = (2 / length * by_column * across).to(grid), (2 / length * by_row * down + first).to(grid)
        torch.add(of_columns[None], of_rows[:, None], out=grid[0, ..., axis])
    mode = "bicubic" if cubic else "bilinear"
    return F.grid_sample(picture[None], grid, mode=mode, padding_mode="border", align_corners=False)[0]
