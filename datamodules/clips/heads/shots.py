"""Frames of one person as samples: some of them as shots, another one to be drawn from its landmarks."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.clips.heads.drawing import draw_all
from visionscapes.errors import UserError

Frames = Sequence[int]


class HeadClip(ABC):
    """Frames of one person, whose head and shoulders fill them as in training; S is their side.

    Attributes:
        name: unique in the data set.
        size: S in pixels.
        landmarks: (F, 68, 2) float32 xy pixels in the order of iBUG 300-W; they may lie outside the frames.
        found: (F,) bool, where landmarks are known.
        video: whether frame after frame is the next moment of a video.
    """

    video: ClassVar[bool] = True
    name: str
    size: int
    landmarks: NDArray[np.float32]
    found: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.found)

    @abstractmethod
    def pictures(self, frames: Frames) -> Tensor:
        """Return some frames (n, 3, S, S) uint8 RGB."""

    def shots(self, frames: Frames) -> Tensor:
        """Return some frames as a user might give them (n, 3, S, S) uint8 RGB: something may hide the face."""
        return self.pictures(frames)

    def drawings(self, frames: Frames) -> Tensor:
        """Return the landmarks of some frames, drawn (n, 3, S, S) uint8; black where none are known."""
        drawings = draw_all(np.where(self.found[list(frames), None, None], self.landmarks[list(frames)], 0), self.size)
        return drawings * torch.from_numpy(self.found[list(frames)])[:, None, None, None]

    def labels(self, frames: Frames) -> Tensor | None:
        """Return the label maps (n, S, S) uint8 that a face parser gives of some frames, None if it gave none."""
        return None

    def known(self, sources: Frames, targets: Frames) -> dict[str, Tensor]:
        """Return what only a drawn world can tell of frames to evaluate on."""
        return {}


class FewShots(Dataset):
    """K shots of a person and a target, which is never a shot; torch's generator draws.

    A sample holds "shots" and "shot_drawings" (K, 3, S, S), "image" and "drawing" (3, S, S) float32 RGB in [0, 1],
    "landmarks" (68, 2) float32 xy pixels, "labels" (S, S) uint8 of the target, if there are any, and "name". Of a
    random order of the person's frames the first K are the shots and the last is the target, as in the authors' code.

    Args:
        heads: of the people.
        frames: of each, that may be drawn; more than K.
        shots: K.
        rounds: how many samples an epoch has of a person.
    """

    def __init__(self, heads: Sequence[HeadClip], frames: Sequence[Frames], *, shots: int, rounds: int = 1):
        self.heads, self.frames, self.shots, self.rounds = heads, frames, shots, rounds

    def __len__(self) -> int:
        return len(self.heads) * self.rounds

    def __getitem__(self, index: int) -> dict[str, Any]:
        index %= len(self.heads)
        frames = self.frames[index]
        order = [frames[place] for place in torch.randperm(len(frames)).tolist()]
        return sample_of(self.heads[index], order[: self.shots], order[-1])


class Subjects(Dataset):
    """People to evaluate on, one a sample: their N source frames, and T target frames, none of which is among them.

    A sample holds "name", "shots" and "shot_drawings" (N, 3, S, S) uint8, "shot_landmarks" (N, 68, 2) float32, "image"
    and "drawing" (T, 3, S, S) uint8, "landmarks" (T, 68, 2) float32, "found" (T,) bool, where landmarks are known, and
    "labels" (T, S, S) uint8 if there are any. Where the targets follow each other in a video, "consecutive" is true.

    Args:
        heads: of the people.
        sources: N frames of each, in order.
        targets: T frames of each, in order.
    """

    def __init__(self, heads: Sequence[HeadClip], sources: Sequence[Frames], targets: Sequence[Frames]):
        self.heads, self.sources, self.targets = heads, sources, targets

    def __len__(self) -> int:
        return len(self.heads)

    def __getitem__(self, index: int) -> dict[str, Any]:
        head, sources, targets = self.heads[index], list(self.sources[index]), list(self.targets[index])
        labels = head.labels(targets)
        return {
            "name": head.name,
            "shots": head.shots(sources),
            "shot_drawings": head.drawings(sources),
            "shot_landmarks": torch.from_numpy(head.landmarks[sources]),
            "image": head.pictures(targets),
            "drawing": head.drawings(targets),
            "landmarks": torch.from_numpy(head.landmarks[targets]),
            "found": torch.from_numpy(head.found[targets]),
            **({} if labels is None else {"labels": labels}),
            **({"consecutive": True} if head.video and follow_each_other(targets) else {}),
            **head.known(sources, targets),
        }


def follow_each_other(frames: Frames) -> bool:
    """Return whether frames are those of a video one after the other, at least three."""
    return len(frames) > 2 and all(after == before + 1 for before, after in pairwise(frames))


def sample_of(head: HeadClip, shots: Frames, target: int) -> dict[str, Any]:
    """Return a training sample, see `FewShots`, of some shots of a person and a target."""
    labels = head.labels([target])
    return {
        "shots": head.shots(shots).float() / 255,
        "shot_drawings": head.drawings(shots).float() / 255,
        "image": head.pictures([target])[0].float() / 255,
        "drawing": head.drawings([target])[0].float() / 255,
        "landmarks": torch.from_numpy(head.landmarks[target]),
        **({} if labels is None else {"labels": labels[0]}),
        "name": head.name,
    }


def check_frames(owner: str, frames: int, shots: int) -> None:
    """Check that a person has more frames than shots.

    Args:
        owner: whose options they are, for the message.
        frames: of a person.
        shots: K.

    Raises:
        UserError: it has not.
    """
    if frames <= shots:
        raise UserError(
            f"{owner}.frames is {frames} and shots is {shots}; a person needs one more frame, which is the target:"
            f" lower shots, or give at least {shots + 1} frames"
        )
