"""Which part of its frames a prepared clip shows: a square around the head, or what others have agreed on."""

import math
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from networks.audio import FRAME_RATE

Crop = Literal["moving", "fixed", "none", "voxceleb2"]
SMOOTHING = 0.4  # seconds, standard deviation: a camera that follows a head, not its nodding
JUMP = 0.5  # of the longer side of a face, from one frame to the next: a cut, across which nothing is smoothed
OUTLIERS = 5.0  # percent of the frames at either end that a fixed window need not hold
VOXCELEB2_BOTTOM, VOXCELEB2_SIDE = 0.295, 0.225  # of the frame, which are cut off: the fixed crop of Diff2Lip


def crop_windows(
    boxes: NDArray[np.float32], found: NDArray[np.bool_], frame: tuple[int, int], crop: Crop, margin: float
) -> NDArray[np.float32]:
    """Return the part of each frame that a prepared clip shows, which may reach beyond the frame.

    Args:
        boxes: (T, 4) xyxy in pixels of the frames, of the face from forehead to chin.
        found: (T,) which boxes mean something; one at least.
        frame: width and height in pixels.
        crop: "moving" is a square that follows the head, smoothed over time; "fixed" one square that holds the head
            throughout; "none" the whole frame; "voxceleb2" the part of VoxCeleb2's frames that Diff2Lip takes for the
            face: all but the lowest 29.5 % of the rows and 22.5 % of the columns at either side.
        margin: side of the square, in multiples of the longer side of the face.

    Returns:
        (T, 4) float32 xyxy in pixels of the frames.
    """
    width, height = frame
    if crop == "none":
        return np.tile(np.array([0, 0, width, height], np.float32), (len(boxes), 1))
    if crop == "voxceleb2":
        side, bottom = int(VOXCELEB2_SIDE * width), int(VOXCELEB2_BOTTOM * height)
        return np.tile(np.array([side, 0, width - side, height - bottom], np.float32), (len(boxes), 1))
    windows = (_moving if crop == "moving" else _fixed)(boxes.astype(np.float64), found, margin)
    return windows.astype(np.float32)


def picture_size(frame: tuple[int, int], crop: Crop, size: int) -> tuple[int, int]:
    """Return width and height of a clip's pictures, whose longer side has ``size`` pixels.

    Args:
        frame: width and height of the source.
        crop: see `crop_windows`; all but "none" make squares.
        size: in pixels.
    """
    if crop != "none":
        return size, size
    longer = max(frame)
    return max(1, round(size * frame[0] / longer)), max(1, round(size * frame[1] / longer))


def cut(image: NDArray[np.uint8], window: NDArray[np.float32], size: tuple[int, int]) -> Image.Image:
    """Return what of an image lies in a window, to a fraction of a pixel, so that a window that moves does not tremble.

    Args:
        image: (H, W, 3) uint8 RGB.
        window: (4,) xyxy in pixels; what of it lies outside the image repeats the image's border.
        size: width and height of the result; bilinear, antialiased where it is smaller.
    """
    x0, y0, x1, y1 = map(float, window)
    around = [math.ceil(max(1, length / pixels)) + 1 for length, pixels in zip((x1 - x0, y1 - y0), size, strict=True)]
    left, top = math.floor(x0) - around[0], math.floor(y0) - around[1]
    region = _rows(image, top, math.ceil(y1) + around[1])
    region = _rows(region.swapaxes(0, 1), left, math.ceil(x1) + around[0]).swapaxes(0, 1)
    whole = Image.fromarray(np.ascontiguousarray(region))
    return whole.resize(size, Image.Resampling.BILINEAR, box=(x0 - left, y0 - top, x1 - left, y1 - top))


def in_window(points: NDArray[np.float32], windows: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Return points of the frames in pixels of the pictures.

    Args:
        points: (T, n, 2) xy in pixels of the frames.
        windows: (T, 4) xyxy in pixels of the frames.
        size: width and height of the pictures.
    """
    origin, extent = windows[:, None, :2], windows[:, None, 2:] - windows[:, None, :2]
    return ((points - origin) * np.asarray(size, np.float32) / extent).astype(np.float32)


def _rows(image: NDArray[np.uint8], first: int, end: int) -> NDArray[np.uint8]:
    if first >= 0 and end <= len(image):
        return image[first:end]
    return image[np.arange(first, end).clip(0, len(image) - 1)]


def _fixed(boxes: NDArray[np.float64], found: NDArray[np.bool_], margin: float) -> NDArray[np.float64]:
    known = boxes[found]
    held = np.r_[np.percentile(known[:, :2], OUTLIERS, axis=0), np.percentile(known[:, 2:], 100 - OUTLIERS, axis=0)]
    face = np.median((known[:, 2:] - known[:, :2]).max(1))
    side = (held[2:] - held[:2]).max() + (margin - 1) * face
    return np.tile(_square((held[:2] + held[2:]) / 2, side), (len(boxes), 1))


def _moving(boxes: NDArray[np.float64], found: NDArray[np.bool_], margin: float) -> NDArray[np.float64]:
    seen = np.flatnonzero(found)
    known = boxes[seen]
    centres, sides = (known[:, :2] + known[:, 2:]) / 2, (known[:, 2:] - known[:, :2]).max(1)
    steps = np.abs(np.diff(centres, axis=0)).max(1, initial=0) / sides[1:]
    cuts = np.flatnonzero(steps > JUMP * np.maximum(1, np.diff(seen))) + 1
    windows = np.zeros((len(boxes), 4))
    # A shot lasts until the first face of the next one.
    for first, end in pairwise([0, *cuts.tolist(), len(seen)]):
        start = 0 if first == 0 else int(seen[first])
        frames = np.arange(start, len(boxes) if end == len(seen) else int(seen[end]))
        values = np.c_[centres, sides][first:end]
        there = np.stack([np.interp(frames, seen[first:end], column) for column in values.T], 1)
        smooth = _smoothed(there)
        windows[frames] = _square(smooth[:, :2], margin * smooth[:, 2])
    return windows


def _square(centres: NDArray[np.float64], sides: NDArray[np.float64]) -> NDArray[np.float64]:
    half = np.asarray(sides)[..., None] / 2
    return np.concatenate([centres - half, centres + half], -1)


def _smoothed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values (T, n) smoothed over time by a Gaussian, of which what lies before and after is left out."""
    sigma = SMOOTHING * FRAME_RATE
    reach = math.ceil(3 * sigma)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    total = np.convolve(np.ones(len(values)), weights)[reach : reach + len(values)]
    smooth = [np.convolve(column, weights)[reach : reach + len(values)] / total for column in values.T]
    return np.stack(smooth, 1)
