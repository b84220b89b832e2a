"""A clip as every reader and every world gives it: frames at 25 a second, the face in each, and the sound."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from networks.turning import reach, turned, turned_picture

AT_ONCE = 64  # frames in memory as they are stored, which are larger than the faces cut out of them


class Clip(ABC):
    """T frames at 25 a second of one face, and its sound at 16 kHz.

    Attributes:
        name: of the clip, unique in its data set.
        boxes: (T, 4) float32 xyxy in pixels of the frames, the face from forehead to chin.
        landmarks: (T, 68, 2) float32 xy pixels in the order of iBUG 300-W.
        found: (T,) bool, where there is a face; boxes and landmarks mean nothing elsewhere.
        mel: (80, M) float32 in [-4, 4], see ``networks.audio.MelSpectrogram``; 80 steps a second.
        audio: (N,) float32 in [-1, 1], mono at 16 kHz.
    """

    name: str
    boxes: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    found: NDArray[np.bool_]
    mel: Tensor
    audio: Tensor

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def mel_steps(self) -> int:
        """M, which a clip in a file knows without reading its spectrogram."""
        return self.mel.shape[-1]

    @abstractmethod
    def images(self, indices: Sequence[int]) -> NDArray[np.uint8]:
        """Return some frames, (n, H, W, 3) uint8 RGB."""


def face_crops(clip: Clip, indices: Sequence[int], size: int) -> Tensor:
    """Return the face in some frames, stretched to squares.

    Args:
        clip: with the frames and the boxes.
        indices: of the frames.
        size: S, side of a square in pixels.

    Returns:
        (n, 3, S, S) uint8 RGB. What of a box lies outside its frame repeats the frame's border; a frame without a face
        is taken as a whole.
    """
    if len(indices) <= AT_ONCE:
        return _crops_of_some(clip, indices, size)
    crops = torch.empty(len(indices), 3, size, size, dtype=torch.uint8)
    for start in range(0, len(indices), AT_ONCE):
        crops[start : start + AT_ONCE] = _crops_of_some(clip, indices[start : start + AT_ONCE], size)
    return crops


def landmarks_in_crops(clip: Clip, indices: Sequence[int], size: int) -> Tensor:
    """Return the landmarks in some frames, in pixels of what `face_crops` gives.

    Args:
        clip: with the landmarks and the boxes.
        indices: of the frames.
        size: S, side of a square in pixels.

    Returns:
        (n, 68, 2) float32 xy; 0 in a frame without a face.
    """
    some = list(indices)
    found = clip.found[some, None]
    boxes = whole_pixels(np.where(found, clip.boxes[some], 0))
    landmarks = np.where(found[..., None], clip.landmarks[some], 0)
    return in_crops(torch.from_numpy(landmarks), torch.from_numpy(boxes), size)


def in_crops(landmarks: Tensor, boxes: Tensor, size: int, rolls: Tensor | None = None) -> Tensor:
    """Return the landmarks of frames in pixels of crops of these frames.

    Args:
        landmarks: (n, 68, 2) xy in pixels of the frames.
        boxes: (n, 4) xyxy in pixels of the frames.
        size: S, side of a crop in pixels.
        rolls: (n,) radians by which the boxes are turned, see `crop`; None for none.

    Returns:
        (n, 68, 2).
    """
    if rolls is not None:
        landmarks = turned(landmarks, (boxes[:, :2] + boxes[:, 2:]) / 2, -rolls)
    corners, sides = boxes[:, None, :2], boxes[:, None, 2:] - boxes[:, None, :2]
    return (landmarks - corners) * size / sides


def whole_pixels(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return boxes (n, 4) xyxy in the whole pixels that `crop` takes of each, one at least."""
    rounded = np.round(boxes)
    rounded[:, 2:] = np.maximum(rounded[:, 2:], rounded[:, :2] + 1)
    return rounded.astype(np.float32)


def _crops_of_some(clip: Clip, indices: Sequence[int], size: int) -> Tensor:
    images = torch.from_numpy(clip.images(indices)).permute(0, 3, 1, 2)
    height, width = images.shape[-2:]
    boxes = torch.from_numpy(clip.boxes[list(indices)])
    found = torch.from_numpy(clip.found[list(indices)])
    whole = torch.tensor([0.0, 0.0, width, height])
    boxes = torch.where(found[:, None], boxes, whole)
    if height == width == size and (boxes == whole).all():
        return images
    return torch.stack([crop(image, box, size) for image, box in zip(images, boxes, strict=True)])


def crop(image: Tensor, box: Tensor, size: int, roll: float = 0.0) -> Tensor:
    """Return what of an image lies in a box, stretched to a square.

    Bilinear and antialiased; what lies outside the image repeats its border.

    Args:
        image: (3, H, W) uint8.
        box: (4,) xyxy in pixels, taken in whole ones.
        size: S, side of the square in pixels.
        roll: radians by which the box is turned about its middle, clockwise on the screen.

    Returns:
        (3, S, S) uint8.
    """
    x0, y0, x1, y1 = box.tolist()
    x0, y0 = round(x0), round(y0)
    columns, rows = range(x0, max(round(x1), x0 + 1)), range(y0, max(round(y1), y0 + 1))
    cut = _pixels(image, columns, rows) if roll == 0 else _turned_pixels(image, columns, rows, roll)
    resized = F.interpolate(cut[None], (size, size), mode="bilinear", antialias=True, align_corners=False)
    return resized[0].round().clamp(0, 255).to(torch.uint8)


def _pixels(image: Tensor, columns: range, rows: range) -> Tensor:
    height, width = image.shape[-2:]
    if rows.start >= 0 and rows.stop <= height and columns.start >= 0 and columns.stop <= width:
        return image[:, rows.start : rows.stop, columns.start : columns.stop].float()  # ten times as fast
    y = torch.arange(rows.start, rows.stop).clamp(0, height - 1)
    x = torch.arange(columns.start, columns.stop).clamp(0, width - 1)
    return image[:, y][:, :, x].float()


def _turned_pixels(image: Tensor, columns: range, rows: range, roll: float) -> Tensor:
    about = (columns.start + columns.stop) / 2, (rows.start + rows.stop) / 2
    reached = reach(columns, rows, about=about, angle=roll)
    across, down = (_there(*each) for each in zip(reached, (image.shape[-1], image.shape[-2]), strict=True))
    around = _pixels(image, across, down)
    return turned_picture(around, (across.start, down.start), columns, rows, about=about, angle=roll)


def _there(reached: range, length: int) -> range:
    """Return the pixels of a line that are reached, with one at either end; one at least."""
    first = min(max(reached.start - 1, 0), length - 1)
    return range(first, max(min(reached.stop + 1, length), first + 1))
