"""Small videos to dub, of drawn people who talk."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datamodules.clips.dubbing.videos import VideosToDub
from tests.helpers.replicas_clips import SIDE, talking, write_media
from visionscapes.media.sound import write_sound

EMPTY = np.full((SIDE, SIDE, 3), (90, 120, 160), np.uint8)
Frames = NDArray[np.uint8]


def person(number: int, frames: int = 8) -> Frames:
    """Return frames (T, 112, 112, 3) of a person who talks."""
    return talking(number, frames)[0]


def nobody(frames: int) -> Frames:
    """Return frames (T, 112, 112, 3) without a face, as light as a person's."""
    return np.stack([EMPTY] * frames)


def video_of(path: Path, *parts: Frames, sound: float | None = 0.0) -> Path:
    """Write a video of some parts, and the sound of person 1 that is longer than it by some seconds; None for none."""
    frames = np.concatenate(parts)
    seconds = len(frames) / 25 + (sound or 0)
    return write_media(path, frames, None if sound is None else talking(1, 50)[1][: round(seconds * 16000)])


def speech(path: Path, seconds: float) -> Path:
    """Write the sound of person 2 to a WAV file."""
    write_sound(path, talking(2, 50)[1][: round(seconds * 16000)])
    return path


def to_dub(*videos: Path, audio: Path | None = None, face_size: int = 32, **options) -> VideosToDub:
    return VideosToDub(list(videos), audio, face_size=face_size, **options)
