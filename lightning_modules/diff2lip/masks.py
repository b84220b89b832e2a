"""Which part of the region of a face is generated."""

from typing import Literal

import torch
from torch import Tensor

from networks.face_region import FaceRegion

Mask = Literal["lower", "landmarks"]
NOSE_BASE = 33
EYES = slice(36, 42), slice(42, 48)  # left and right in the picture


def lower_half(shape: tuple[int, int], device: torch.device | None = None) -> Tensor:
    """Return the mask (1, h, w) float32 that is 1 on the lower half (6.2.1.2), on rows from h / 2 on."""
    height, width = shape
    rows = torch.arange(height, device=device) >= height / 2
    return rows[None, :, None].expand(1, height, width).float()


def below_the_nose(landmarks: Tensor, region: FaceRegion, size: int) -> Tensor:
    """Return masks that follow the head: half planes below the base of the nose, turned with the line of the eyes.

    They depend on eyes and nose alone: points of the mouth or chin would tell how far the mouth is open.

    Args:
        landmarks: (..., 68, 2), x and y in pixels of faces of ``size`` pixels.
        region: of the faces.
        size: S.

    Returns:
        (..., 1, h, w) float32, 1 where a pixel's middle is on the line or below it.
    """
    x0, y0, x1, y1 = region.box(size)
    left, right = (landmarks[..., eye, :].mean(-2) for eye in EYES)
    along = right - left
    base = landmarks[..., NOSE_BASE, :]
    middles_x = torch.arange(x0, x1, device=landmarks.device) + 0.5
    middles_y = torch.arange(y0, y1, device=landmarks.device) + 0.5
    across = middles_x - base[..., 0, None]  # (..., w)
    down = middles_y - base[..., 1, None]  # (..., h)
    # The cross product with the line of the eyes is positive below it.
    side = along[..., 0, None, None] * down[..., :, None] - along[..., 1, None, None] * across[..., None, :]
    return (side >= 0)[..., None, :, :].float()
