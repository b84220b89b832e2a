"""Landmarks of faces that are cut out already, as generators of faces give them: small, and stretched to squares."""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from networks.faces.landmarks import ibug_landmarks
from networks.faces.mesh import FaceMesh, FaceSquare

HEIGHT = 256  # pixels to which faces are enlarged; the mesh sees 192 of the whole square
# Width of a drawn face in its height at which the mesh reads its mouth best: as if it were as long as a person's. Of
# ten drawn people of 64 pixels the opening that it reads correlates with the true one by 0.95, of nobody by less than
# 0.91; with 1 by 0.84, of one by 0.28 (2026-11-30).
DRAWN_SHAPE = 0.69
ROOM = 1.35  # side of the square in which the mesh looks, as a multiple of the face's height
BORDER = 0.4  # around the face, as a share of its height, grey: repeating the edge would make a neck of the chin
GREY = 128
LEAST_SCORE = 0.5


def landmarks_of_faces(mesh: FaceMesh, faces: Tensor, shape: float = DRAWN_SHAPE) -> tuple[Tensor, Tensor]:
    """Return the landmarks of faces, each found for itself, which takes 5 ms of one core.

    Args:
        mesh: MediaPipe's.
        faces: (T, 3, S, S) uint8 RGB, each from forehead to chin and from ear to ear.
        shape: width of a face in its height before it was stretched to a square.

    Returns:
        (T, 68, 2) float32 xy in pixels of the faces, NaN where there is none, and (T,) bool where there is one, on the
        CPU.
    """
    side = faces.shape[-1]
    width, border = round(shape * HEIGHT), round(BORDER * HEIGHT)
    square = FaceSquare(x=border + width / 2, y=border + HEIGHT / 2, side=ROOM * HEIGHT, angle=0.0)
    landmarks = np.full((len(faces), 68, 2), np.nan, np.float32)
    for index, face in enumerate(faces.permute(0, 2, 3, 1).cpu().numpy()):
        points, score = mesh.fit(_enlarged(face, width, border), square)
        if score >= LEAST_SCORE:
            landmarks[index] = (ibug_landmarks(points) - border) * np.array([side / width, side / HEIGHT])
    found = torch.from_numpy(landmarks)
    return found, ~found[:, 0, 0].isnan()


def _enlarged(face: NDArray[np.uint8], width: int, border: int) -> NDArray[np.uint8]:
    """Return a face (S, S, 3) as wide and high as it was, with a border."""
    enlarged = cv2.resize(face, (width, HEIGHT), interpolation=cv2.INTER_CUBIC)
    return np.pad(np.asarray(enlarged, np.uint8), [(border, border), (border, border), (0, 0)], constant_values=GREY)
