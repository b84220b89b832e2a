"""Heads cut out as networks know them from training: the square of `crop_windows` that prepared clips show."""

from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datamodules.clips.prepare.cropping import crop_windows, cut, in_window
from visionscapes.checks import Bounds

Float = NDArray[np.float32]
Raised = Annotated[float, Bounds(least=-1, most=1)]


def head_windows(boxes: Float, margin: float, raised: float = 0.0) -> Float:
    """Return the square around a head in each frame, which follows it as a camera does, see `crop_windows`.

    Args:
        boxes: (T, 4) xyxy in square pixels, of the face from forehead to chin.
        margin: side of a square, in multiples of the longer side of the face.
        raised: how far the middle of a square lies above that of the face, in the same unit; 0 as in prepared clips.

    Returns:
        (T, 4) float32 xyxy, which may reach beyond the frames.
    """
    windows = crop_windows(boxes, np.ones(len(boxes), bool), (0, 0), "moving", margin)
    windows[:, 1::2] -= raised / margin * (windows[:, 3:] - windows[:, 1:2])
    return windows


def head_picture(frame: NDArray[np.uint8], window: Float, size: int, pixel_aspect: float = 1.0) -> Tensor:
    """Return the head in a frame, (3, S, S) uint8; what lies outside the frame repeats its border.

    Args:
        frame: (H, W, 3) uint8 RGB.
        window: (4,) xyxy in square pixels.
        size: S in pixels.
        pixel_aspect: width of a pixel of the frame as shown divided by its height.
    """
    stored = (window / np.array([pixel_aspect, 1, pixel_aspect, 1])).astype(np.float32)
    return torch.from_numpy(np.asarray(cut(frame, stored, (size, size)), np.uint8).copy()).permute(2, 0, 1)


def in_heads(landmarks: Float, windows: Float, size: int) -> Float:
    """Return landmarks (T, 68, 2) of frames in pixels of what `head_picture` shows of them, float32."""
    return in_window(landmarks, windows, (size, size))
