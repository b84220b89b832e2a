"""Clips as samples: windows of five frames with their sound to train on, whole clips to evaluate and to predict."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.clips.clip import Clip, face_crops
from networks.audio import WINDOW_FRAMES, mel_windows, whole_windows
from visionscapes.errors import UserError

TRIES = 20  # random draws of starts, before one that finds some for certain


class SyncWindows(Dataset):
    """Windows of five frames and their sound, several of one clip a sample, at distinct starts.

    A sample holds "faces" (W, 5, 3, S, S) float32 RGB in [0, 1], "mel" (W, 80, 16) float32 in [-4, 4], the sound of the
    same fifth of a second, "frame" (W,) int64, at which a window starts, and "name". What does not fit a window is in
    the others of its sample. Windows in which a frame has no face are not drawn; clips with too few are left out, with
    a warning. torch's generator draws.

    Args:
        clips: to draw from.
        size: S, side of the faces in pixels.
        windows: W, of a sample.
        apart: frames between the starts of a sample's windows, at least.
        rounds: how many samples an epoch has of a clip.

    Raises:
        UserError: no clip has enough windows.
    """

    def __init__(self, clips: Sequence[Clip], *, size: int, windows: int = 2, apart: int = 1, rounds: int = 1):
        self.size, self.windows, self.apart, self.rounds = size, windows, apart, rounds
        self.clips = clips  # as they are: those in files are opened when they are asked for, for there may be a million
        starts = [self.starts_in(clip) for clip in clips]
        self.kept = [position for position, each in enumerate(starts) if len(spaced(each, apart)) >= windows]
        self.starts = [starts[position] for position in self.kept]
        self.left_out = len(clips) - len(self.kept)
        told = (
            f"{self.left_out} of {len(clips)} clips do not have {windows} windows of {WINDOW_FRAMES} frames with a face"
            f" and sound whose starts are {apart} frame{'s' * (apart != 1)} apart"
        )
        if not self.kept:
            raise UserError(f"{told}, so nothing is left to train on: use longer clips, or lower windows or apart")
        if self.left_out:
            rank_zero_warn(f"{told}; they are left out of the training.")

    def __len__(self) -> int:
        return len(self.kept) * self.rounds

    def __getitem__(self, index: int) -> dict[str, Any]:
        index %= len(self.kept)
        clip, starts = self.clips[self.kept[index]], self.starts[index]
        return self.sample(clip, torch.from_numpy(draw_starts(starts, self.windows, self.apart)))

    def starts_in(self, clip: Clip) -> NDArray[np.int64]:
        """Return the frames of a clip, in order, at which windows may start."""
        return window_starts(clip)

    def sample(self, clip: Clip, frames: Tensor) -> dict[str, Any]:
        """Return the sample of the windows of a clip that start at some frames (W,)."""
        shown, places = torch.unique(frames[:, None] + torch.arange(WINDOW_FRAMES), return_inverse=True)
        faces = face_crops(clip, shown.tolist(), self.size).float() / 255
        return {"faces": faces[places], "mel": mel_windows(clip.mel, frames), "frame": frames, "name": clip.name}


class WholeClips(Dataset):
    """Whole clips, one a sample.

    A sample holds "faces" (T, 3, S, S) uint8 RGB, "mel" (80, M) float32, "landmarks" (T, 68, 2) and "boxes" (T, 4)
    float32 in pixels of the clip's frames, "found" (T,) bool, "audio" (N,) float32, and "name".

    Args:
        clips: of any length, which may differ: batches are of one.
        size: S, side of the faces in pixels.
        also: attributes of the clips, (T,) arrays, that a sample holds too.
    """

    def __init__(self, clips: Sequence[Clip], *, size: int, also: Sequence[str] = ()):
        self.clips, self.size, self.also = clips, size, also

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> dict[str, Any]:
        clip = self.clips[index]
        return {
            "faces": face_crops(clip, range(len(clip)), self.size),
            "mel": clip.mel,
            "landmarks": torch.from_numpy(clip.landmarks),
            "boxes": torch.from_numpy(clip.boxes),
            "found": torch.from_numpy(clip.found),
            "audio": clip.audio,
            **{key: torch.from_numpy(getattr(clip, key)) for key in self.also},
            "name": clip.name,
        }


def window_starts(clip: Clip) -> NDArray[np.int64]:
    """Return the frames, in order, at which windows start that have a face in every frame and all of their sound."""
    found = np.concatenate([[0], np.cumsum(clip.found)])
    count = whole_windows(len(clip), clip.mel_steps)
    starts = np.arange(count)
    return starts[found[starts + WINDOW_FRAMES] - found[starts] == WINDOW_FRAMES]


def spaced(starts: NDArray[np.int64], apart: int) -> NDArray[np.int64]:
    """Return as many of some starts, the first ones, as can be had with a distance of ``apart``; they are in order."""
    kept: list[int] = []
    for start in starts.tolist():
        if not kept or start - kept[-1] >= apart:
            kept.append(start)
    return np.array(kept, np.int64)


def draw_starts(starts: NDArray[np.int64], count: int, apart: int) -> NDArray[np.int64]:
    """Return ``count`` of some starts, by torch's generator, no two of them less than ``apart`` frames apart.

    Args:
        starts: (N,) in order, with that many far enough apart.
        count: how many to draw.
        apart: frames, at least 1.

    Returns:
        (count,) in random order.
    """
    for _ in range(TRIES):
        chosen: list[int] = []
        for start in starts[torch.randperm(len(starts)).numpy()].tolist():
            if all(abs(start - other) >= apart for other in chosen):
                chosen.append(start)
                if len(chosen) == count:
                    return np.array(chosen, np.int64)
    kept = spaced(starts, apart)
    return kept[torch.randperm(len(kept))[:count].numpy()]
