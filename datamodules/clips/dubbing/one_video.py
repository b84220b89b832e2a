"""One video to dub: a pass for the faces, and one for the frames in chunks, so that few frames are in memory."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray

from datamodules.clips.clip import crop, in_crops
from datamodules.clips.dubbing.driving_sound import DrivingSound
from datamodules.clips.dubbing.faces_to_dub import FacesToDub, faces_to_dub
from datamodules.clips.dubbing.schedule import Length, Schedule, scheduled
from datamodules.clips.faces.face_options import FaceOptions
from datamodules.clips.faces.tracks import track_faces
from datamodules.clips.video_chunks import Batch, PassingTimes, added, in_order
from visionscapes.checks import Bounds, ImageSize, NonNegativeFloat, check_options
from visionscapes.media.containers import Damage, frames_missing
from visionscapes.media.errors import ClipError
from visionscapes.media.video import VideoInfo, probe, timed_pictures
from visionscapes.processes import is_first
from visionscapes.progress import track

LONGEST_BRIDGE = 0.2  # seconds without a face that are dubbed all the same: a mouth is not put on a hand before it
NO_SOUND = ("no sound", "no sound stream")


@dataclass(frozen=True)
class HowToDub:
    """What is made of a video before a network dubs it.

    Attributes:
        face_size: S in pixels.
        faces: which face, and how it is found; gaps of more than 0.2 s are not bridged in any case.
        length: what happens where the sound is longer or shorter than a video, see `scheduled`.
        most_turned: degrees that a head may be turned to a side.
        fade: seconds in which a mouth comes and goes.

    Raises:
        UserError: an option is out of its bounds.
    """

    face_size: ImageSize
    faces: FaceOptions = FaceOptions()
    length: Length = "trim"
    most_turned: Annotated[float, Bounds(above=0, most=90)] = 50.0
    fade: NonNegativeFloat = 0.16

    def __post_init__(self) -> None:
        check_options(HowToDub, vars(self))


class VideoToDub:
    """A video, and the sound that it gets.

    Args:
        path: of the video.
        audio: file with the sound; None for the video's own.
        name: of what is made of it.
        how: it is dubbed.
    """

    def __init__(self, path: Path, audio: Path | None, *, name: str, how: HowToDub):
        self.path, self.audio, self.name, self.how = path, audio, name, how

    @cached_property
    def info(self) -> VideoInfo:
        """What the video is.

        Raises:
            ClipError: it cannot be read.
        """
        return probe(self.path)

    @cached_property
    def most_frames(self) -> int:
        """How many frames there are at most; some of a damaged video cannot be decoded.

        Raises:
            ClipError: the video or the sound cannot be read.
        """
        longest = self.info.seconds if self.how.length == "trim" else max(self.info.seconds, self.sound().seconds)
        return int(np.ceil(self.info.frames * longest / self.info.seconds)) + 1

    def sound(self) -> DrivingSound:
        """Return the sound, at its beginning.

        Raises:
            ClipError: it cannot be read, or there is none.
        """
        try:
            return DrivingSound(self.audio or self.path)
        except ClipError as error:
            if self.audio is None and error.reason in NO_SOUND:
                message = f"{self.path} has no sound: name the file with the sound to dub it with, --data.audio"
                raise ClipError(message, error.reason) from error
            raise

    def chunks(self, size: int, most: int) -> Iterator[Batch]:
        """Yield the frames, see `VideosToDub`.

        Args:
            size: frames of a chunk, at most, if that makes no more than ``most`` chunks.
            most: chunks.

        Raises:
            ClipError: the video cannot be dubbed.
        """
        seconds: dict[str, float] = {"faces": 0.0, "decoding": 0.0, "audio": 0.0}
        with added(seconds, "audio"):
            sound = self.sound()
        with added(seconds, "faces"):
            faces, schedule, damage = self._first_pass(sound)
        if damage.packets:
            print(f"warning: {frames_missing(damage.packets, str(self.path))}", flush=True)
        size = max(size, -(-len(schedule) // most))
        pictures = in_order(self.path, schedule.sources)
        for first in range(0, len(schedule), size):
            index = np.arange(first, min(first + size, len(schedule)))
            with added(seconds, "decoding"):
                frames = [next(pictures) for _ in index]
            with added(seconds, "faces"):
                batch = self._about_faces(frames, faces, schedule.sources[index])
            with added(seconds, "audio"):
                batch["frame_mel"] = sound.frame_mels(schedule.times[index])
            last = int(index[-1]) == len(schedule) - 1
            yield batch | {
                "task": "predict",
                "video": str(self.path),
                "audio": str(sound.path),
                "name": self.name,
                "frames": frames,
                "index": torch.from_numpy(index),
                "time": torch.from_numpy(schedule.times[index]),
                "total": len(schedule),
                "rate": schedule.rate,
                "steady": schedule.steady,
                "pixel_aspect": self.info.pixel_aspect,
                "seconds": dict(seconds),
                "last": last,
                "counts": counts_of(faces, schedule, sound, damage) if last else {},
            }

    def _first_pass(self, sound: DrivingSound) -> tuple[FacesToDub, Schedule, Damage]:
        """Return the faces of a video, when its pictures are shown, and what of it was damaged."""
        times, damage = PassingTimes(), Damage()
        pictures = times.of(timed_pictures(self.path, damage))
        shown = track(pictures, f"faces looked for in {self.path.name}", self.info.frames, shown=is_first())
        rate = self.info.frames / self.info.seconds
        options = replace(self.how.faces, longest_gap=min(self.how.faces.longest_gap, LONGEST_BRIDGE))
        found = track_faces((one.picture for one in shown), rate, options, str(self.path))
        window = round(options.smoothing * rate)
        faces = faces_to_dub(found, self.how.most_turned, round(self.how.fade * rate), window=window)
        if not faces.dubbed.any():
            raise ClipError(
                f"{self.path} shows no face that is turned by less than {self.how.most_turned:g} degrees: leave it out,"
                " or raise most_turned",
                "no face",
            )
        return faces, scheduled(np.array(times.starts), times.end, sound.seconds, self.how.length), damage

    def _about_faces(self, frames: list[NDArray[np.uint8]], faces: FacesToDub, sources: NDArray[np.int64]) -> Batch:
        """Return what of a chunk is about faces."""
        found, size = faces.dubbed[sources], self.how.face_size
        boxes, rolls = torch.from_numpy(faces.boxes[sources]), torch.from_numpy(faces.rolls[sources])
        crops = torch.zeros(len(frames), 3, size, size, dtype=torch.uint8)
        for at in np.flatnonzero(found).tolist():
            crops[at] = crop(torch.from_numpy(frames[at]).permute(2, 0, 1), boxes[at], size, rolls[at].item())
        return {
            "found": torch.from_numpy(found),
            "fade": torch.from_numpy(faces.fade[sources]),
            "faces": crops,
            "boxes": boxes,
            "roll": rolls,
            "landmarks": in_crops(torch.from_numpy(faces.landmarks[sources]), boxes, size, rolls),
        }


def counts_of(faces: FacesToDub, schedule: Schedule, sound: DrivingSound, damage: Damage) -> dict[str, Any]:
    """Return the totals of a dubbed video; faces at once, trimmed frames and damaged packets are those of the source.

    Args:
        faces: of the source.
        schedule: of the dubbed video.
        sound: of it.
        damage: of the source.
    """
    dubbed, turned = faces.dubbed[schedule.sources], faces.turned_away[schedule.sources]
    return {
        "frames": len(schedule),
        "dubbed": int(dubbed.sum()),
        "without_face": int((~dubbed & ~turned).sum()),
        "turned_away": int(turned.sum()),
        "cuts": len(np.unique(faces.shots[schedule.sources])) - 1,
        "faces_at_once": faces.at_once,
        "held": schedule.held,
        "repeated": schedule.repeated,
        "trimmed": schedule.trimmed,
        "sound_left_out_seconds": round(schedule.sound_left_out, 3),
        "silence_after_sound_seconds": round(schedule.silence, 3),
        "silent_share": round(float(sound.is_silent(schedule.times, 1 / schedule.rate).mean()), 4),
        "damaged_packets": damage.packets,
    }
