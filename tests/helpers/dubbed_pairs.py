"""Pairs of a drawn video and a sound, batches of task "dub", and modules that dub them well and badly."""

from functools import cache
from typing import Any

import numpy as np
import torch
from pytorch_lightning import LightningModule
from torch import Tensor
from torch.utils.data import DataLoader

from datamodules.clips.talking_clips import TalkingClip, talking_clip
from datamodules.procedural.speech.speech import speak
from networks.dubbed import Dubbed
from networks.face_region import FaceRegion

SIZE = 48
SECONDS = 2.0
WORLD = 7


@cache
def person(index: int, words: int | None = None) -> TalkingClip:
    """Return a clip of a person, whose head moves the same whatever it says: the words of another one if asked for."""
    speech = speak(WORLD, index if words is None else words, SECONDS)
    return talking_clip(f"clip-{index}", speech, world=WORLD, index=index, size=SIZE)


def faces_of(clip: TalkingClip) -> Tensor:
    """Return the faces (T, 3, S, S) uint8."""
    return torch.from_numpy(np.array(clip.faces)).permute(0, 3, 1, 2)


def pair(video: int, audio: int, **changed: Any) -> dict[str, Any]:
    """Return the batch of a video and a sound; ``changed`` takes the place of what it says."""
    own, driving = person(video), person(audio)
    batch = {
        "task": "dub",
        "setting": ["reconstruction" if video == audio else "cross"],
        "name": [f"{own.name}__{driving.name}"],
        "faces": faces_of(own)[None],
        "landmarks": torch.from_numpy(own.landmarks)[None],
        "boxes": torch.from_numpy(own.boxes)[None],
        "found": torch.from_numpy(own.found)[None],
        "mel": driving.mel[None],
        "frame_mel": torch.zeros(1, len(driving), 80, 16),
        "audio": driving.audio[None],
        "driving_landmarks": torch.from_numpy(driving.landmarks)[None],
        "driving_faces": faces_of(driving)[None],
        "opening": torch.from_numpy(own.opening)[None],
        "driving_opening": torch.from_numpy(driving.opening)[None],
    }
    return {**batch, **changed}


def dubbed(faces: Tensor) -> Dubbed:
    """Return faces (T, 3, S, S) uint8 as if the whole of them were generated."""
    units = faces.float() / 255
    return Dubbed(units, 2 * units - 1, torch.ones_like(units[:, :1]), FaceRegion())


def numbers(batch: dict[str, Any]) -> tuple[int, int]:
    """Return of whom the video and the sound of a batch are."""
    video, audio = (int(name.removeprefix("clip-")) for name in batch["name"][0].split("__"))
    return video, audio


class PerfectDubber(LightningModule):
    """Draws the person of the video with the mouth of the sound's."""

    def dub_batch(self, batch: dict[str, Any]) -> Dubbed:
        return dubbed(faces_of(person(*numbers(batch))))

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> Dubbed:
        return self.dub_batch(batch)

    validation_step = test_step

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        return None

    def configure_optimizers(self) -> None:
        return None


class Copier(PerfectDubber):
    """Gives the video as it is."""

    def dub_batch(self, batch: dict[str, Any]) -> Dubbed:
        return dubbed(batch["faces"][0])


class Still(PerfectDubber):
    """Gives the first frame all the time."""

    def dub_batch(self, batch: dict[str, Any]) -> Dubbed:
        return dubbed(batch["faces"][0][:1].expand_as(batch["faces"][0]))


def loader(pairs: list[tuple[int, int]]) -> DataLoader:
    """Return the batches of some pairs of a video and a sound."""
    return DataLoader([pair(*each) for each in pairs], batch_size=None)
