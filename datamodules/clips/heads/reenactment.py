"""Heads to be reenacted: one person in a few pictures, and drivers that say how it moves, in chunks of frames."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from typing_extensions import override

from datamodules.clips.faces.face_options import FaceOptions
from datamodules.clips.faces.track_files import NPZ, SAFETENSORS
from datamodules.clips.heads.cautions import about_motion, about_mouths
from datamodules.clips.heads.cropping import Raised, head_picture, head_windows, in_heads
from datamodules.clips.heads.drawing import draw_all
from datamodules.clips.heads.motion import HeadMotion, motion_of_video, read_motion, write_motion
from datamodules.clips.heads.source import FoundShots
from datamodules.clips.heads.transfer import LandmarksMode, most_frontal, relative_landmarks
from datamodules.clips.video_chunks import Batch, VideoChunks, added, distinct_names, in_order
from visionscapes.checks import ImageSize, PositiveFloat, PositiveInt, check_options
from visionscapes.errors import UserError
from visionscapes.media.errors import ClipError
from visionscapes.media.video import probe

TASK = "reenact"
LONGEST_NAME = 240  # bytes, of the 255 that file systems take with a suffix


@dataclass(frozen=True)
class HowToReenact:
    """What is made of a driver before a network sees it.

    Attributes:
        size: S in pixels.
        margin: side of a crop, in multiples of the longer side of the face.
        faces: which face of a driver, and how it is found; gaps of any length are bridged.
        landmarks: "absolute" are the driver's own (thesis 6.1); "relative" are the source's, moved as the driver's are.
        finetune: whether the network is to be fine-tuned on the shots (thesis 6.1.1.5).
        sound: whether the result gets the driver's.
        save_landmarks: file for the driver's landmarks.
        raised: how far the middle of a crop lies above that of the face, in multiples of its longer side.

    Raises:
        UserError: an option is out of its bounds.
    """

    size: ImageSize
    margin: PositiveFloat
    faces: FaceOptions = FaceOptions()
    landmarks: LandmarksMode = "absolute"
    finetune: bool = False
    sound: bool = False
    save_landmarks: str | None = None
    raised: Raised = 0.0

    def __post_init__(self) -> None:
        check_options(HowToReenact, vars(self))


class HeadToReenact:
    """One person to be moved by one driver.

    Args:
        shots: of the person.
        driving: a video, or a file of `write_motion` or of landmarks.
        name: of the driver.
        how: it is done.
    """

    def __init__(self, shots: FoundShots, driving: Path, *, name: str, how: HowToReenact):
        self.shots, self.driving, self.how = shots, driving, how
        room = LONGEST_NAME - len(f"__{name}".encode())
        self.name = f"{shots.name.encode()[: max(room, 0)].decode(errors='ignore')}__{name}"

    @property
    def is_video(self) -> bool:
        """Whether the driver has pictures, and not landmarks alone."""
        return self.driving.suffix.lower() not in (NPZ, SAFETENSORS)

    @cached_property
    def most_frames(self) -> int:
        """How many frames there are at most.

        Raises:
            ClipError: the driver cannot be read.
        """
        return probe(self.driving).frames if self.is_video else len(read_motion(self.driving))

    def chunks(self, size: int, most: int) -> Iterator[Batch]:
        """Yield the frames, see `HeadsToReenact`.

        Args:
            size: frames of a chunk, at most, if that makes no more than ``most`` chunks.
            most: chunks.

        Raises:
            ClipError: nothing can be made of the driver.
            UserError: the landmarks cannot be written.
        """
        seconds: dict[str, float] = {"faces": 0.0, "decoding": 0.0, "drawing": 0.0}
        with added(seconds, "faces"):
            motion = motion_of_video(self.driving, self.how.faces) if self.is_video else read_motion(self.driving)
        if self.how.save_landmarks is not None:
            write_motion(Path(self.how.save_landmarks).expanduser(), motion)
        windows = head_windows(motion.track.boxes, self.how.margin, self.how.raised)
        landmarks, reference = self._carried_over(in_heads(motion.track.landmarks, windows, self.how.size), motion)
        audio, about_sound = self._sound()
        warnings = [*self.shots.warnings, *about_motion(motion), *self._about(motion, reference), *about_sound]
        self._tell(motion, warnings)
        with added(seconds, "drawing"):
            always = self._always(motion, audio, warnings)
        counts = counts_of(motion, reference)
        pictures = in_order(self.driving, np.arange(len(motion))) if self.is_video else iter(())
        size = max(size, -(-len(motion) // most))
        for first in range(0, len(motion), size):
            index = np.arange(first, min(first + size, len(motion)))
            with added(seconds, "drawing"):
                drawing = draw_all(landmarks[index], self.how.size)
            batch = always | {
                "index": torch.from_numpy(index),
                "time": torch.from_numpy(motion.times[index]),
                "found": torch.from_numpy(motion.track.seen[index]),
                "landmarks": torch.from_numpy(landmarks[index]),
                "drawing": drawing,
            }
            if self.is_video:
                with added(seconds, "decoding"):
                    heads = [self._head(next(pictures), windows[at], motion) for at in index]
                batch["driver"] = torch.stack(heads)
            last = int(index[-1]) == len(motion) - 1
            yield batch | {"seconds": dict(seconds), "last": last, "counts": counts if last else {}}

    def _carried_over(self, driver: NDArray[np.float32], motion: HeadMotion) -> tuple[NDArray[np.float32], int | None]:
        """Return the landmarks (T, 68, 2) of the result, and the frame of reference if they are relative to one."""
        if self.how.landmarks == "absolute":
            return driver, None
        if len(driver) == 1:
            raise ClipError(
                f"{self.driving} has a single frame, which is its own reference: moved by it, the source would stay as"
                " it is. Set --data.landmarks=absolute, or name a video",
                "one frame",
            )
        seen = np.flatnonzero(motion.track.seen) if motion.track.seen.any() else np.arange(len(driver))
        reference = int(seen[most_frontal(driver[seen])])
        return relative_landmarks(driver, driver[reference], self._frontal_shot()), reference

    def _frontal_shot(self) -> NDArray[np.float32]:
        return self.shots.landmarks[most_frontal(self.shots.landmarks)]

    def _about(self, motion: HeadMotion, reference: int | None) -> list[str]:
        return [] if reference is None else about_mouths(motion.track.landmarks, reference, self._frontal_shot())

    def _sound(self) -> tuple[str, list[str]]:
        """Return the file whose sound the result gets, "" for none, and what is to be said of it."""
        if not self.how.sound:
            return "", []
        if self.is_video and probe(self.driving).has_sound:
            return str(self.driving), []
        return "", [f"{self.driving.name} has no sound: the result is silent"]

    def _head(self, frame: NDArray[np.uint8], window: NDArray[np.float32], motion: HeadMotion) -> torch.Tensor:
        return head_picture(frame, window, self.how.size, motion.pixel_aspect)

    def _always(self, motion: HeadMotion, audio: str, warnings: Sequence[str]) -> Batch:
        """Return what all chunks have in common."""
        rate = motion.steady
        return {
            "task": TASK,
            "name": self.name,
            "source": self.shots.name,
            "driving": str(self.driving),
            "shots": self.shots.images,
            "shot_drawings": draw_all(self.shots.landmarks, self.how.size),
            "shot_landmarks": torch.from_numpy(self.shots.landmarks),
            "finetune": self.how.finetune,
            "mode": self.how.landmarks,
            "audio": audio,
            "total": len(motion),
            "rate": len(motion) / motion.end if rate is None else rate,
            "steady": rate is not None,
            "notes": [*self.shots.notes, self._note(motion)],
            "warnings": list(warnings),
        }

    def _note(self, motion: HeadMotion) -> str:
        return f"{self.driving.name} is the driver: {motion}"

    def _tell(self, motion: HeadMotion, warnings: Sequence[str]) -> None:
        for line in (*self.shots.notes, self._note(motion), *(f"warning: {each}" for each in warnings)):
            print(line, flush=True)


class HeadsToReenact(VideoChunks[HeadToReenact]):
    """Chunks of consecutive frames of drivers, one after the other, for the heads of one person.

    A chunk of F frames is a batch of task "reenact": "name" str, "<source>__<driver>"; "source" and "driving" str;
    "shots" and "shot_drawings" (K, 3, S, S) uint8, "shot_landmarks" (K, 68, 2) float32 in pixels of the shots;
    "drawing" (F, 3, S, S) uint8, the landmarks of the result, drawn, and "landmarks" (F, 68, 2) float32 in pixels;
    "found" (F,) bool, whether the driver's face was seen, for others have landmarks in between or of the nearest;
    "driver" (F, 3, S, S) uint8, the driver's head, not there for landmarks without pictures; "index" (F,) int64 from 0,
    "time" (F,) float64 in seconds after the first frame; "total", frames in all; "rate", a second, and "steady",
    whether it is constant; "audio" str, the file with the sound of the result, "" for none; "finetune" bool; "mode",
    "absolute" or "relative"; "notes" and "warnings", lists of lines; "seconds" so far, by part; "last" bool; and
    "counts", in the last chunk, see `counts_of`. Notes and warnings are printed before the first chunk.

    A driver of which nothing can be made is left out and told, unless it is the only one. Processes share the drivers.

    Args:
        shots: of the person.
        driving: videos, or files of landmarks; one at least.
        how: it is done.
        chunk: F, at most.

    Raises:
        UserError: an option is out of its bounds, or the landmarks cannot be saved so, see `check_saved`.
    """

    purpose, done = "reenactment", "used as a driver"

    def __init__(self, shots: FoundShots, driving: Sequence[Path], *, how: HowToReenact, chunk: PositiveInt = 32):
        check_options(HeadsToReenact, {"chunk": chunk})
        if how.save_landmarks is not None:
            check_saved(Path(how.save_landmarks).expanduser(), driving)
        names = distinct_names(driving)
        super().__init__([HeadToReenact(shots, path, name=name, how=how) for path, name in names.items()])
        self.chunk = chunk

    @override
    def chunk_of(self, video: HeadToReenact) -> int:
        return self.chunk


def check_saved(file: Path, driving: Sequence[Path]) -> None:
    """See that landmarks can be saved in a file, before hours are spent on finding them.

    Raises:
        UserError: its name ends on something else, or it is that of a driver, or of several drivers' landmarks.
    """
    if len(driving) > 1:
        raise UserError(f"The landmarks of {len(driving)} drivers cannot be saved in one file: name one driver")
    if file.suffix not in (NPZ, SAFETENSORS):
        raise UserError(f"--data.save_landmarks={file} has to end on {SAFETENSORS} or {NPZ}: name it so")
    if file.resolve() == driving[0].resolve():
        raise UserError(f"--data.save_landmarks={file} would take the place of the driver: name another file")


def counts_of(motion: HeadMotion, reference: int | None) -> dict[str, Any]:
    """Return the totals of a driver.

    Args:
        motion: of the driver.
        reference: frame of reference of relative landmarks, None for absolute ones.
    """
    return {
        "frames": len(motion),
        "interpolated": motion.interpolated,
        "held": motion.held,
        "cuts": motion.cuts,
        "faces_at_once": motion.track.most_faces,
        "reference_frame": reference,
        "damaged_packets": motion.damaged,
    }
