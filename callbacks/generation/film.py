"""Faces beside each other as a film with sound, and as a small one for a page."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from networks.audio import FRAME_RATE
from visionscapes.files import write_bytes
from visionscapes.media.video_writer import VideoWriter

SHOWN = 256  # pixels a face has in a film; larger ones stay as they are
SMALL = 192  # pixels a face has in a small film
COLOURS = 256
EVERY = 2  # frames, of which a small film shows one
SLOW = 12  # frames a second at most, of which it shows all
LONGEST = 50  # frames of a film that become a small one: two seconds


def save_film(clips: Sequence[Tensor], sound: Tensor | None, path: Path, *, rate: float = FRAME_RATE) -> None:
    """Write clips of faces beside each other, with sound, as MP4.

    Args:
        clips: each (T, 3, S, S) uint8.
        sound: (N,) in [-1, 1] at 16 kHz; None for a silent film.
        path: of the file.
        rate: frames a second.

    Raises:
        UserError: it cannot be written.
    """
    pictures = beside(clips, max(SHOWN, clips[0].shape[-1]))
    size = pictures.shape[2], pictures.shape[1]
    with VideoWriter(path, size, rate, sound=None if sound is None else sound.numpy()) as film:
        for picture in pictures:
            film.write(picture)


def save_gif(clips: Sequence[Tensor], path: Path, *, rate: float = FRAME_RATE) -> None:
    """Write clips of faces beside each other as a GIF of 192 pixels a face; see `save_film`.

    It shows the first 50 frames, of a film of 25 a second every second one.

    Args:
        clips: each (T, 3, S, S) uint8.
        path: of the file.
        rate: frames a second; those of slow films are all shown.
    """
    every = EVERY if rate > SLOW else 1
    pictures = beside([clip[:LONGEST:every] for clip in clips], SMALL)
    write_bytes(path, as_gif(pictures, round(every * 1000 / rate)))


def beside(clips: Sequence[Tensor], side: int) -> NDArray[np.uint8]:
    """Return the frames (T, side, n side, 3) of n clips of faces (T, 3, S, S) uint8 beside each other."""
    resized = [
        F.interpolate(clip.float(), (side, side), mode="bicubic", antialias=True, align_corners=False) for clip in clips
    ]
    rows = [each.round().clamp(0, 255).permute(0, 2, 3, 1).byte().numpy() for each in resized]
    return np.concatenate(rows, 2)


def as_gif(pictures: NDArray[np.uint8], duration: int = EVERY * 1000 // FRAME_RATE) -> bytes:
    """Return frames (T, H, W, 3) as the content of a GIF that runs for ever, with one palette.

    Args:
        pictures: uint8.
        duration: of each in milliseconds.
    """
    from PIL import Image

    some = np.concatenate(list(pictures[:: max(1, len(pictures) // 8)]), 0)
    palette = Image.fromarray(some).quantize(COLOURS, method=Image.Quantize.MEDIANCUT)
    frames = [Image.fromarray(each).quantize(palette=palette, dither=Image.Dither.NONE) for each in pictures]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=duration, loop=0, optimize=False)
    return buffer.getvalue()
