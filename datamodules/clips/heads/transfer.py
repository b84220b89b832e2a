"""Whose landmarks a reenacted head has: the driver's, or the source's moved as the driver's move."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from networks.faces.landmarks import mouth_opening, roll_of, turned_by

LandmarksMode = Literal["absolute", "relative"]
Float = NDArray[np.float32]
AS_FRONTAL = 4.0  # degrees by which a frame may be turned further than the most frontal one if its mouth is shut


def eye_distance(landmarks: Float) -> Float:
    """Return the distance (...,) of the outer corners of the eyes of landmarks (..., 68, 2)."""
    return np.linalg.norm(landmarks[..., 36, :] - landmarks[..., 45, :], axis=-1)


def most_frontal(landmarks: Float) -> int:
    """Return the number of the frame whose head looks ahead; of several that do, the one whose mouth is shut most.

    Args:
        landmarks: (T, 68, 2) of a head.
    """
    away = np.hypot(turned_by(landmarks), np.degrees(roll_of(landmarks)))
    frontal = np.flatnonzero(away <= away.min() + AS_FRONTAL)
    return int(frontal[mouth_opening(landmarks[frontal]).argmin()])


def relative_landmarks(driver: Float, reference: Float, source: Float) -> Float:
    """Return the landmarks of the source, moved as those of the driver are seen from its frame of reference.

    source + (driver - reference) * (distance of the source's eyes) / (distance of the eyes in the reference). The
    thesis drives with the driver's own landmarks; FOMM, and LivePortrait, offer the same difference to keep the
    source's shape.

    Args:
        driver: (T, 68, 2) xy in pixels.
        reference: (68, 2) of the driver, see `most_frontal`.
        source: (68, 2) xy in pixels.

    Returns:
        (T, 68, 2) float32.
    """
    scale = eye_distance(source) / np.maximum(eye_distance(reference), 1e-6)
    return (source + (driver - reference) * scale).astype(np.float32)
