"""Clips of the embedded world of talking faces: speech moves the mouth of a drawn person."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from typing_extensions import override

from datamodules.clips.clip import Clip
from datamodules.procedural.faces.clips import render_clip
from datamodules.procedural.speech.speech import Speech
from networks.audio import MelSpectrogram
from networks.faces.landmarks import face_box

PICTURE = 1.35  # side of the rendered frames in sides of the face that is cut out of them
STEADY = 7  # frames over which boxes are smoothed, either way: a detector's box does not nod with every vowel


@dataclass(eq=False)
class TalkingClip(Clip):
    """A clip whose frames are faces already: boxes are the whole frames.

    Attributes:
        name: of the clip.
        faces: (T, S, S, 3) uint8 RGB.
        landmarks: (T, 68, 2) float32 xy in pixels of the faces.
        audio: (N,) float32.
        opening: (T,) float32 of the mouth in [0, 1], which no network is shown.
        width: (T,) float32 of the mouth in [-1, 1].
    """

    name: str
    faces: NDArray[np.uint8]
    landmarks: NDArray[np.float32]
    audio: torch.Tensor
    opening: NDArray[np.float32]
    width: NDArray[np.float32]

    def __post_init__(self) -> None:
        frames, side = self.faces.shape[:2]
        self.boxes = np.tile(np.array([0, 0, side, side], np.float32), (frames, 1))
        self.found = np.ones(frames, bool)

    @cached_property
    def mel(self) -> torch.Tensor:  # type: ignore[override]
        """Return the mel spectrogram, which is made when it is first asked for."""
        return MelSpectrogram()(self.audio)

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how it is made again in another process; of tensors each would keep a file open there."""
        others = (self.audio.numpy(), self.opening, self.width)
        return _from_arrays, (self.name, self.faces, self.landmarks, *others)

    @override
    def images(self, indices: Sequence[int]) -> NDArray[np.uint8]:
        return self.faces[list(indices)]


def _from_arrays(name: str, faces: NDArray, landmarks: NDArray, *others: NDArray) -> TalkingClip:
    audio, opening, width = others
    return TalkingClip(name, faces, landmarks, audio=torch.from_numpy(audio), opening=opening, width=width)


def talking_clip(name: str, speech: Speech, *, world: int, index: int, size: int) -> TalkingClip:
    """Render a clip.

    Args:
        name: of the clip.
        speech: what is said.
        world: seed of the people.
        index: of the person.
        size: S, side of the faces in pixels.
    """
    rendered = render_clip(world, index, speech.opening, speech.width, round(PICTURE * size))
    boxes = steadied(face_box(rendered.landmarks))
    faces = np.stack([cut(image, box, size) for image, box in zip(rendered.images, boxes, strict=True)])
    corners, sides = boxes[:, None, :2], boxes[:, None, 2:] - boxes[:, None, :2]
    landmarks = (rendered.landmarks - corners) / sides * np.float32(size)
    audio = torch.from_numpy(speech.audio)
    return TalkingClip(name, faces, landmarks, audio=audio, opening=speech.opening, width=speech.width)


def steadied(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return boxes (T, 4) smoothed over time; before the first and after the last they stand still."""
    kernel = np.hanning(2 * STEADY + 3)[1:-1]
    padded = np.pad(boxes.astype(np.float64), ((STEADY, STEADY), (0, 0)), mode="edge")
    smooth = [np.convolve(side, kernel / kernel.sum(), mode="valid") for side in padded.T]
    return np.stack(smooth, 1).astype(np.float32)


def cut(image: NDArray[np.uint8], box: NDArray[np.float32], size: int) -> NDArray[np.uint8]:
    """Return what of an image (H, W, 3) lies in a box, to a fraction of a pixel, as (size, size, 3); antialiased."""
    height, width = image.shape[:2]
    low, high = np.array([0.0, 0.0]), np.array([width, height], float)
    x0, y0 = np.clip(box[:2], low, high - 1)
    x1, y1 = np.clip(box[2:], low + 1, high)
    resized = Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR, box=(x0, y0, x1, y1))
    return np.asarray(resized)
