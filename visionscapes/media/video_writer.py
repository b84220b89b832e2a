"""Videos written as MP4, of H.264 and AAC, which every player shows: a file is there whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Literal, Self

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, VideoReformatter
from numpy.typing import NDArray

from visionscapes.checks import Bounds, ImageSize, PositiveFloat, check_options
from visionscapes.errors import UserError
from visionscapes.files import atomic_write
from visionscapes.media import SAMPLE_RATE
from visionscapes.media.containers import Damage, opened, sound_stream, told_if_unwritable
from visionscapes.media.sound import sound_pieces
from visionscapes.media.video import ACCURATE, LINES_OF_HIGH_DEFINITION

RATES_OF_AAC = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)  # Hz, of those that players know
BITS_A_CHANNEL = 96_000  # a second
FINE_TICK = Fraction(1, 90_000)  # seconds, where pictures have times of their own
SAME_EACH_TIME = "mbtree=0"  # macroblock trees of narrow pictures differ from run to run, in one process even
SMPTE_170M = 6  # BT.601's matrix in ISO/IEC 23091-2
Preset = Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"]
SoundSource = NDArray[np.floating] | str | Path


class VideoWriter:
    """Writes pictures and sound to an MP4 file, which takes its place when the block ends without an error.

        with VideoWriter("talk.mp4", (96, 96), 25, sound="talk.wav") as video:
            for picture in pictures:
                video.write(picture)

    Width and height of H.264 are even: a picture of odd size gets its last column or row once more. Memory does not
    grow with the length.

    Args:
        path: of the file; its folder is made if it is missing.
        size: width and height of the pictures in pixels.
        rate: pictures a second; 29.97 and the like are taken for 30000/1001.
        sound: samples (N,) in [-1, 1], mono at 16 kHz, or a file with sound, whose rate and stereo are kept and whose
            sound is put as `read_sound` does. It ends with the pictures. None for a silent film.
        pixel_aspect: width of a pixel as shown divided by its height, see `VideoInfo`.
        crf: constant rate factor of H.264: 0 loses nothing but colour resolution, 18 is hardly seen, 28 is small.
        preset: of x264, which trades time for size.

    Raises:
        UserError: an option is out of its bounds; the file cannot be written; no picture was written.
        ClipError: there is no sound in the file that ``sound`` names.
    """

    def __init__(
        self,
        path: str | Path,
        size: tuple[ImageSize, ImageSize],
        rate: PositiveFloat,
        *,
        sound: SoundSource | None = None,
        pixel_aspect: PositiveFloat = 1.0,
        crf: Annotated[int, Bounds(least=0, most=51)] = 18,
        preset: Preset = "veryfast",
    ):
        check_options(VideoWriter, {name: value for name, value in locals().items() if name != "sound"})
        self.path, self.size, self.rate = Path(path), size, _exact(rate)
        self.pixel_aspect = Fraction(pixel_aspect).limit_denominator(255)
        self.sound = None if sound is None else _Sound(sound)
        self.options = {"crf": str(crf), "preset": preset, "x264-params": SAME_EACH_TIME}
        self.count, self.last_stamp, self.end = 0, -1, Fraction(0)
        self._closing = ExitStack()
        self._container: Any = None
        self._stream: Any = None
        self._sound_stream: Any = None
        self._reformatter = VideoReformatter()

    def __enter__(self) -> Self:
        with told_if_unwritable(self.path), ExitStack() as entered:
            file = entered.enter_context(atomic_write(self.path))
            # By name, because in the end the index is moved to the front of the file, for which it is read again.
            self._container = av.open(os.path.abspath(file.name), "w", format="mp4", options={"movflags": "+faststart"})
            self._closing = entered.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        if kind is not None:
            self._abandon()
            return self._closing.__exit__(kind, error, trace)
        with told_if_unwritable(self.path), self._closing, told_if_unwritable(self.path):
            self._finish()
        return None

    def write(self, picture: NDArray[np.uint8], time: float | None = None) -> None:
        """Add a picture.

        Args:
            picture: (H, W, 3) uint8 RGB of the writer's size.
            time: when it is shown, in seconds after the first, which is at 0; later than the one before. None for
                steady time; either all pictures have a time or none.

        Raises:
            ValueError: the picture has another shape or type, or its time is not after the one before.
            UserError: the file cannot be written.
        """
        width, height = self.size
        if picture.shape != (height, width, 3) or picture.dtype != np.uint8:
            raise ValueError(f"a picture of {picture.dtype} {picture.shape}, not uint8 {(height, width, 3)}")
        if self._stream is None:
            self._add_streams(1 / self.rate if time is None else FINE_TICK)
        tick = self._stream.codec_context.time_base
        stamp = self.count if time is None else round(time / tick)
        if stamp <= self.last_stamp:
            raise ValueError(f"the picture at {time} s is not after the one before")
        frame = self._frame(picture)
        frame.pts, frame.time_base, frame.duration = stamp, tick, max(1, round(1 / self.rate / tick))
        self.last_stamp, self.end = stamp, stamp * tick + 1 / self.rate
        self.count += 1
        with told_if_unwritable(self.path):
            self._container.mux(self._stream.encode(frame))
            self._write_sound(stamp * tick)

    def _add_streams(self, tick: Fraction) -> None:
        width, height = (side + side % 2 for side in self.size)
        self._stream = self._container.add_stream("libx264", rate=self.rate, options=self.options)
        context = self._stream.codec_context
        context.width, context.height, context.pix_fmt, context.time_base = width, height, "yuv420p", tick
        context.sample_aspect_ratio = self.pixel_aspect
        context.thread_count = 1  # the same bytes on every machine
        context.color_range = ColorRange.MPEG
        fine = height >= LINES_OF_HIGH_DEFINITION
        context.colorspace = Colorspace.ITU709 if fine else SMPTE_170M
        context.color_primaries = ColorPrimaries.BT709 if fine else ColorPrimaries.SMPTE170M
        context.color_trc = ColorTrc.BT709 if fine else ColorTrc.SMPTE170M
        if self.sound is not None:
            stream = self._container.add_stream("aac", rate=self.sound.rate, layout=self.sound.layout)
            stream.bit_rate = BITS_A_CHANNEL * self.sound.channels
            stream.codec_context.thread_count = 1
            self._sound_stream = stream

    def _frame(self, picture: NDArray[np.uint8]) -> Any:
        width, height = self.size
        even = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        fine = even.shape[0] >= LINES_OF_HIGH_DEFINITION
        return self._reformatter.reformat(
            av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24"),
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709 if fine else Colorspace.ITU601,
            dst_color_range=ColorRange.MPEG,
            interpolation=ACCURATE,
            threads=1,
        )

    def _write_sound(self, until: Fraction) -> None:
        """Write the sound up to a time, in seconds, so that what belongs together stands together in the file."""
        if self.sound is not None:
            for frame in self.sound.frames(until):
                self._container.mux(self._sound_stream.encode(frame))

    def _finish(self) -> None:
        if not self.count:
            self._abandon()
            raise UserError(f"{self.path} would be a video without a picture: give it one at least")
        self._container.mux(self._stream.encode(None))
        if self._sound_stream is not None:
            self._write_sound(self.end)
            self._container.mux(self._sound_stream.encode(None))
        self._container.close()

    def _abandon(self) -> None:
        with suppress(OSError, av.error.FFmpegError):  # the file is removed in any case
            self._container.close()


class _Sound:
    """The sound that goes with a video, as frames for an encoder."""

    def __init__(self, source: SoundSource):
        self.rate, self.layout = SAMPLE_RATE, "mono"
        if isinstance(source, str | Path):
            self._ask(Path(source))
            self.pieces = sound_pieces(Path(source), Damage(), rate=self.rate, layout=self.layout)
        else:
            samples = np.clip(np.asarray(source, np.float32).reshape(1, -1), -1, 1)
            self.pieces = iter([samples] if samples.size else [])
        self.waiting = np.zeros((self.channels, 0), np.float32)
        self.given = 0

    @property
    def channels(self) -> int:
        """One or two."""
        return 1 if self.layout == "mono" else 2

    def _ask(self, path: Path) -> None:
        with opened(path) as container:
            context = sound_stream(container, path).codec_context
            self.layout = "mono" if context.channels == 1 else "stereo"
            self.rate = next((rate for rate in RATES_OF_AAC if rate >= context.sample_rate), RATES_OF_AAC[-1])

    def frames(self, until: Fraction) -> Iterator[av.AudioFrame]:
        """Yield what was not given yet of the sound before a time in seconds."""
        last = round(until * self.rate)
        while self.given < last:
            if not self.waiting.shape[1]:
                piece = next(self.pieces, None)
                if piece is None:
                    return
                self.waiting = piece
            some, self.waiting = np.split(self.waiting, [last - self.given], axis=1)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(some), format="fltp", layout=self.layout)
            frame.sample_rate, frame.pts, frame.time_base = self.rate, self.given, Fraction(1, self.rate)
            self.given += some.shape[1]
            yield frame


def _exact(rate: float) -> Fraction:
    """Return a rate as the fraction that is meant: 30000 / 1001 for 29.97."""
    nominal = Fraction(round(rate) * 1000, 1001)
    return nominal if abs(float(nominal) / rate - 1) < 2e-4 else Fraction(rate).limit_denominator(1001)
