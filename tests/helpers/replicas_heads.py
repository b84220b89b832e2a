"""Tiny replicas of prepared clips of heads: drawn people in many poses, with landmarks and label maps."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from datamodules.clips.clip_files import ClipArrays, JpegFrames, no_sound, write_clip
from datamodules.procedural.faces.heads import HeadFrames, render_head
from networks.faces.landmarks import face_box

SIDE = 48  # pixels


def make_head_clip(
    path: Path,
    person: int = 0,
    frames: int = 12,
    *,
    without: tuple[int, ...] = (),
    about: dict[str, Any] | None = None,
    **changed: Any,
) -> HeadFrames:
    """Write a prepared clip without sound of a drawn person.

    Args:
        path: of the file.
        person: number of the person.
        frames: T.
        without: frames without a face.
        about: what the file tells, beside its source.
        changed: arrays of the clip in place of its own.
    """
    head = render_head(3, person, range(frames), SIDE)
    mel, audio = no_sound()
    arrays = ClipArrays(
        boxes=face_box(head.landmarks),
        landmarks=head.landmarks,
        found=~np.isin(np.arange(frames), without),
        crops=np.tile(np.array([0, 0, SIDE, SIDE], np.float32), (frames, 1)),
        mel=mel,
        audio=audio,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures = JpegFrames(path.parent)
    for image in head.images:
        pictures.append(Image.fromarray(image))
    write_clip(path, pictures, arrays._replace(**changed), {"source": f"{path.stem}.mp4"} | (about or {}))
    pictures.close()
    return head


def write_label_maps(folder: Path, head: HeadFrames, numbers: tuple[int, ...]) -> None:
    """Write the label maps of some frames of a clip as a face parser writes them."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        Image.fromarray(head.labels[number]).save(folder / f"{number:05d}.png")
