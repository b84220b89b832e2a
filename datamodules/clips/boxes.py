"""Where a face is, by its landmarks."""

import numpy as np
from numpy.typing import NDArray

BROWS = slice(17, 27)
FOREHEAD = 0.2  # of the distance from chin to brows lies above the brows


def face_boxes(landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the boxes around faces, from forehead to chin and from cheek to cheek.

    A detector's box begins on the forehead, where none of the 68 points lies: here it is a fifth of the distance from
    the chin to the highest point of the brows above these.

    Args:
        landmarks: (..., 68, 2) xy pixels in the order of iBUG 300-W.

    Returns:
        (..., 4) float32 xyxy in pixels.
    """
    low, high = landmarks.min(-2), landmarks.max(-2)
    brows = landmarks[..., BROWS, 1].min(-1)
    top = np.minimum(brows - FOREHEAD * (high[..., 1] - brows), low[..., 1])
    return np.stack([low[..., 0], top, high[..., 0], high[..., 1]], -1).astype(np.float32)
