"""Sound of any file as mono samples at 16 kHz on the clock of its pictures, in constant memory; and written as WAV.

Time 0 is when the first picture of a video is shown: sound that starts later begins with silence, and what is heard
before is cut off. A file without video starts with its first sample. Delays of resampling are taken back, and those of
codecs where the file tells them; .flv, MP3 in .avi, and bare .aac, .ac3 and .amr do not, and are 5 to 25 ms late.
"""

import wave
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.resampler import AudioResampler
from numpy.typing import NDArray

from visionscapes.files import atomic_write
from visionscapes.media import SAMPLE_RATE
from visionscapes.media.containers import Clock, Damage, decoded, opened, sound_stream, told_if_unwritable
from visionscapes.media.errors import ClipError
from visionscapes.media.video import first_picture_time

BLOCK = 10 * SAMPLE_RATE  # samples that are given at once, more or less
LOWEST_RATE, HIGHEST_RATE = 2_000, 768_000  # Hz; beyond them a header is damaged
MIXING = {"rematrix_maxval": "1"}  # the mean of the channels, not a sum that goes beyond 1
DRIFT = 0.02  # seconds by which time stamps may differ from the count of samples: half a frame of video


def read_sound(path: str | Path, damage: Damage | None = None) -> NDArray[np.float32]:
    """Return the sound of a file.

    Args:
        path: of a file of sound, or of video with sound; of several sounds the one marked as default, else the first.
        damage: where it is counted what could not be read and was passed over.

    Returns:
        (N,) float32 in [-1, 1], mono at 16 kHz, the mean of the channels of stereo; sample 0 is heard as the first
        picture appears. It may be shorter or longer than the video.

    Raises:
        ClipError: the file cannot be read, or has no sound; reason "no sound".
    """
    return np.concatenate(list(read_sound_blocks(path, damage)))


def read_sound_blocks(path: str | Path, damage: Damage | None = None) -> Iterator[NDArray[np.float32]]:
    """Yield the sound of a file in pieces of at most 10 seconds, in constant memory; see `read_sound`.

    Yields:
        (n,) float32 in [-1, 1], mono at 16 kHz, n > 0; one after the other they are the sound.

    Raises:
        ClipError: when the first piece is asked for: the file cannot be read, or has no sound.
    """
    waiting, count, anything = [], 0, False
    for piece in sound_pieces(Path(path), Damage() if damage is None else damage):
        waiting.append(piece[0])
        count += piece.shape[1]
        if count >= BLOCK:
            block = np.concatenate(waiting)
            yield block[:BLOCK]
            waiting, count, anything = [block[BLOCK:]], count - BLOCK, True
    if count:
        yield np.concatenate(waiting)
    elif not anything:
        raise ClipError(f"{path} has a sound track without sound: name a file that has sound", "no sound")


def sound_pieces(
    path: Path, damage: Damage, *, rate: int = SAMPLE_RATE, layout: str = "mono"
) -> Iterator[NDArray[np.float32]]:
    """Yield the sound of a file in small pieces, at any rate.

    Args:
        path: of the file.
        damage: where it is counted what is passed over.
        rate: samples a second.
        layout: of the channels, "mono" or "stereo".

    Yields:
        (channels, n) float32 in [-1, 1], n > 0.

    Raises:
        ClipError: when the first piece is asked for: the file cannot be read, or has no sound.
    """
    with opened(path) as container:
        sound_stream(container, path)  # whether there is one
        origin = first_picture_time(container, path)
    with opened(path) as container:
        timeline = _Timeline(sound_stream(container, path), damage, origin=origin, rate=rate, layout=layout)
        for piece in timeline.pieces(container):
            yield np.clip(np.nan_to_num(piece), -1, 1)


class _Timeline:
    """Puts decoded sound where its time stamps say, with silence in gaps, and resamples it.

    Args:
        stream: of sound.
        damage: where is counted what is passed over.
        origin: when time 0 is on the file's clock, in seconds; the first sample if None.
        rate: samples a second that it gives.
        layout: of the channels that it gives.
    """

    def __init__(self, stream: Any, damage: Damage, *, origin: Fraction | None, rate: int, layout: str):
        self.stream, self.damage, self.origin = stream, damage, origin
        self.rate, self.layout = rate, layout
        self.clock = Clock(stream, damage, origin=origin)
        self.resampler: AudioResampler | None = None
        self.setting: tuple[Any, ...] | None = None  # what the resampler is made for
        self.end = Fraction(0)  # of the sound that was given to the resampler, by the count of its samples, in seconds
        self.given = 0  # samples that came out, since time 0
        self.surplus = 0  # samples to come that lie before time 0, or on what is there already

    def pieces(self, container: Any) -> Iterator[NDArray[np.float32]]:
        """Yield (channels, n) float32 pieces of the sound."""
        for frame, time, duration in self.clock.times_of(
            self._sane(decoded(container, self.stream, self.damage)),
            stamp_of=lambda frame: frame.pts,
            duration_of=lambda frame: Fraction(frame.samples, frame.sample_rate),
        ):
            if self.origin is None:
                self.origin = time
            start = time - self.origin
            setting = frame.format.name, frame.layout.name, frame.sample_rate
            if self.resampler is None or setting != self.setting or abs(start - self.end) > DRIFT:
                yield from self._restarted(start)
                self.setting, self.end = setting, start
            yield from self._resampled(frame)
            self.end += duration
        yield from self._resampled(None)

    def _sane(self, frames: Iterator[Any]) -> Iterator[Any]:
        """Yield the frames that can be sound."""
        for frame in frames:
            if LOWEST_RATE <= frame.sample_rate <= HIGHEST_RATE and frame.samples:
                yield frame
            else:
                self.damage.packets += 1

    def _restarted(self, time: Fraction) -> Iterator[NDArray[np.float32]]:
        """Yield what is left in the resampler and the silence until ``time``, and make a new resampler."""
        yield from self._resampled(None)
        self.resampler = AudioResampler("fltp", self.layout, self.rate, options=MIXING)
        missing = round(time * self.rate) - self.given
        self.surplus = max(0, -missing)
        if self.given:
            self.damage.silence += max(0, missing) / self.rate
        while missing > 0:
            silence = np.zeros((1 if self.layout == "mono" else 2, min(missing, BLOCK)), np.float32)
            self.given += silence.shape[1]
            missing -= silence.shape[1]
            yield silence

    def _resampled(self, frame: Any) -> Iterator[NDArray[np.float32]]:
        if self.resampler is None:
            return
        if frame is not None:
            frame.pts = None  # placed already
        try:
            resampled = [one for one in self.resampler.resample(frame) if one is not None]
        except (av.error.FFmpegError, ValueError):
            self.damage.packets += 1
            return
        for one in resampled:
            samples = one.to_ndarray()[:, self.surplus :]
            self.surplus = max(0, self.surplus - one.samples)
            self.given += samples.shape[1]
            if samples.shape[1]:
                yield samples.astype(np.float32)


def write_sound(path: str | Path, audio: NDArray[np.floating], rate: int = SAMPLE_RATE) -> None:
    """Write mono sound as a WAV file of 16 bits, whole or not at all.

    Args:
        path: of the file; its folder is made if it is missing.
        audio: (N,) samples in [-1, 1]; what lies beyond is clipped.
        rate: samples a second.

    Raises:
        UserError: it cannot be written.
    """
    levels = np.clip(np.round(np.asarray(audio, np.float64) * 2**15), -(2**15), 2**15 - 1).astype("<i2")
    path = Path(path)
    with told_if_unwritable(path), atomic_write(path) as file, wave.open(file, "wb") as written:
        written.setnchannels(1)
        written.setsampwidth(2)
        written.setframerate(rate)
        written.writeframes(levels.tobytes())
