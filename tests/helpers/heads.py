"""Pictures and videos of drawn people, as files to be reenacted."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from pytorch_lightning import LightningModule
from torch import nn
from typing_extensions import override

from datamodules.clips.faces.tracks import FaceTrack
from datamodules.clips.heads.motion import HeadMotion
from datamodules.clips.heads.reenactment import HeadsToReenact, HowToReenact
from datamodules.clips.heads.source import FoundShots
from datamodules.procedural.faces.faces import render_face
from datamodules.procedural.faces.identities import Expression, Pose
from networks.faces.landmarks import face_box
from networks.reenacted import Reenacted

MARGIN = 1.6


def photograph(path: Path, number: int = 1, size: int = 160) -> Path:
    """Write the picture of a drawn person."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(number, size)).save(path)
    return path


def picture(number: int = 1, size: int = 160) -> np.ndarray:
    """Return the picture (S, S, 3) of a drawn person who looks ahead with a shut mouth."""
    return render_face(3, number, size, pose=Pose(), expression=Expression()).image


def shots(count: int = 1, size: int = 32) -> FoundShots:
    """Return the shots of a drawn person, without finding the face."""
    faces = [render_face(3, 1, size, pose=Pose(yaw=3.0 * number), expression=Expression()) for number in range(count)]
    images = np.stack([face.image for face in faces]).transpose(0, 3, 1, 2)
    return FoundShots("me", torch.from_numpy(images.copy()), np.stack([face.landmarks for face in faces]))


def turning(frames: int = 8, size: int = 112) -> np.ndarray:
    """Return the landmarks (T, 68, 2) of a head that turns from the left to the right."""
    yaws = np.linspace(-15, 15, frames)
    return np.stack(
        [render_face(3, 2, size, pose=Pose(yaw=float(yaw)), expression=Expression()).landmarks for yaw in yaws]
    )


def motion(landmarks: np.ndarray, seen=None, shots=None, rate: float = 25.0) -> HeadMotion:
    """Return the movement of landmarks that were seen."""
    count = len(landmarks)
    seen = np.ones(count, bool) if seen is None else np.array(seen, bool)
    shots = np.zeros(count, np.int64) if shots is None else np.array(shots)
    landmarks = landmarks.astype(np.float32)
    track = FaceTrack(face_box(landmarks), landmarks, seen, seen, shots)
    return HeadMotion(track, np.arange(count) / rate, count / rate, size=(112, 112))


class Posing(LightningModule):
    """Reenacts without a network: the first picture of the source where the landmarks are drawn on it.

    Args:
        drawn: whether it is one that knows drawn faces only.
    """

    def __init__(self, drawn: bool = False):
        super().__init__()
        self.trained_on_drawn = drawn
        self.unused = nn.Parameter(torch.zeros(1))

    @override
    def predict_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> Reenacted:
        drawing, source = batch["drawing"].float() / 255, batch["shots"][:1].float() / 255
        lines = (drawing.amax(1, keepdim=True) > 0.1).float()
        images = source * (1 - lines) + drawing * lines
        return Reenacted(images, None, len(batch["shots"]), batch["finetune"])


def reenacting(*driving: Path, chunk: int = 5, count: int = 2, **options: Any) -> HeadsToReenact:
    """Return the heads of a drawn person of 32 pixels, moved by some drivers."""
    return HeadsToReenact(shots(count), list(driving), how=HowToReenact(32, MARGIN, **options), chunk=chunk)
