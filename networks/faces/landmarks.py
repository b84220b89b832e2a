"""The 68 landmarks of iBUG 300-W out of MediaPipe's 468 points, and the box of a face out of its landmarks."""

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]

# Each landmark is the middle of two points of the mesh, or one point. Where one list is given, the other is the same.
# From the viewer's left to the right, eyes and lips clockwise from their left corner.
JAW = (127, 234, 132, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 361, 454, 356)
JAW_TOO = (127, 93, 132, 58, 172, 150, 149, 148, 152, 377, 378, 379, 397, 288, 361, 323, 356)
BROWS = (70, 63, 105, 66, 107, 336, 296, 334, 293, 300)  # their upper edge
BROWS_TOO = (46, 53, 52, 65, 55, 285, 295, 282, 283, 276)  # and their lower one
NOSE = (168, 197, 5, 4, 240, 97, 2, 326, 460)
NOSE_TOO = (6, 197, 5, 4, 240, 97, 2, 326, 460)
EYES = (33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380)
OUTER_LIP = (61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181)
INNER_LIP = (78, 81, 13, 311, 308, 402, 14, 178)
FIRST = np.array([*JAW, *BROWS, *NOSE, *EYES, *OUTER_LIP, *INNER_LIP])
SECOND = np.array([*JAW_TOO, *BROWS_TOO, *NOSE_TOO, *EYES, *OUTER_LIP, *INNER_LIP])

JAW_POINTS, BROW_POINTS, MOUTH = slice(0, 17), slice(17, 27), slice(48, 68)
NOSE_TIP, NOSE_BASE = 30, 33
EYE_CORNERS = [36, 39], [42, 45]  # which lids do not move
NOSE_LENGTH = 1.24
# How far the box reaches above the brows and below the chin, as shares of the way from the nose's base to the brows.
FOREHEAD, BELOW = 0.45, 0.08


def ibug_landmarks(mesh: Float) -> Float:
    """Return the landmarks (..., 68, 2) of MediaPipe's points (..., 468, 2)."""
    return ((mesh[..., FIRST, :] + mesh[..., SECOND, :]) / 2).astype(np.float32)


def face_box(landmarks: Float) -> Float:
    """Return the box around a face, from the middle of the forehead to the chin and from ear to ear.

    Args:
        landmarks: (..., 68, 2) xy in the order of iBUG 300-W.

    Returns:
        (..., 4) float32 xyxy.
    """
    brows = landmarks[..., BROW_POINTS, :]
    # The nose rather than the chin, which moves with the mouth.
    upwards = brows.mean(-2, keepdims=True) - landmarks[..., NOSE_BASE : NOSE_BASE + 1, :]
    jaw = landmarks[..., JAW_POINTS, :]
    outline = np.concatenate([jaw, jaw - BELOW * upwards, brows, brows + FOREHEAD * upwards], -2)
    return np.concatenate([outline.min(-2), outline.max(-2)], -1).astype(np.float32)


def roll_of(landmarks: Float) -> Float:
    """Return by how many radians heads lean to a side (...,), clockwise on the screen: the line through the eyes.

    Args:
        landmarks: (..., 68, 2) in the order of iBUG 300-W.
    """
    left, right = (landmarks[..., corners, :].mean(-2) for corners in EYE_CORNERS)
    along = right - left
    return np.arctan2(along[..., 1], along[..., 0]).astype(np.float32)


def leaning_by(landmarks: Float) -> Float:
    """Return by how many degrees heads are not upright (...,), 0 to 180: of the way from the eyes down to the mouth.

    Args:
        landmarks: (..., 68, 2) in the order of iBUG 300-W.
    """
    left, right = (landmarks[..., corners, :].mean(-2) for corners in EYE_CORNERS)
    down = landmarks[..., MOUTH, :].mean(-2) - (left + right) / 2
    return np.degrees(np.abs(np.arctan2(down[..., 0], down[..., 1]))).astype(np.float32)


def turned_by(landmarks: Float) -> Float:
    """Return by how many degrees heads are turned to a side (...,), 0 to 90, as far as two dimensions tell.

    The tip of the nose is before the middle of the ears by `NOSE_LENGTH` times half their distance in MediaPipe's face.

    Args:
        landmarks: (..., 68, 2) in the order of iBUG 300-W.
    """
    ears = landmarks[..., 16, :] - landmarks[..., 0, :]
    from_middle = landmarks[..., NOSE_TIP, :] - (landmarks[..., 16, :] + landmarks[..., 0, :]) / 2
    across = np.maximum(np.linalg.norm(ears, axis=-1), 1e-6)
    along = np.abs((from_middle * ears).sum(-1)) / across
    return np.degrees(np.arctan2(along, NOSE_LENGTH * across / 2)).astype(np.float32)


def mouth_opening(landmarks: Float) -> Float:
    """Return how far the inner lips are apart (...,), as a share of the distance of the outer corners of the eyes.

    Args:
        landmarks: (..., 68, 2) in the order of iBUG 300-W.
    """
    apart = np.linalg.norm(landmarks[..., 62, :] - landmarks[..., 66, :], axis=-1)
    return apart / np.linalg.norm(landmarks[..., 36, :] - landmarks[..., 45, :], axis=-1)
