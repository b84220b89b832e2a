"""Frames of any video at a steady rate, as they are shown, in constant memory.

Time 0 is when the first picture is shown. Pictures are turned as the file says. They are not stretched where the file
says that its pixels are not square, see `VideoInfo.pixel_aspect`; transparency is ignored, and high dynamic range is
not mapped to the common one. Colours follow the file's matrix and range; if it names no matrix, BT.709 from 720 lines
on and BT.601 below, as players do.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from av.sidedata.sidedata import Type as SideDataType
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

from visionscapes.media import FRAME_RATE
from visionscapes.media.containers import (
    LONGEST_HOLD,
    RATE_IF_UNKNOWN,
    Clock,
    Damage,
    decoded,
    opened,
    packets,
    picture_stream,
)
from visionscapes.media.errors import ClipError

UNSPECIFIED_MATRIX = 2  # of ISO/IEC 23091-2, as are those of a file
LINES_OF_HIGH_DEFINITION = 720
REORDERED = 16  # pictures by which the order of decoding may differ from that of showing ...
REORDERING = Fraction(2)  # ... and seconds
ROUNDING_OF_STAMPS = 0.0021  # seconds by which gaps differ where times are rounded to milliseconds
COARSEST_TICK = Fraction(1, 500)  # seconds: coarser units of time are those of one frame, and exact
SHORTEST = Fraction(1, 20_000)  # seconds: pictures that are nearer to each other have the same time
EQUAL_RATES = 1e-4  # share by which rates differ that are the same
ACCURATE = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT


@dataclass(frozen=True)
class VideoInfo:
    """What a video is, by its packets and its first picture, not by what its header claims.

    Attributes:
        width: of the pictures in pixels, as they are shown.
        height: of the pictures in pixels, as they are shown.
        rate: pictures a second on average.
        frames: coded pictures; of a damaged file some of them cannot be decoded.
        seconds: from the start of the first picture to the end of the last.
        has_sound: whether there is sound, of a kind that can be decoded.
        rotation: degrees clockwise, of 0, 90, 180 and 270, by which the coded pictures are turned to be shown.
        mirrored: whether they are mirrored too, left and right exchanged after the rotation.
        variable_rate: whether the pictures are shown for different times.
        pixel_aspect: width of a pixel as shown divided by its height; 1 if the file says nothing.
    """

    width: int
    height: int
    rate: float
    frames: int
    seconds: float
    has_sound: bool
    rotation: int
    mirrored: bool
    variable_rate: bool
    pixel_aspect: float


class Orientation(NamedTuple):
    """How coded pictures are turned to be shown: first transposed, then flipped."""

    transposed: bool = False
    flipped_x: bool = False
    flipped_y: bool = False

    def apply(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a picture (H, W, 3) as it is shown, contiguous."""
        turned = picture.transpose(1, 0, 2) if self.transposed else picture
        turned = turned[:, ::-1] if self.flipped_x else turned
        return np.ascontiguousarray(turned[::-1] if self.flipped_y else turned)

    @property
    def mirrored(self) -> bool:
        """Whether left and right are exchanged."""
        return (self.transposed + self.flipped_x + self.flipped_y) % 2 == 1

    @property
    def rotation(self) -> int:
        """Degrees clockwise, before left and right are exchanged if they are."""
        if self.transposed:
            return 270 if self.flipped_y else 90
        return 180 if self.flipped_y else 0


class _Converter:
    """Turns decoded frames into RGB arrays of the size and orientation of the first one."""

    def __init__(self, frame: Any):
        self.width, self.height = frame.width, frame.height
        self.orientation = _orientation(frame)
        self.reformatter = VideoReformatter()

    @property
    def shown_size(self) -> tuple[int, int]:
        """Width and height as shown."""
        return (self.height, self.width) if self.orientation.transposed else (self.width, self.height)

    def __call__(self, frame: Any) -> NDArray[np.uint8]:
        matrix = None  # what the frame says
        if frame.colorspace == UNSPECIFIED_MATRIX:
            matrix = Colorspace.ITU709 if frame.height >= LINES_OF_HIGH_DEFINITION else Colorspace.ITU601
        picture: Any = self.reformatter.reformat(
            frame,
            width=self.width,
            height=self.height,
            format="rgb24",
            src_colorspace=matrix,
            dst_color_range=ColorRange.JPEG,
            interpolation=ACCURATE,
            threads=1,
        )
        return self.orientation.apply(picture.to_ndarray())


def _orientation(frame: Any) -> Orientation:
    """Return the orientation that a frame's display matrix stands for, to the nearest quarter turn."""
    try:
        matrix = np.frombuffer(bytes(frame.side_data[SideDataType.DISPLAYMATRIX]), np.int32)[:9].reshape(3, 3)
    except KeyError:
        return Orientation()
    (a, b), (c, d) = matrix[:2, :2].astype(float)  # shown x = a x + c y, shown y = b x + d y
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Orientation(False, bool(a < 0), bool(d < 0))
    return Orientation(True, bool(c < 0), bool(b < 0))


class _Timed(NamedTuple):
    """A decoded frame with its time and, if it is the last, when it ends, in seconds on the file's clock."""

    frame: Any
    time: Fraction
    end: Fraction


def _timed(container: Any, stream: Any, damage: Damage) -> Iterator[_Timed]:
    """Yield the decoded frames of a stream in the order of their times; those that come too late are left out."""
    clock, last = Clock(stream, damage), None
    nominal = 1 / _nominal_rate(stream)
    for frame, time, duration in clock.times_of(
        decoded(container, stream, damage),
        stamp_of=lambda frame: _stamp(frame, container),
        duration_of=lambda frame: frame.duration * clock.time_base if frame.duration else nominal,
    ):
        if last is not None and time < last:
            damage.stamps += 1
            continue
        last = time
        yield _Timed(frame, time, time + min(duration, Fraction(LONGEST_HOLD)))


def _stamp(item: Any, container: Any) -> int | None:
    """Return the time stamp of a frame or packet: when it is shown or, in .avi, which does not say, is decoded."""
    stamps = (item.dts, item.pts) if container.format.name == "avi" else (item.pts, item.dts)
    return next((stamp for stamp in stamps if stamp is not None), None)


def _nominal_rate(stream: Any) -> Fraction:
    rate = stream.average_rate or stream.guessed_rate or RATE_IF_UNKNOWN
    return rate if 0 < rate <= 1000 else RATE_IF_UNKNOWN


def read_frames(
    path: str | Path, rate: float | None = float(FRAME_RATE), damage: Damage | None = None
) -> Iterator[NDArray[np.uint8]]:
    """Yield the pictures of a video at a steady rate.

    Frame k is what is shown in the middle of its time, (k + 1/2) / rate seconds after the first picture appears: at its
    beginning it would be an old picture, at 24 or 30 a second by half of one on average, and sound would seem early.
    Where a picture changes at that very moment, as at 50 a second, it is the earlier one.
    The last one stays for as long as the file says. All have the size of the first, to which others are resized.

    Args:
        path: of the video, in any container and codec that PyAV reads.
        rate: frames a second; None for each coded picture once, whenever it is shown.
        damage: where it is counted what could not be read and was passed over.

    Yields:
        (H, W, 3) uint8 RGB, a new array each.

    Raises:
        ClipError: when the first frame is asked for: the file cannot be read, or has no video or no frame.
    """
    path, damage = Path(path), Damage() if damage is None else damage
    with opened(path) as container:
        stream = picture_stream(container, path)
        timed = _timed(container, stream, damage)
        first = _first(timed, path)
        convert = _Converter(first.frame)
        if rate is None:
            yield convert(first.frame)
            yield from (convert(one.frame) for one in timed)
            return
        # Half a unit of the stamps, to which they are rounded: 1001 / 30000 s, say, to 33 ms.
        rounding = min(stream.time_base or COARSEST_TICK, COARSEST_TICK) / 2
        step, count, shown = 1 / Fraction(rate), 0, first
        middle = first.time + step / 2
        for following in timed:
            repeats = _due(middle, following.time + rounding, step) - count
            yield from _repeated(convert, shown.frame, repeats)
            count, shown = count + max(0, repeats), following
        repeats = _due(middle, shown.end + rounding, step) - count
        yield from _repeated(convert, shown.frame, max(repeats, 1 - count))


class TimedPicture(NamedTuple):
    """A picture of a video and when it is shown.

    Attributes:
        picture: (H, W, 3) uint8 RGB, a new array.
        time: when it appears, in seconds after the first one.
        end: when it ends if no other follows, in seconds after the first one.
    """

    picture: NDArray[np.uint8]
    time: float
    end: float


def timed_pictures(path: str | Path, damage: Damage | None = None) -> Iterator[TimedPicture]:
    """Yield each picture of a video once, with its own time, at whatever rate.

    Times rise; a picture at the time of the one before is left out, for nobody would see one of them. All have the size
    of the first, to which others are resized.

    Args:
        path: of the video, in any container and codec that PyAV reads.
        damage: where it is counted what could not be read and was passed over.

    Raises:
        ClipError: when the first picture is asked for: the file cannot be read, or has no video or no frame.
    """
    path, damage = Path(path), Damage() if damage is None else damage
    with opened(path) as container:
        timed = _timed(container, picture_stream(container, path), damage)
        first = _first(timed, path)
        convert, last = _Converter(first.frame), None
        for one in chain([first], timed):
            if last is not None and one.time - last < SHORTEST:
                damage.stamps += 1
                continue
            last = one.time
            yield TimedPicture(convert(one.frame), float(one.time - first.time), float(one.end - first.time))


def steady_rate(times: NDArray[np.float64], end: float) -> float | None:
    """Return at which rate pictures follow each other; None if they are shown for different times.

    Args:
        times: (N,) when each is shown, in seconds after the first one.
        end: when the last one ends.
    """
    measured = (len(times) - 1) / times[-1] if len(times) > 1 else 1 / max(end, float(SHORTEST))
    whole = max(round(measured), 1)
    off = {rate: np.abs(times - np.arange(len(times)) / rate).max() for rate in (whole, whole * 1000 / 1001, measured)}
    if len(times) == 1:
        return next((float(rate) for rate in off if abs(rate / measured - 1) < EQUAL_RATES), measured)
    named = min((whole, whole * 1000 / 1001), key=lambda rate: off[rate])
    rate = named if off[named] <= ROUNDING_OF_STAMPS else measured
    return float(rate) if off[rate] <= ROUNDING_OF_STAMPS else None


def _first(timed: Iterator[_Timed], path: Path) -> _Timed:
    first = next(timed, None)
    if first is None:
        raise ClipError(f"{path} has no frame that can be decoded: copy it again, or leave it out", "no frames")
    return first


def _due(start: Fraction, until: Fraction, step: Fraction) -> int:
    """Return how many of the times start, start + step, ... lie before ``until``."""
    return max(0, -((start - until) // step))


def _repeated(convert: _Converter, frame: Any, times: int) -> Iterator[NDArray[np.uint8]]:
    if times > 0:
        picture = convert(frame)
        yield picture
        yield from (picture.copy() for _ in range(times - 1))


def first_picture_time(container: Any, path: Path) -> Fraction | None:
    """Return when the first picture is shown, in seconds on the file's clock; None if there is no video.

    Args:
        container: as opened; it is read from where it stands.
        path: its name.
    """
    try:
        stream = picture_stream(container, path)
    except ClipError:
        return None
    first = next(_timed(container, stream, Damage()), None)
    return first.time if first is not None else None


def probe(path: str | Path) -> VideoInfo:
    """Return what a video is; its packets are read to the end, only its first picture is decoded.

    Raises:
        ClipError: the file cannot be read, or has no video or no frame.
    """
    path = Path(path)
    with opened(path) as container:
        stream = picture_stream(container, path)
        converter = _Converter(_first(_timed(container, stream, Damage()), path).frame)
        aspect = stream.sample_aspect_ratio
    times, heard = _packet_times(path)
    width, height = converter.shown_size
    end = max(time + duration for time, duration in times)
    gaps = np.diff([float(time) for time, _ in times])
    return VideoInfo(
        width=width,
        height=height,
        rate=float(len(times) / (end - times[0][0])),
        frames=len(times),
        seconds=float(end - times[0][0]),
        has_sound=heard,
        rotation=converter.orientation.rotation,
        mirrored=converter.orientation.mirrored,
        variable_rate=bool(len(gaps) and np.ptp(gaps) > ROUNDING_OF_STAMPS),
        pixel_aspect=float(aspect or 1),
    )


def _packet_times(path: Path) -> tuple[list[tuple[Fraction, Fraction]], bool]:
    """Return start and duration of each coded picture, in order, in seconds, and whether there is sound."""
    times, heard, damage = [], False, Damage()
    with opened(path) as container:
        stream = picture_stream(container, path)
        nominal = 1 / _nominal_rate(stream)
        clock = Clock(stream, damage, step_back=max(REORDERING, REORDERED * nominal))
        sounds = [one for one in container.streams.audio if one.codec_context is not None]
        for packet in packets(container, [stream, *sounds], damage):
            if packet.is_discard:
                continue
            if packet.stream.type == "audio":
                heard = True
                continue
            duration = packet.duration * clock.time_base if packet.duration else nominal
            times.append((clock.time_of(_stamp(packet, container), duration), min(duration, Fraction(LONGEST_HOLD))))
    return sorted(times) or [(Fraction(0), nominal)], heard
