"""One clip prepared: its faces found, its head cut out, its sound beside it, in one file."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from typing_extensions import override

from datamodules.clips.clip import Clip
from datamodules.clips.clip_files import ClipArrays, JpegFrames, no_sound, write_clip
from datamodules.clips.faces.face_options import FaceOptions
from datamodules.clips.faces.track_files import check_places, read_track
from datamodules.clips.faces.tracks import FaceTrack, track_faces
from datamodules.clips.prepare.cropping import Crop, crop_windows, cut, in_window, picture_size
from datamodules.clips.prepare.offsets import SyncOptions, frames_to_move, measure
from datamodules.clips.prepare.trees import ClipSource
from networks.audio import FRAME_RATE, SAMPLE_RATE, WINDOW_FRAMES, MelSpectrogram
from visionscapes.checks import Bounds, check_options
from visionscapes.media.containers import Damage
from visionscapes.media.errors import ClipError
from visionscapes.media.sound import read_sound
from visionscapes.media.video import read_frames

if TYPE_CHECKING:
    from metrics.lip_sync import SyncScore

SAMPLES = SAMPLE_RATE // FRAME_RATE  # of a frame
SILENCE = 1e-3  # -60 dB: sound that never exceeds it holds no speech
FRAMES = float(FRAME_RATE)
NO_SOUND = ("no sound", "no sound stream")


@dataclass(frozen=True)
class PrepareOptions:
    """What is made of every clip.

    Args:
        size: of the pictures, the longer side in pixels.
        crop: "moving" or "fixed" squares around the head, "none", or "voxceleb2"; see ``cropping.crop_windows``.
        margin: side of the square, in multiples of the longer side of the face.
        sound: "require", or "if-there" to take clips without sound as well.
        faces: which faces are found, and how.
        landmarks: folder with the landmarks of another detector, files that are called as the clips are; found by
            ``faces`` if None.
        sync: how picture and sound are held against each other; not at all if None.

    Raises:
        UserError: an option is out of its bounds.
    """

    size: Annotated[int, Bounds(least=16, most=4096)] = 224
    crop: Crop = "moving"
    margin: Annotated[float, Bounds(least=0.5, most=10)] = 1.6
    sound: Literal["require", "if-there"] = "require"
    faces: FaceOptions = field(default_factory=FaceOptions)
    landmarks: str | None = None
    sync: SyncOptions | None = None

    def __post_init__(self) -> None:
        check_options(PrepareOptions, vars(self))

    def settings(self) -> dict[str, Any]:
        """Return what a clip depends on, as plain values: clips of equal settings need not be made again."""
        return asdict(self) | {"sync": None if self.sync is None else self.sync.settings()}


def prepare_clip(source: ClipSource, target: Path, options: PrepareOptions) -> dict[str, Any]:
    """Prepare one clip; its frames are decoded twice, so that no more than one of them is held in memory.

    Memory grows by some 300 kB a second of the clip: its sound, its mel spectrogram and its landmarks. Compressed
    pictures wait in a temporary file beside the target, for which there has to be room.

    Args:
        source: the clip.
        target: the file to write; its folder is made.
        options: what to make.

    Returns:
        What the file tells about the clip.

    Raises:
        ClipError: the clip cannot be used; its reason says why in two words.
        OSError: no space or no permission to write.
    """
    sound = _sound(source, required=options.sound == "require")  # first: it is quick to find that there is none
    damage = Damage()
    frames = _Sized(read_frames(source.video, FRAMES, damage))
    track = _track(frames, source, options)
    count = _whole_frames(source, len(track.found), sound)
    if not track.found[:count].any():
        raise ClipError(f"{source.video} shows no face while there is sound: leave it out", "no face")
    windows = crop_windows(track.boxes[:count], track.found[:count], frames.size, options.crop, options.margin)
    size = picture_size(frames.size, options.crop, options.size)
    target.parent.mkdir(parents=True, exist_ok=True)
    pictures = JpegFrames(target.parent)
    try:
        for image, window in zip(read_frames(source.video, FRAMES), windows, strict=False):
            pictures.append(cut(image, window, size))
        if len(pictures) < count:
            raise ClipError(f"{source.video} changed while it was read: see to it that nothing writes it")
        draft = Draft(source.name, _arrays(track, windows, size, sound), pictures)
        if options.crop == "voxceleb2":
            draft.boxes[:] = [0, 0, *size]  # which is what this crop is for
        silent = max(draft.sound.max(initial=0), -draft.sound.min(initial=0)) <= SILENCE
        score = None if options.sync is None or silent else measure(draft, options.sync.weights)
        moved = 0 if options.sync is None or score is None else frames_to_move(str(source.video), score, options.sync)
        draft = draft if not moved else _moved(draft, moved, sound, source)
        shown = slice(draft.first, draft.first + len(draft))
        about = {
            "source": str(source.video),
            "bytes": source.video.stat().st_size,
            "settings": options.settings(),
            "frames": len(draft),
            "frames_without_sound": len(track.found) - count if len(sound) else 0,
            "size": list(frames.size),
            "seen": int(track.seen[shown].sum()),
            "interpolated": int((track.found & ~track.seen)[shown].sum()),
            "without_face": int((~track.found)[shown].sum()),
            "damaged_packets": damage.packets,
            "sound": "none" if not len(sound) else "silence" if silent else "there",
            "sync": None if score is None else _told(score, moved),
        }
        write_clip(target, pictures, draft.arrays, about, first=draft.first)
        return about
    finally:
        pictures.close()


class Draft(Clip):
    """A clip before it is written.

    Args:
        name: of the clip.
        arrays: all but its pictures.
        pictures: of which the clip takes as many as ``arrays`` are for.
        first: number of the picture of frame 0.
    """

    def __init__(self, name: str, arrays: ClipArrays, pictures: JpegFrames, first: int = 0):
        self.name, self.arrays, self.pictures, self.first = name, arrays, pictures, first
        self.boxes, self.landmarks, self.found = arrays.boxes, arrays.landmarks, arrays.found
        self.sound = arrays.audio
        self.mel, self.audio = torch.from_numpy(arrays.mel), torch.from_numpy(arrays.audio)

    @override
    def images(self, indices: Sequence[int]) -> NDArray[np.uint8]:
        return self.pictures.images([self.first + index for index in indices])


class _Sized:
    """Frames that pass by, and what size they had."""

    def __init__(self, frames: Iterator[NDArray[np.uint8]]):
        self.frames = frames
        self.size = (0, 0)

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        for frame in self.frames:
            self.size = frame.shape[1], frame.shape[0]
            yield frame


def _sound(source: ClipSource, required: bool) -> NDArray[np.float32]:
    """Return the sound of a video, or of the file beside it if the video has none; of no samples if there is none."""
    for path in (source.video, source.sound):
        if path is not None and (path == source.video or path.is_file()):
            try:
                return read_sound(path)
            except ClipError as error:
                if error.reason not in NO_SOUND:
                    raise
    if required:
        raise ClipError(
            f"{source.video} has no sound: leave it out, or take clips without sound with --sound=if-there", "no sound"
        )
    return no_sound()[1]


def _track(frames: _Sized, source: ClipSource, options: PrepareOptions) -> FaceTrack:
    if options.landmarks is None:
        return track_faces(frames, FRAMES, options.faces, str(source.video))
    stem = Path(options.landmarks).expanduser() / source.name
    paths = [stem.with_name(f"{stem.name}{suffix}") for suffix in (".safetensors", ".npz")]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        raise ClipError(
            f"{source.video} has no landmarks {paths[0]} or .npz: add them, or leave it out", "no landmarks"
        )
    track = read_track(path, frames=sum(1 for _ in frames))
    check_places(path, track, frames.size)
    return track


def _whole_frames(source: ClipSource, frames: int, sound: NDArray[np.float32]) -> int:
    """Return how many frames have sound, if there is sound; half a frame of it is enough for the last one."""
    count = min(frames, int(len(sound) / SAMPLES + 0.5)) if len(sound) else frames
    if count < WINDOW_FRAMES:
        seconds = f"{frames / FRAME_RATE:.2f} s of video"
        seconds += f" and {len(sound) / SAMPLE_RATE:.2f} s of sound" if len(sound) else ""
        raise ClipError(
            f"{source.video} has {seconds}, and a window takes {WINDOW_FRAMES / FRAME_RATE:.1f} s: leave it out",
            "too short",
        )
    return count


def _arrays(
    track: FaceTrack, windows: NDArray[np.float32], size: tuple[int, int], sound: NDArray[np.float32]
) -> ClipArrays:
    count = len(windows)
    found = track.found[:count]
    corners = in_window(track.boxes[:count].reshape(-1, 2, 2), windows, size).reshape(-1, 4)
    points = in_window(track.landmarks[:count], windows, size)
    mel, audio = _heard(sound, count)
    return ClipArrays(
        boxes=np.where(found[:, None], corners, 0),
        landmarks=np.where(found[:, None, None], points, 0),
        found=found,
        crops=windows,
        mel=mel,
        audio=audio,
    )


def _heard(sound: NDArray[np.float32], frames: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the mel spectrogram and the sound of as many frames; at most half a frame of silence ends it."""
    if not len(sound):
        return no_sound()
    audio = sound[: frames * SAMPLES]
    if len(audio) < frames * SAMPLES:
        audio = np.pad(audio, (0, frames * SAMPLES - len(audio)))
    return MelSpectrogram()(torch.from_numpy(audio)).numpy(), audio


def _moved(draft: Draft, moved: int, sound: NDArray[np.float32], source: ClipSource) -> Draft:
    """Return a clip whose sound comes some frames earlier; or later, by leaving out its first pictures.

    So no silence is made up, and the clip is as many frames shorter as its sound does not reach further.
    """
    first = max(0, -moved)
    later = sound[max(0, moved) * SAMPLES :]
    count = _whole_frames(source, len(draft) - first, later)
    mel, audio = _heard(later, count)
    kept = {
        name: getattr(draft.arrays, name)[first : first + count] for name in ("boxes", "landmarks", "found", "crops")
    }
    if not kept["found"].any():
        raise ClipError(f"{source.video} shows no face while there is sound: leave it out", "no face")
    return Draft(draft.name, ClipArrays(**kept, mel=mel, audio=audio), draft.pictures, first=first)


def _told(score: "SyncScore", moved: int) -> dict[str, Any]:
    """Return a score for the file, in as many digits as say something; NaN, which JSON does not know, as None."""
    numbers = {"confidence": score.confidence, "distance": score.distance}
    return {
        "offset": score.offset,
        **{name: round(value, 4) if value == value else None for name, value in numbers.items()},
        "moved": moved,
    }
