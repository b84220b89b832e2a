"""Landmarks and boxes smoothed over time: the head's movement is, what mouth and eyes do is not."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.signal import savgol_filter

Float = NDArray[np.float32]
# What moves with the head alone: the jaw beside the ears, the nose, the corners of the eyes.
RIGID = np.array([0, 1, 2, 14, 15, 16, *range(27, 36), 36, 39, 42, 45])
ARTICULATED = np.array([*range(36, 48), *range(48, 68)])  # eyes and mouth keep the shape in which they were found
DEGREE = 2  # of the polynomials: speeding up and slowing down are kept
STEADIER = 2  # times the window: a box does not follow every nod, nor the chin
PIECE = 1500  # frames that are smoothed at once: a minute, whose intermediate results take 7 MB


def smoothed_landmarks(landmarks: Float, found: NDArray[np.bool_], shots: NDArray[np.int64], window: int) -> Float:
    """Smooth the landmarks of each run of frames, without delay.

    The head's position, size and roll are smoothed, by which all points move together; so is the shape of the head
    seen from itself, but for mouth and eyes.

    Args:
        landmarks: (T, 68, 2) float32 in pixels.
        found: (T,) which of them mean something.
        shots: (T,) number of the shot; nothing is smoothed across a cut.
        window: in frames; below 4 nothing is smoothed.

    Returns:
        (T, 68, 2) float32; zeros where there is no face.
    """
    result = np.zeros_like(landmarks)
    for run in runs(found, shots):
        shape = _shape(landmarks[run])
        for inner, outer in pieces(run, window):
            smooth = _smoothed(landmarks[outer].astype(np.float64), shape, window)
            result[inner] = smooth[inner.start - outer.start : inner.stop - outer.start]
    return result


def smoothed_boxes(boxes: Float, found: NDArray[np.bool_], shots: NDArray[np.int64], window: int) -> Float:
    """Smooth boxes (T, 4) as `smoothed_landmarks`, in windows that are twice as long."""
    result = np.zeros_like(boxes)
    for run in runs(found, shots):
        result[run] = _polynomial(boxes[run].astype(np.float64), STEADIER * window)
    return result


def smoothed_angles(angles: Float, found: NDArray[np.bool_], shots: NDArray[np.int64], window: int) -> Float:
    """Smooth angles (T,) in radians as `smoothed_boxes`; they lie in [-pi, pi], and 0 where there is no face."""
    result = np.zeros_like(angles)
    for run in runs(found, shots):
        smooth = _polynomial(np.unwrap(angles[run].astype(np.float64)), STEADIER * window)
        result[run] = np.angle(np.exp(1j * smooth))
    return result


def runs(found: NDArray[np.bool_], shots: NDArray[np.int64]) -> Iterator[slice]:
    """Yield the runs of frames of one shot that all have a face."""
    label = np.where(found, shots, -1)
    edges = [0, *(np.flatnonzero(np.diff(label)) + 1).tolist(), len(label)]
    for first, end in pairwise(edges):
        if end > first and found[first]:
            yield slice(first, end)


def pieces(run: slice, margin: int) -> Iterator[tuple[slice, slice]]:
    """Yield the pieces of a run of frames, each also with up to ``margin`` frames of the run on either side."""
    for first in range(run.start, run.stop, PIECE):
        end = min(first + PIECE, run.stop)
        yield slice(first, end), slice(max(first - margin, run.start), min(end + margin, run.stop))


def _shape(landmarks: Float) -> NDArray[np.complex128]:
    """Return where on average the rigid points are, seen from their middle."""
    mean = landmarks[:, RIGID].mean(0, dtype=np.float64)
    shape = mean[:, 0] + 1j * mean[:, 1]
    return shape - shape.mean()


def _smoothed(points: NDArray[np.float64], shape: NDArray[np.complex128], window: int) -> NDArray[np.float64]:
    complex_points = points[..., 0] + 1j * points[..., 1]
    middle = complex_points[:, RIGID].mean(1, keepdims=True)
    # The best similarity from the shape to each frame, as one complex number: size and roll.
    turn = (complex_points[:, RIGID] - middle) @ shape.conj()[:, None] / np.square(np.abs(shape)).sum()
    own = (complex_points - middle) / turn  # the face seen from the head
    still = _polynomial(own, window)
    still[:, ARTICULATED] = own[:, ARTICULATED]
    smooth = _polynomial(middle, window) + still * _polynomial(turn, window)
    return np.stack([smooth.real, smooth.imag], -1)


def _polynomial(values: NDArray, window: int) -> NDArray:
    """Return values (T, ...) with each replaced by that of the polynomial that fits best around it."""
    window = min(window, len(values))
    window -= 1 - window % 2
    if window <= DEGREE + 1:
        return values.copy()
    if np.iscomplexobj(values):
        return _polynomial(values.real, window) + 1j * _polynomial(values.imag, window)
    return savgol_filter(values, window, DEGREE, axis=0, mode="interp")
