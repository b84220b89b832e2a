"""A dubbed clip and what is known of it, as those that measure it take it."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from callbacks.generation.comparison import RECONSTRUCTION
from callbacks.generation.pictures import to_bytes
from metrics.landmark_distance import eye_distances
from metrics.mouth_movement import inner_opening
from networks.dubbed import Dubbed
from networks.faces.cropped import DRAWN_SHAPE, landmarks_of_faces
from networks.faces.mesh import FaceMesh


@dataclass(frozen=True)
class DubbedClip:
    """T dubbed faces beside the true ones, on the CPU.

    Attributes:
        setting: "reconstruction" or "cross".
        generated: (T, 3, S, S) uint8.
        faces: (T, 3, S, S) uint8, of the video.
        found: (T,) bool, where the video has a face.
        where: (S, S) bool, pixels that were generated in every frame with a face.
        mel: (80, M) of the sound.
        audio: (N,) of the sound, at 16 kHz.
        opening: (T,) float64 of the video's mouth.
        driving_opening: (T,) float64 of the mouth that the sound is from.
        driving_landmarks: (T, 68, 2) of the clip that the sound is from, in pixels of its own faces.
        driving_faces: (T, 3, S, S) uint8 of that clip, None if the data do not have them.
        shape: width of the video's faces in their height, before they were stretched to squares.
    """

    setting: str
    generated: Tensor
    faces: Tensor
    found: Tensor
    where: Tensor
    mel: Tensor
    audio: Tensor
    opening: Tensor
    driving_opening: Tensor
    driving_landmarks: Tensor
    driving_faces: Tensor | None
    shape: float

    @classmethod
    def of(cls, dubbed: Dubbed, batch: Mapping[str, Any]) -> Self:
        """Return the clip of a batch of task "dub"."""
        clip: dict[str, Any] = {key: value[0].cpu() for key, value in batch.items() if isinstance(value, Tensor)}
        opening, driving_opening = true_openings(clip)
        return cls(
            setting=batch["setting"][0],
            generated=to_bytes(dubbed.faces).cpu(),
            where=generated_pixels(dubbed, clip["found"]),
            opening=opening,
            driving_opening=driving_opening,
            shape=shape_of(clip),
            driving_faces=clip.get("driving_faces"),
            **{key: clip[key] for key in ("faces", "found", "mel", "audio", "driving_landmarks")},
        )

    @property
    def side(self) -> int:
        """S, in pixels."""
        return self.faces.shape[-1]

    @property
    def own_sound(self) -> bool:
        """Whether the video is dubbed with its own sound."""
        return self.setting == RECONSTRUCTION


class SeenFaces:
    """Landmarks of faces, those of true ones kept, which come once in each setting and once as the driving clip.

    Args:
        mesh: that finds them.
    """

    def __init__(self, mesh: FaceMesh):
        self.mesh = mesh
        self._kept: dict[tuple[int, float], tuple[Tensor, Tensor]] = {}

    def landmarks(self, faces: Tensor, shape: float, keep: bool = True) -> tuple[Tensor, Tensor]:
        """Return landmarks (T, 68, 2) and where there are some (T,), see ``networks.faces.cropped``."""
        key = zlib.crc32(faces.contiguous().numpy().tobytes()), shape
        found = self._kept[key] if key in self._kept else landmarks_of_faces(self.mesh, faces, shape)
        if keep:
            self._kept[key] = found
        return found

    def forget(self) -> None:
        """Forget what was kept."""
        self._kept = {}


def generated_pixels(dubbed: Dubbed, found: Tensor) -> Tensor:
    """Return which pixels (S, S) bool of the faces were generated in every frame that is ``found`` (T,), on the CPU."""
    blank = torch.zeros_like(dubbed.faces[:, :1])
    masks = dubbed.region.paste(blank, dubbed.mask.expand(len(blank), -1, -1, -1)).cpu()[found]
    return (masks[:, 0] > 0.5).all(0)


def true_openings(clip: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return the opening (T,) float64 of the video's own mouth and of the one that the sound is from.

    Args:
        clip: with "opening" and "driving_opening" (T,), or "landmarks" and "driving_landmarks" (T, 68, 2).
    """
    if "opening" in clip:
        return clip["opening"].double(), clip["driving_opening"].double()
    own, driving = (
        inner_opening(clip[name]) / eye_distances(clip[name]).median() for name in ("landmarks", "driving_landmarks")
    )
    return own, driving


def shape_of(clip: Mapping[str, Tensor]) -> float:
    """Return the width of a clip's faces in their height: that of their "boxes", unless they are drawn ones."""
    if "opening" in clip:
        return DRAWN_SHAPE
    sides = (clip["boxes"][:, 2:] - clip["boxes"][:, :2])[clip["found"]]
    return float((sides[:, 0] / sides[:, 1]).median()) if len(sides) else 1.0
