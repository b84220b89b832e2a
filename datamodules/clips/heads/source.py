"""Pictures of one person, from files as people have them: the head is found, and cut out as in training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from datamodules.clips.faces.face_options import LARGEST, FaceOptions
from datamodules.clips.faces.following import Follower
from datamodules.clips.heads.cautions import CHOOSE, about_crops, about_shots
from datamodules.clips.heads.cropping import head_picture, head_windows, in_heads
from datamodules.clips.heads.motion import motion_of_video
from datamodules.clips.prepare.trees import clean
from datamodules.clips.video_chunks import in_order
from datamodules.clips.video_files import VIDEO_SUFFIXES
from datamodules.common.image_files import UnreadableImageError, read_image
from datamodules.common.image_kinds import PHONE_SUFFIXES, picture_suffixes
from datamodules.common.inputs import find_inputs
from networks.reenacted import shot_numbers
from visionscapes.errors import UserError
from visionscapes.media.errors import ClipError

NAME = "The source"
EXPECTED = """\
pictures of one person: a file, a folder, a pattern in quotes such as "me/*.jpg", or several of them; or a video"""
REMEDIES = ("Name another file, folder or pattern as --data.source",)
UNREADABLE = "Replace it, or leave it out"
Float = NDArray[np.float32]


@dataclass(frozen=True)
class FoundShots:
    """K pictures of a person, whose heads fill them as they do in training.

    Attributes:
        name: of the source.
        images: (K, 3, S, S) uint8 RGB.
        landmarks: (K, 68, 2) float32 xy in pixels of the pictures.
        notes: what was done, a line each.
        warnings: what the user should know before a run, a line each.
    """

    name: str
    images: Tensor
    landmarks: Float
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)


def shots_of(
    source: str | Sequence[str],
    size: int,
    *,
    most: int,
    margin: float,
    raised: float = 0.0,
    faces: FaceOptions = FaceOptions(),
) -> FoundShots:
    """Return the shots of a person.

    Pictures without a face, and those that cannot be read, are left out and told as long as others remain. Of more than
    ``most`` pictures, and of the frames of a video that show a face, those are taken that `shot_numbers` spreads over
    them. Whether all show one person is not checked: there is no network here that tells real people apart.

    Args:
        source: a photograph of any kind that Pillow reads, turned as its EXIF data say; a folder; a pattern; a video;
            or several photographs.
        size: S in pixels.
        most: shots.
        margin: side of a crop in multiples of the face's longer side.
        raised: how far its middle lies above that of the face, in the same unit.
        faces: which face, and how it is found.

    Raises:
        DatasetNotFoundError: there is no such file.
        ClipError: the only picture, or the video, cannot be read or shows no face.
        UserError: none of several pictures can be used, or the networks that find faces are missing.
    """
    given = [source] if isinstance(source, str) else list(source) or [""]
    files = list(dict.fromkeys(path for place in given for path in files_at(place)))
    name = clean(Path(given[0]).expanduser().absolute().name) if Path(given[0]).expanduser().is_dir() else ""
    name = name or clean(files[0].stem)
    if len(files) == 1 and not is_picture(files[0]):
        return _shots_of_video(files[0], name, size, most=most, margin=margin, raised=raised, faces=faces)
    return _shots_of_pictures(files, name, size, most=most, margin=margin, raised=raised, faces=faces)


def shots_of_images(
    images: Sequence[NDArray[np.uint8]],
    size: int,
    *,
    most: int,
    margin: float,
    raised: float = 0.0,
    faces: FaceOptions = FaceOptions(),
) -> FoundShots:
    """Return the shots of a person out of pictures that are in memory, see `shots_of`.

    Args:
        images: (H, W, 3) RGB each, of any size; errors call them "picture 1" and so on.
        size: S in pixels.
        most: shots.
        margin: side of a crop in multiples of the face's longer side.
        raised: how far its middle lies above that of the face, in the same unit.
        faces: which face, and how it is found.

    Raises:
        ClipError: the only picture shows no face.
        UserError: none of several pictures can be used, or the networks that find faces are missing.
    """
    known = {Path(f"picture {number}"): image for number, image in enumerate(images, 1)}
    return _shots_of_pictures(
        list(known), "source", size, most=most, margin=margin, raised=raised, faces=faces, known=known
    )


def files_at(place: str) -> list[Path]:
    """Return the pictures, or the one video, that a path is, holds or matches.

    Raises:
        DatasetNotFoundError: there is none.
        UserError: a folder holds several videos and no picture.
    """
    suffixes = (*picture_suffixes(), *PHONE_SUFFIXES, *VIDEO_SUFFIXES)
    files = find_inputs(place, suffixes, name=NAME, expected=EXPECTED, remedies=REMEDIES).paths
    if not Path(place).expanduser().is_dir():
        return files
    pictures = [file for file in files if is_picture(file)]
    if not pictures and len(files) > 1:
        raise UserError(f"{place} holds {len(files)} videos and no picture: name one of them as --data.source")
    return pictures or files


def is_picture(path: Path) -> bool:
    """Return whether a file is a picture, by its suffix or, if that says nothing, by its content."""
    suffix = path.suffix.lower()
    # Of pictures of phones a decoder of videos may show one tile.
    if suffix in VIDEO_SUFFIXES or suffix in (*picture_suffixes(), *PHONE_SUFFIXES):
        return suffix not in VIDEO_SUFFIXES
    try:
        with Image.open(path):
            return True
    except UnidentifiedImageError:
        return False
    except Exception:  # it begins as a picture, or may not be read: who reads it as one is told what is wrong
        return True


@dataclass(frozen=True)
class _FoundHead:
    """A head cut out of a picture, where it was, and among how many."""

    image: Tensor
    landmarks: Float
    window: Float
    size: tuple[int, int]
    faces: int


def _shots_of_pictures(
    files: Sequence[Path],
    name: str,
    size: int,
    *,
    most: int,
    margin: float,
    raised: float,
    faces: FaceOptions,
    known: Mapping[Path, NDArray[np.uint8]] | None = None,
) -> FoundShots:
    chosen = [files[number] for number in shot_numbers(len(files), min(most, len(files)))]
    heads: dict[Path, _FoundHead] = {}
    notes, warnings = [], []
    wrong: list[UserError] = []
    for path in chosen:
        try:
            picture = _read(path) if known is None else known[path]
            heads[path] = _head_in(path, picture, size=size, margin=margin, raised=raised, faces=faces)
        except (UnreadableImageError, ClipError) as error:
            wrong.append(error)
    if not heads:
        if len(chosen) == 1:
            raise wrong[0]
        raise UserError(f"None of {len(chosen)} pictures of the source can be used. The first: {wrong[0]}")
    count = len(heads)
    notes.append(f"{count} {'picture' if count == 1 else 'pictures'} of the source")
    if len(chosen) < len(files):
        notes[0] += f", of {len(chosen)} that were looked at, spread over {len(files)}"
    for path, head in heads.items():
        number, taken = (1, "the largest") if faces.number is None else (faces.number + 1, "counted from the left")
        chosen_face = f"face {number} of {head.faces}, {taken}" if head.faces > 1 else "a face"
        notes.append(f"{path.name}: {chosen_face}")
        if head.faces > 1:
            warnings.append(f"{path.name} shows {head.faces} faces: {chosen_face}, is taken; {CHOOSE}")
    warnings += [f"left out: {error}" for error in wrong]
    if count > 1:
        notes.append("that all pictures show one person is not checked")
    all_heads = list(heads.values())
    return _shots(name, all_heads, size, notes, warnings)


def _read(path: Path) -> NDArray[np.uint8]:
    """Return a picture.

    Raises:
        UnreadableImageError: it cannot be read.
    """
    return np.array(read_image(path, upright=True, remedy=UNREADABLE), np.uint8)


def _head_in(
    path: Path, picture: NDArray[np.uint8], *, size: int, margin: float, raised: float, faces: FaceOptions
) -> _FoundHead:
    """Return the head in a picture; the only one, whatever the number of the face that is asked for.

    Raises:
        ClipError: there is none.
    """
    follower = Follower(faces, rate=1.0)
    face = follower.next(picture)
    if face is None and follower.most_faces == 1:
        face = Follower(replace(faces, choose=LARGEST), rate=1.0).next(picture)
    if face is None and follower.most_faces:
        raise ClipError(
            f"{path} shows {follower.most_faces} faces, and none of the number {faces.number}: the first from the left"
            " is --data.faces.choose=0",
            "no face",
        )
    if face is None:
        raise ClipError(
            f"{path} shows no face: name a picture in which a face is seen from the front, at least a sixteenth of the"
            " picture's size",
            "no face",
        )
    window = head_windows(face.box[None], margin, raised)
    return _FoundHead(
        image=head_picture(picture, window[0], size),
        landmarks=in_heads(face.landmarks[None], window, size)[0],
        window=window[0],
        size=(picture.shape[1], picture.shape[0]),
        faces=follower.most_faces,
    )


def _shots_of_video(
    path: Path, name: str, size: int, *, most: int, margin: float, raised: float, faces: FaceOptions
) -> FoundShots:
    motion = motion_of_video(path, faces)
    windows = head_windows(motion.track.boxes, margin, raised)
    seen = np.flatnonzero(motion.track.seen)
    chosen = seen[shot_numbers(len(seen), min(most, len(seen)))]
    landmarks = in_heads(motion.track.landmarks, windows, size)
    assert motion.size is not None
    shown = round(motion.size[0] * motion.pixel_aspect), motion.size[1]
    heads = [
        _FoundHead(
            image=head_picture(frame, windows[number], size, motion.pixel_aspect),
            landmarks=landmarks[number],
            window=windows[number],
            size=shown,
            faces=motion.track.most_faces,
        )
        for number, frame in zip(chosen.tolist(), in_order(path, chosen), strict=True)
    ]
    notes = [f"{len(heads)} {'frame' if len(heads) == 1 else 'frames'} of {path.name} are the source: {motion}"]
    several = motion.track.most_faces
    warnings = [f"{path.name} shows up to {several} faces at once: one is followed; {CHOOSE}"] if several > 1 else []
    if motion.cuts:
        warnings.append(
            f"{path.name} has {motion.cuts} {'cut' if motion.cuts == 1 else 'cuts'}: see to it that all of"
            " its shots show one person"
        )
    return _shots(name, heads, size, notes, warnings)


def _shots(
    name: str, heads: Sequence[_FoundHead], size: int, notes: Sequence[str], warnings: Sequence[str]
) -> FoundShots:
    landmarks, windows = (np.stack([getattr(head, key) for head in heads]) for key in ("landmarks", "window"))
    said = [
        *warnings,
        *about_shots(landmarks, windows[:, 2] - windows[:, 0], size),
        *about_crops(windows, [head.size for head in heads]),
    ]
    images = torch.stack([head.image for head in heads])
    return FoundShots(name, images, landmarks, notes=tuple(notes), warnings=tuple(said))
