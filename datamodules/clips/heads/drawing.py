"""Drawings of landmarks, which tell the networks of chapter 6.1 how a head is turned and what it does.

The authors' code draws the 68 points with matplotlib, as open lines of two points' width on pictures of 224 pixels,
each part of the face in a colour of its own. Here lines have that share of any picture's side, and what a line covers
of a pixel is computed, so that drawings follow landmarks to fractions of a pixel. A drawing takes 1 to 2 ms
(1.7 at 64 pixels, 1.1 at 224; one core of an AMD EPYC that was busy, 2026-11-30).
"""

from typing import Final

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

WIDTH = 2.8 / 224  # of a line, as a share of the picture's side
LEAST_DRAWN = 200  # pixels of a side that is drawn; smaller drawings are the means of its pixels
GREEN, ORANGE, BLUE = (0, 128, 0), (255, 165, 0), (0, 0, 255)
RED, PURPLE, PINK = (255, 0, 0), (128, 0, 128), (255, 192, 203)
# The parts of a face in the order in which they are painted: first point, last point, colour. None is closed.
LINES: Final[tuple[tuple[int, int, tuple[int, int, int]], ...]] = (
    (0, 16, GREEN),  # jaw
    (17, 21, ORANGE),  # brows
    (22, 26, ORANGE),
    (27, 30, BLUE),  # bridge of the nose, and its base
    (31, 35, BLUE),
    (36, 41, RED),  # eyes
    (42, 47, RED),
    (48, 59, PURPLE),  # outer and inner outline of the lips
    (60, 67, PINK),
)
POINTS = 68


def draw_landmarks(landmarks: ArrayLike | Tensor, size: int, side: float | None = None) -> Tensor:
    """Draw the landmarks of a face as open lines on black.

    Args:
        landmarks: (68, 2) xy pixels in the order of iBUG 300-W; (0, 0) is the upper left corner of the picture, and
            points may lie outside it.
        size: S, side of the drawing in pixels.
        side: of the square picture that the landmarks are in, in pixels; that of the drawing if None.

    Returns:
        (3, S, S) uint8 RGB.

    Raises:
        ValueError: there are not 68 points, or one is not finite.
    """
    points = np.asarray(landmarks, np.float64)
    if points.shape != (POINTS, 2) or not np.isfinite(points).all():
        raise ValueError(f"landmarks are {POINTS} finite points (68, 2), and these have the shape {points.shape}")
    finer = -(-LEAST_DRAWN // size)
    drawing = _drawn(points * (finer * size / (side or size)), finer * size)
    drawing = drawing.reshape(3, size, finer, size, finer).mean((2, 4))
    return torch.from_numpy(np.rint(drawing).astype(np.uint8))


def draw_all(landmarks: ArrayLike | Tensor, size: int, side: float | None = None) -> Tensor:
    """Draw the landmarks (T, 68, 2) of T frames as `draw_landmarks` does; returns (T, 3, S, S) uint8 RGB."""
    each = np.asarray(landmarks)
    drawings = torch.empty(len(each), 3, size, size, dtype=torch.uint8)
    for number, points in enumerate(each):
        drawings[number] = draw_landmarks(points, size, side)
    return drawings


def _drawn(points: NDArray[np.float64], size: int) -> NDArray[np.float32]:
    starts = np.concatenate([points[first:last] for first, last, _ in LINES])
    ends = np.concatenate([points[first + 1 : last + 1] for first, last, _ in LINES])
    corners, share = _cover(starts, ends, size)
    height, width = share.shape[1:]
    drawing = np.zeros((3, size, size), np.float32)
    done = 0
    for first, last, colour in LINES:
        segments = range(done, done + last - first)
        done = segments.stop
        left, top = corners[segments].min(0)
        right, bottom = corners[segments].max(0) + np.array([width, height])
        line = np.zeros((bottom - top, right - left), np.float32)
        for segment in segments:
            x, y = corners[segment] - np.array([left, top])
            window = line[y : y + height, x : x + width]
            np.maximum(window, share[segment], out=window)
        painted = drawing[:, top:bottom, left:right]
        painted += line * (np.array(colour, np.float32)[:, None, None] - painted)
    return drawing


def _cover(starts: NDArray[np.float64], ends: NDArray[np.float64], size: int) -> tuple[NDArray, NDArray[np.float32]]:
    """Return which share of the pixels around each of N segments its line covers.

    Args:
        starts: (N, 2) xy pixels.
        ends: (N, 2).
        size: S of the picture.

    Returns:
        The first column and row (N, 2) of a window, and the shares (N, h, w) of its pixels; all windows have one size
        and lie in the picture.
    """
    half = WIDTH * size / 2
    reach = half + 1
    low = np.floor(np.clip(np.minimum(starts, ends) - reach, 0, size)).astype(int)
    high = np.ceil(np.clip(np.maximum(starts, ends) + reach, 0, size)).astype(int)
    width, height = np.clip((high - low).max(0), 1, size)
    corners = np.minimum(low, [size - width, size - height])
    # From a segment's start to the middles of the pixels.
    x = (corners[:, :1] + np.arange(width) + 0.5 - starts[:, :1])[:, None].astype(np.float32)
    y = (corners[:, 1:] + np.arange(height) + 0.5 - starts[:, 1:])[..., None].astype(np.float32)
    along = (ends - starts).astype(np.float32)[:, :, None, None]
    length = np.maximum((along**2).sum(1), 1e-12)
    nearest = np.clip((x * along[:, 0] + y * along[:, 1]) / length, 0, 1)
    distance = np.hypot(x - nearest * along[:, 0], y - nearest * along[:, 1])
    return corners, np.clip(half + 0.5 - distance, 0, 1)
