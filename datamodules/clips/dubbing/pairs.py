"""Pairs to evaluate dubbing on: a video and the sound that drives its mouth, its own or that of another clip."""

from collections.abc import Sequence
from itertools import islice, product
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from datamodules.clips.clip import Clip, face_crops, landmarks_in_crops
from networks.audio import (
    FRAME_RATE,
    HOP,
    LIMIT,
    SAMPLE_RATE,
    WINDOW_FRAMES,
    frame_mels,
    mel_start,
)
from visionscapes.errors import UserError
from visionscapes.media.errors import ClipError

Setting = Literal["reconstruction", "cross"]
SAMPLES = SAMPLE_RATE // FRAME_RATE  # of sound a frame


class Pair(NamedTuple):
    """A video and a sound, each the position of its clip.

    Attributes:
        setting: "reconstruction" of a video by its own sound, or "cross".
        video: clip that is dubbed.
        audio: clip whose sound drives the mouth.
    """

    setting: Setting
    video: int
    audio: int


class DubbingPairs(Dataset):
    """Pairs of a video and a sound, one a sample; T frames, as many as the shorter of both has.

    A sample holds "setting", "name" ("<video>__<audio>"), of the video "faces" (T, 3, S, S) uint8 RGB, "landmarks"
    (T, 68, 2) float32 in pixels of the faces, "boxes" (T, 4) float32 in pixels of the clip's frames and "found" (T,)
    bool; of the sound "audio" (640 T,) float32, "mel" (80, 1 + 3.2 T) and "frame_mel" (T, 80, 16) float32 in [-4, 4],
    silent beyond their end; and "driving_landmarks" (T, 68, 2) of the clip that the sound is from, in pixels of its own
    faces, and these as "driving_faces" (T, 3, S, S). For each ``also`` there is one of the video and one of the sound's
    clip, named "driving_<...>". In the setting "reconstruction" both begin with the first frame that has a face, which
    is what the generator gets.

    Args:
        clips: that pairs are of.
        pairs: of them.
        size: S, side of the faces in pixels.
        also: attributes of the clips, (T,) arrays, that a sample holds too.
    """

    def __init__(self, clips: Sequence[Clip], pairs: Sequence[Pair], *, size: int, also: Sequence[str] = ()):
        self.clips, self.pairs, self.size, self.also = clips, pairs, size, also

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, Any]:
        pair = self.pairs[index]
        video, driving = self.clips[pair.video], self.clips[pair.audio]
        first = first_face(video) if pair.setting == "reconstruction" else 0
        end = min(len(video), len(driving))
        frames = range(first, end)
        if len(frames) < WINDOW_FRAMES:
            raise ClipError(
                f"{video.name} with the sound of {driving.name} has {len(frames)} frames to dub, and {WINDOW_FRAMES}"
                " are needed: leave this pair out",
                "too short",
            )
        faces = face_crops(video, frames, self.size)
        mel = resized(driving.mel, steps(end), -LIMIT)
        return {
            "setting": pair.setting,
            "name": f"{video.name}__{driving.name}",
            "faces": faces,
            "landmarks": landmarks_in_crops(video, frames, self.size),
            "boxes": torch.from_numpy(video.boxes[first:end]),
            "found": torch.from_numpy(video.found[first:end]),
            "frame_mel": frame_mels(mel, frames),
            "mel": resized(mel[:, mel_start(first) :], steps(len(frames)), -LIMIT),
            "audio": resized(driving.audio, SAMPLES * end, 0)[SAMPLES * first :],
            "driving_landmarks": landmarks_in_crops(driving, frames, self.size),
            "driving_faces": faces if pair.audio == pair.video else face_crops(driving, frames, self.size),
            **{key: torch.from_numpy(getattr(video, key)[first:end]) for key in self.also},
            **{f"driving_{key}": torch.from_numpy(getattr(driving, key)[first:end]) for key in self.also},
        }


def steps(frames: int) -> int:
    """Return how many steps the mel spectrogram of the sound of some frames has."""
    return 1 + SAMPLES * frames // HOP


def resized(values: Tensor, length: int, fill: float) -> Tensor:
    """Return the first ``length`` of values (..., N), and ``fill`` beyond their end."""
    return F.pad(values, (0, length - values.shape[-1]), value=fill)


def first_face(clip: Clip) -> int:
    """Return the first frame with a face; the number of frames if none has one."""
    return int(np.argmax(clip.found)) if clip.found.any() else len(clip)


def chosen_pairs(count: int, *, reconstruction: int | None, cross: int | None, seed: int) -> list[Pair]:
    """Return pairs of some clips: each with itself, and each with another one.

    Clips stand in a circle of random order, and a video gets the sound of its neighbour, then of the one after it, and
    so on: among the first ``count`` pairs every clip is video once and sound once, and no pair comes twice.

    Args:
        count: of the clips.
        reconstruction: how many pairs of a clip with itself; None is as many as there are clips.
        cross: how many pairs of two clips; None is as many as there are clips.
        seed: of the order of the circle.

    Raises:
        UserError: there are not as many pairs.
    """
    reconstruction = count if reconstruction is None else reconstruction
    cross = count if cross is None else cross
    check_enough(count, "reconstruction", asked=reconstruction, there_are=count)
    check_enough(count, "cross", asked=cross, there_are=count * (count - 1))
    circle = np.random.default_rng(seed).permutation(count).tolist()
    steps_and_places = product(range(1, count), range(count))
    turned = [Pair("cross", circle[at], circle[(at + step) % count]) for step, at in islice(steps_and_places, cross)]
    return [*(Pair("reconstruction", clip, clip) for clip in range(reconstruction)), *turned]


def pairs_to_validate(count: int, seed: int) -> list[Pair]:
    """Return two pairs of each of some clips, with itself and with another one; one if there is no other."""
    return chosen_pairs(count, reconstruction=None, cross=None if count > 1 else 0, seed=seed)


def check_enough(clips: int, setting: Setting, *, asked: int, there_are: int) -> None:
    """Check that as many pairs can be had of some clips as are asked for.

    Raises:
        UserError: they cannot.
    """
    if asked > there_are:
        raise UserError(
            f"{clips} clip(s) make {there_are} pair(s) of the setting {setting}, and {asked} are asked for: lower"
            f" --data.init_args.{setting}, or give more clips"
        )
