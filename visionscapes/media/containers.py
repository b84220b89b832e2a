"""Files of video and sound, opened with PyAV: which stream is meant, what of it is damaged, and when each frame is due.

Nothing here trusts a file: lengths and rates that its header claims are not believed, damaged packets are passed over
and counted, time stamps that jump are put in order, and what PyAV raises becomes a `ClipError` that names the file.
"""

import errno
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.stream import Disposition

from visionscapes.errors import UserError, in_words
from visionscapes.files import remedy
from visionscapes.media.errors import ClipError, Reason

MOST_PIXELS = 2**26  # of a picture: twice those of 8K; a damaged header may claim thousands of millions
LONGEST_HOLD = 600  # seconds for which one picture or one pause may last; beyond that the time stamp is wrong
LONGEST_PAUSES = 3600  # seconds that all of them may last of a file that claims to be no longer
LONGEST_FILE = 24 * 3600  # seconds that any file may claim
LARGEST_STEP_BACK = Fraction(
    1, 10
)  # seconds; beyond that the clock has been set anew, as where two recordings were joined
PATIENCE = 60.0  # seconds for opening a file and for each of its packets
MOST_FAILURES = 1000  # in a row, until what follows is taken for lost
RATE_IF_UNKNOWN = Fraction(25)
NO_VIDEO = Disposition.attached_pic | Disposition.timed_thumbnails  # covers of songs and previews


@dataclass
class Damage:
    """What was passed over while a file was read.

    Attributes:
        packets: pieces that could not be read or decoded; their pictures and sounds are missing.
        stamps: pictures and pieces of sound whose time jumped or ran backwards, and was not believed.
        silence: seconds of silence that stand where sound is missing, after its start.
    """

    packets: int = 0
    stamps: int = 0
    silence: float = 0.0

    def __bool__(self) -> bool:
        return bool(self.packets or self.stamps or self.silence)


def frames_missing(packets: int, of: str) -> str:
    """Return in words that some packets, one or more, of a file could not be read."""
    pieces = "1 packet" if packets == 1 else f"{packets} packets"
    return f"{pieces} of {of} could not be read: frames are missing there; copy or convert it again"


@contextmanager
def opened(path: Path) -> Iterator[InputContainer]:
    """Open a file of video or sound; errors of PyAV within the block become those of a clip.

    Args:
        path: of a local file; what it refers to, as a playlist does, has to be local too.

    Raises:
        ClipError: it is missing, empty, or no file that PyAV reads; reason "unreadable".
    """
    path = Path(path)
    _check_file(path)
    try:
        with av.open(
            str(path.absolute()),  # absolute, or "a:b.mp4" would name a protocol
            "r",
            options={"max_pixels": str(MOST_PIXELS)},
            container_options={"protocol_whitelist": "file,crypto,data"},
            metadata_errors="replace",
            timeout=(PATIENCE, PATIENCE),
        ) as container:
            yield container
    except ClipError:
        raise
    except av.error.FFmpegError as error:
        raise _unreadable(path, error) from error


@contextmanager
def told_if_unwritable(path: Path) -> Iterator[None]:
    """Turn an error of writing a file within the block into one that a user can mend.

    Raises:
        UserError: no space, no permission, or no place for a file.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"{path} cannot be written ({reason}): {remedy(error) or 'name another place'}") from error


def _check_file(path: Path) -> None:
    """Raise what is wrong with a file before it is opened."""
    try:
        if not path.exists():
            raise ClipError(f"There is no file {path}: check its name")
        if not path.is_file():
            raise ClipError(f"{path} is no file: name a file of video or sound")
        if path.stat().st_size == 0:
            raise ClipError(f"{path} is empty: copy or download it again")
        with path.open("rb"):
            pass
    except OSError as error:
        if error.errno == errno.EACCES:
            raise ClipError(f"{path} may not be read: see to its permissions") from error
        raise ClipError(f"{path} cannot be read ({error.strerror}): check its name and its disk") from error


def _unreadable(path: Path, error: Exception) -> ClipError:
    said = getattr(error, "strerror", None) or in_words(error)
    return ClipError(f"{path} cannot be read as video or sound ({said}): copy or convert it again, or leave it out")


def picture_stream(container: InputContainer, path: Path) -> Any:
    """Return the video stream that is marked as default, else the first; a cover of a song is none.

    Raises:
        ClipError: there is none, reason "no video stream"; or its codec or size is beyond this program, "unreadable".
    """
    streams = [stream for stream in container.streams.video if not stream.disposition & NO_VIDEO]
    stream = _chosen(streams, path, ("video", "no video stream"))
    context = stream.codec_context
    if context.width * context.height > MOST_PIXELS:
        raise ClipError(f"{path} claims pictures of {context.width} x {context.height} pixels: make it smaller")
    context.options = {"max_pixels": str(MOST_PIXELS)}
    return stream


def sound_stream(container: InputContainer, path: Path) -> Any:
    """Return the sound stream that is marked as default, else the first.

    Raises:
        ClipError: there is none, reason "no sound"; or its codec is beyond this program, "unreadable".
    """
    return _chosen(list(container.streams.audio), path, ("sound", "no sound"))


def _chosen(streams: list[Any], path: Path, wanted: tuple[str, Reason]) -> Any:
    kind, reason = wanted
    if not streams:
        raise ClipError(f"{path} has no {kind}: name a file that has, or leave it out", reason)
    known = [stream for stream in streams if stream.codec_context is not None]
    if not known:
        raise ClipError(f"{path} has {kind} of a kind that cannot be decoded: convert it, to H.264 and AAC for example")
    stream = next((one for one in known if one.disposition & Disposition.default), known[0])
    stream.codec_context.thread_count = 1  # several clips are read at once instead, and memory stays small
    return stream


def packets(container: InputContainer, streams: list[Any], damage: Damage) -> Iterator[Any]:
    """Yield the packets of some streams; what cannot be read is counted."""
    failures = 0
    while failures < MOST_FAILURES:
        try:
            for packet in container.demux(streams):
                if packet.size:  # an empty one would end the decoding; PyAV gives some at the end, damaged files before
                    yield packet
                failures = 0
        except av.error.FFmpegError:
            damage.packets += 1
            failures += 1
        except IndexError:  # of PyAV at the end, where a damaged file has shown new streams on the way
            return
        else:
            return


def decoded(container: InputContainer, stream: Any, damage: Damage) -> Iterator[Any]:
    """Yield the frames of a stream as PyAV gives them, in the order of presentation; what is damaged is counted."""
    for packet in chain(packets(container, [stream], damage), [None]):  # None: what is left in the decoder
        try:
            yield from stream.codec_context.decode(packet)
        except (av.error.FFmpegError, ValueError):
            damage.packets += 1


class Clock:
    """Gives each frame of a stream a time, in seconds, whatever its time stamp says.

    A missing stamp follows from the frame before. A jump, of more than `LONGEST_HOLD` ahead or `LARGEST_STEP_BACK`
    behind, is taken back for this and all later frames, and counted; so is any pause when those before sum up to more
    than the whole file claims to last, and more than `LONGEST_PAUSES`.

    Args:
        stream: to whose frames it gives times.
        damage: where jumps are counted.
        origin: when the first frame is due, within `LONGEST_HOLD`; its own stamp says if None.
        step_back: seconds by which a frame after the first may start before the one before.
    """

    def __init__(
        self,
        stream: Any,
        damage: Damage,
        *,
        origin: Fraction | None = None,
        step_back: Fraction = LARGEST_STEP_BACK,
    ):
        self.time_base = stream.time_base or Fraction(1, 1000)
        self.damage, self.step_back = damage, step_back
        self.shift = Fraction(0)
        self.due: Fraction | None = origin  # when the next frame should start
        self.earliest = (origin or Fraction(0)) - LONGEST_HOLD  # when it may
        claimed = Fraction(stream.container.duration or 0, av.time_base)
        self.pauses_left = min(max(claimed, Fraction(LONGEST_PAUSES)), Fraction(LONGEST_FILE))

    def times_of(
        self, frames: Iterable[Any], stamp_of: Callable[[Any], int | None], duration_of: Callable[[Any], Fraction]
    ) -> Iterator[tuple[Any, Fraction, Fraction]]:
        """Yield frames with their start and duration in seconds; a stamp that alone is far ahead is not believed.

        Args:
            frames: in the order of their presentation.
            stamp_of: what is written in the file for a frame.
            duration_of: a frame, in seconds.
        """
        for frame, following in pairwise(chain(frames, [None])):
            stamp, duration = stamp_of(frame), duration_of(frame)
            after = None if following is None else stamp_of(following)
            if stamp is not None and after is not None and after < stamp and self._ahead(stamp) > 1:
                self.damage.stamps += 1
                stamp = None
            yield frame, self.time_of(stamp, duration), duration

    def _ahead(self, stamp: int) -> Fraction:
        """Return by how many seconds a stamp is later than due."""
        return Fraction(0) if self.due is None else stamp * self.time_base + self.shift - self.due

    def time_of(self, stamp: int | None, duration: Fraction) -> Fraction:
        """Return when a frame starts.

        Args:
            stamp: as written in the file.
            duration: of the frame in seconds, for the next one.
        """
        time = (self.due or Fraction(0)) if stamp is None else stamp * self.time_base + self.shift
        if self.due is not None and stamp is not None:
            ahead = self._ahead(stamp)
            if time < self.earliest or ahead > min(Fraction(LONGEST_HOLD), max(Fraction(1), self.pauses_left)):
                self.damage.stamps += 1
                self.shift -= ahead
                time = self.due
            elif ahead > 1:
                self.pauses_left -= ahead
        self.due, self.earliest = time + duration, time - self.step_back
        return time
