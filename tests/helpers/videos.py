"""Small videos of pictures that carry their number, made with PyAV alone."""

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

BITS, BLOCK = 10, 16  # a picture shows its number as ten blocks of black or white
WIDTH, HEIGHT = BITS // 2 * BLOCK, 2 * BLOCK


def numbered(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Return a picture (height, width, 3) that shows a number below 1024, on grey where it is larger than needed."""
    picture = np.full((height, width, 3), 128, np.uint8)
    bits = np.array([number >> bit & 1 for bit in range(BITS)], np.uint8).reshape(2, BITS // 2) * 255
    picture[:HEIGHT, :WIDTH] = bits.repeat(BLOCK, 0).repeat(BLOCK, 1)[..., None]
    return picture


def number_of(picture: np.ndarray) -> int:
    """Return the number that a picture shows."""
    blocks = picture[:HEIGHT, :WIDTH].mean(2).reshape(2, BLOCK, BITS // 2, BLOCK)[:, 4:-4, :, 4:-4].mean((1, 3))
    assert np.all(np.abs(blocks - 127.5) > 60), "every block is black or white"
    return sum(1 << bit for bit, white in enumerate(blocks.ravel() > 127.5) if white)


def clicks(seconds: float, rate: int, times: Sequence[float]) -> np.ndarray:
    """Return sound (N,) with a click of a few samples at each of the times."""
    sound = np.zeros(round(seconds * rate), np.float32)
    wide = np.arange(-64, 65) / rate
    shape = 0.8 * np.cos(2 * np.pi * 1500 * wide) * np.exp(-((wide / 0.0004) ** 2))
    for time in times:
        centre = round(time * rate)
        sound[centre - 64 : centre + 65] += shape
    return sound


def find_click(sound: np.ndarray, around: int, reach: int = 3000) -> int:
    """Return at which sample, near one at 16 kHz, a click of `clicks` is."""
    shape = clicks(0.1, 16000, [0.05])[800 - 64 : 800 + 65]
    start = max(0, around - reach)
    return start + int(np.argmax(np.correlate(sound[start : around + reach], shape, "valid"))) + 64


def write_media(
    path: Path,
    pictures: Sequence[np.ndarray] = (),
    stamps: Sequence[int] | None = None,
    *,
    rate: Fraction | int = 25,
    tick: Fraction | None = None,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    options: dict[str, str] | None = None,
    container: str | None = None,
    sound: np.ndarray | None = None,
    sound_rate: int = 48000,
    sound_codec: str = "aac",
    sound_start: float = 0.0,
    marks: dict[str, int] | None = None,
) -> Path:
    """Write a file of pictures and sound.

    Args:
        path: of the file.
        pictures: (H, W, 3) uint8 RGB each, all of one size.
        stamps: when they are shown, in ticks; one after the other if None.
        rate: of the pictures.
        tick: seconds; 1 / rate if None.
        codec: of the pictures.
        pixels: format of the pixels.
        options: of the codec of the pictures.
        container: format; by the name of the file if None.
        sound: (N,) or (channels, N) float32.
        sound_rate: samples a second.
        sound_codec: of the sound.
        sound_start: in seconds.
        marks: attributes of the video's codec context, such as its colour range.
    """
    stamps = range(len(pictures)) if stamps is None else stamps
    tick = tick or 1 / Fraction(rate)
    with av.open(str(path), "w", format=container) as file:
        streams = []
        if len(pictures):
            video = file.add_stream(codec, rate=rate, options=options or {"crf": "12"})
            video.height, video.width = pictures[0].shape[:2]
            video.pix_fmt, video.codec_context.time_base = pixels, tick
            for name, value in (marks or {}).items():
                setattr(video.codec_context, name, value)
            streams.append((video, _frames(pictures, stamps, tick, pixels)))
        if sound is not None:
            sound = np.atleast_2d(sound)
            layout = {1: "mono", 2: "stereo", 6: "5.1"}[len(sound)]
            audio = file.add_stream(sound_codec, rate=sound_rate, layout=layout)
            streams.append((audio, _sound_frames(sound, sound_rate, layout, round(sound_start * sound_rate))))
        for stream, frames in streams:
            for frame in frames:
                file.mux(stream.encode(frame))
            file.mux(stream.encode(None))
    return path


def with_matrix(path: Path, a: int, b: int, c: int, d: int) -> None:
    """Write a display matrix over that of the video track of an .mp4."""
    content = bytearray(path.read_bytes())
    place = content.index(b"tkhd") + 4 + 40  # behind version, times, track, duration, layers and volume
    values = [a, b, 0, c, d, 0, 0, 0]
    content[place : place + 36] = struct.pack(">8iI", *(value * 65536 for value in values), 1 << 30)
    path.write_bytes(content)


def _frames(pictures, stamps, tick, pixels):
    for picture, stamp in zip(pictures, stamps, strict=True):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24").reformat(format=pixels)
        frame.pts, frame.time_base = stamp, tick
        yield frame


def _sound_frames(sound, rate, layout, start):
    for first in range(0, sound.shape[1], 1024):
        some = np.ascontiguousarray(sound[:, first : first + 1024], np.float32)
        frame = av.AudioFrame.from_ndarray(some, format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, start + first, Fraction(1, rate)
        yield frame
