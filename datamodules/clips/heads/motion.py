"""How a head moves through a video, as landmarks: found, completed where there is no face, and kept in files."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datamodules.clips.faces.face_options import LARGEST, FaceOptions
from datamodules.clips.faces.track_files import Arrays, arrays_of, check_places, read_track, write_track, wrong_track
from datamodules.clips.faces.tracks import FaceTrack, bridged, track_faces
from datamodules.clips.video_chunks import PassingTimes
from networks.faces.landmarks import face_box
from visionscapes.media.containers import Damage, told_if_unwritable
from visionscapes.media.errors import ClipError
from visionscapes.media.video import probe, steady_rate, timed_pictures
from visionscapes.processes import is_first
from visionscapes.progress import track as show_progress

ANY_GAP = 1e6  # seconds: gaps of any length are bridged within a shot
RATE = 25.0  # frames a second of a file that does not say
TIMES, END, SIZE, AT_ONCE = "times", "end", "size", "faces_at_once"


@dataclass(frozen=True)
class HeadMotion:
    """The face of a video in T frames, and when they are shown.

    Attributes:
        track: of the face; where it was not seen, its landmarks are those of its neighbours, see `completed`.
        times: (T,) float64, when each frame is shown, in seconds after the first one.
        end: when the last one ends.
        size: width and height of the frames in pixels, None if that is not known.
        pixel_aspect: width of a pixel of the frames as shown divided by its height.
        damaged: packets that could not be read.
        guessed_rate: whether a file did not say when its frames are shown.
    """

    track: FaceTrack
    times: NDArray[np.float64]
    end: float
    size: tuple[int, int] | None = None
    pixel_aspect: float = 1.0
    damaged: int = 0
    guessed_rate: bool = False

    def __len__(self) -> int:
        return len(self.times)

    @property
    def interpolated(self) -> int:
        """How many frames have landmarks between those of a frame before and one after."""
        return int((self.track.found & ~self.track.seen).sum())

    @property
    def held(self) -> int:
        """How many frames have the landmarks of the nearest frame with a face."""
        return int((~self.track.found).sum())

    @property
    def cuts(self) -> int:
        """How often another shot begins that was not there before."""
        return len(np.unique(self.track.shots)) - 1

    @property
    def steady(self) -> float | None:
        """Frames a second; None if they are shown for different times."""
        return steady_rate(self.times, self.end)

    def __str__(self) -> str:
        missing = self.interpolated + self.held
        words = [f"a face in {int(self.track.seen.sum())} of {len(self)} frames"]
        words += [f"{missing} of {len(self)} frames without a face: {self._completed()}"] if missing else []
        words += [f"up to {self.track.most_faces} faces at once"] if self.track.most_faces > 1 else []
        return ", ".join(words)

    def _completed(self) -> str:
        if not self.held:
            return "interpolated"
        held = f"{self.held} as in the nearest frame with a face"
        return f"{self.interpolated} interpolated, {held}" if self.interpolated else held


def motion_of_video(path: Path, faces: FaceOptions) -> HeadMotion:
    """Return how the head in a video moves; gaps of any length are bridged within a shot.

    Frames pass by one after the other; of each are kept its landmarks, some 2.5 kB in all. Landmarks are found in the
    pixels of the frames, and turned to square ones. Of a video that never shows two faces at once the only one is
    taken, whatever the number of the face that is asked for, which may be meant for another file.

    Args:
        path: of the video.
        faces: which face, and how it is found.

    Raises:
        ClipError: the video cannot be read, or shows no face.
        UserError: the networks are missing.
    """
    try:
        return _motion_of(path, faces)
    except ClipError as error:
        if error.reason != "no face" or faces.number in (None, 0):
            raise
        alone = _motion_of(path, replace(faces, choose=LARGEST))
        if alone.track.most_faces > 1:
            raise
        return alone


def _motion_of(path: Path, faces: FaceOptions) -> HeadMotion:
    info, times, damage = probe(path), PassingTimes(), Damage()
    pictures = times.of(timed_pictures(path, damage))
    shown = show_progress(pictures, f"faces looked for in {path.name}", info.frames, shown=is_first())
    rate = info.frames / info.seconds
    found = track_faces((one.picture for one in shown), rate, replace(faces, longest_gap=ANY_GAP), str(path))
    return HeadMotion(
        completed(found, info.pixel_aspect),
        np.array(times.starts),
        times.end,
        size=(info.width, info.height),
        pixel_aspect=info.pixel_aspect,
        damaged=damage.packets,
    )


def completed(track: FaceTrack, pixel_aspect: float = 1.0) -> FaceTrack:
    """Return a track in square pixels whose landmarks mean something in every frame.

    Where there is no face, before the first, after the last and between two shots, they are those of the nearest frame
    that has one. ``found`` still says which these are.

    Args:
        track: of a face, in one frame at least.
        pixel_aspect: width of its pixels divided by their height.
    """
    places = np.flatnonzero(track.found)
    frames = np.arange(len(track))
    after = np.searchsorted(places, frames).clip(max=len(places) - 1)
    before = (after - 1).clip(min=0)
    nearer = np.abs(places[before] - frames) <= np.abs(places[after] - frames)
    source = np.where(nearer, places[before], places[after])
    source[track.found] = places
    landmarks = track.landmarks[source] * np.array([pixel_aspect, 1], np.float32)
    boxes = track.boxes[source] * np.array([pixel_aspect, 1, pixel_aspect, 1], np.float32)
    return replace(track, landmarks=landmarks, boxes=boxes)


def write_motion(path: Path, motion: HeadMotion) -> None:
    """Write how a head moves, without any picture, as `.npz` or `.safetensors` for `read_motion`, whole or not at all.

    Besides what `write_track` writes, with landmarks in every frame, the file has "times" (T,) float64 in seconds after
    the first frame, "end" (1,), "size" (2,) width and height of the frames in pixels, and "faces_at_once" (1,).

    Args:
        path: of the file.
        motion: of the head.

    Raises:
        ClipError: it ends on something else.
        UserError: it cannot be written.
    """
    more = {TIMES: motion.times, END: np.array([motion.end]), AT_ONCE: np.array([motion.track.most_faces])}
    if motion.size is not None:
        more[SIZE] = np.array(motion.size) * np.array([motion.pixel_aspect, 1])
    with told_if_unwritable(path):
        write_track(path, motion.track, more)


def read_motion(path: Path) -> HeadMotion:
    """Read how a head moves from a file of `write_motion`, or from one of landmarks alone, see `read_track`.

    Frames without landmarks get those of their neighbours. A file that does not say when its frames are shown has 25 a
    second.

    Args:
        path: of the file.

    Raises:
        ClipError: there is no such file, it cannot be read, or holds something else; it says what and what to do.
    """
    track = read_track(path)
    arrays = arrays_of(path)
    count = len(track)
    times = _numbers(path, arrays, TIMES, count)
    end = _numbers(path, arrays, END, 1)
    size = _numbers(path, arrays, SIZE, 2)
    at_once = _numbers(path, arrays, AT_ONCE, 1)
    guessed = times is None
    if times is None:
        times = np.arange(count) / RATE
    if times[0] != 0 or (np.diff(times) <= 0).any():
        raise wrong_track(path, f'has "{TIMES}" that do not rise from 0', "write seconds after the first frame")
    last = float(end[0]) if end is not None else float(times[-1]) + (float(times[-1]) / (count - 1) if count > 1 else 1)
    if last <= times[-1]:
        raise wrong_track(path, f'has an "{END}" before its last frame', "write when the last frame ends, in seconds")
    if at_once is not None:
        track = replace(track, most_faces=max(1, int(at_once[0])))
    known = None if size is None else (round(float(size[0])), round(float(size[1])))
    if known is not None:
        check_places(path, track, known)
    small = ((track.boxes[track.found, 2:] - track.boxes[track.found, :2]) < 1).any()
    if small:
        raise wrong_track(path, "has faces smaller than a pixel", "write landmarks in pixels of the frames")
    return HeadMotion(completed(_bridged(track)), times, last, size=known, guessed_rate=guessed)


def _bridged(track: FaceTrack) -> FaceTrack:
    """Return a track whose gaps within a shot are bridged, however long they are."""
    landmarks, found = bridged(track.landmarks, track.found, track.shots, len(track))
    boxes = np.where(track.found[:, None], track.boxes, face_box(landmarks))
    return replace(track, landmarks=landmarks, boxes=boxes, found=found)


def _numbers(path: Path, arrays: Arrays, name: str, count: int) -> NDArray[np.float64] | None:
    """Return some numbers of a file, None if it does not have them."""
    if name not in arrays:
        return None
    numbers = arrays[name]
    if numbers.shape != (count,) or numbers.dtype.kind not in "fiu" or not np.isfinite(numbers).all():
        raise wrong_track(
            path,
            f'has "{name}" of shape {numbers.shape} and type {numbers.dtype}',
            f"write {count} finite numbers, or leave it out",
        )
    return numbers.astype(np.float64)
