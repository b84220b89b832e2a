"""Landmarks of pictures of a head and shoulders, as generators of talking heads give them, each found for itself."""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from networks.faces.finder import FaceFinder

# Pixels to which smaller pictures are enlarged. Of 40 drawn heads of 64 pixels the detector "short_range" finds all,
# and the mesh's median error is 0.051 of the distance of the eyes, the same for 128 to 384 pixels (2026-11-30).
LEAST_SIDE = 256
DETECTOR = "short_range"  # which takes a third of the time of the others


def landmarks_of_heads(finder: FaceFinder, heads: Tensor) -> tuple[Tensor, Tensor]:
    """Return the landmarks of the largest face of each picture, which takes 7 ms of one core.

    Nobody tells the detector where the face should be: what does not look like one is not found.

    Args:
        finder: with the detector ``DETECTOR``, say.
        heads: (T, 3, S, S) uint8 RGB.

    Returns:
        (T, 68, 2) float32 xy in pixels of the pictures, NaN where there is no face, and (T,) bool where there is one,
        on the CPU.
    """
    side = heads.shape[-1]
    landmarks = np.full((len(heads), 68, 2), np.nan, np.float32)
    for index, head in enumerate(heads.permute(0, 2, 3, 1).cpu().numpy()):
        enlarged = _enlarged(head)
        faces = finder.find(enlarged, levels=1)
        if faces:
            landmarks[index] = faces[0].landmarks * (side / len(enlarged))
    found = torch.from_numpy(landmarks)
    return found, ~found[:, 0, 0].isnan()


def _enlarged(head: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a picture (S, S, 3) as large as ``LEAST_SIDE`` at least."""
    if len(head) >= LEAST_SIDE:
        return np.ascontiguousarray(head)
    return np.asarray(cv2.resize(head, (LEAST_SIDE, LEAST_SIDE), interpolation=cv2.INTER_CUBIC), np.uint8)
