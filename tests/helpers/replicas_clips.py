"""Tiny replicas of VoxCeleb2 and LRW: drawn faces that talk, in videos as they lie in these data sets."""

import shutil
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from datamodules.procedural.faces.clips import render_clip
from datamodules.procedural.speech.speech import speak
from networks.audio import FRAME_RATE, SAMPLE_RATE

SIDE = 112  # pixels: quick to draw, and large enough for the detector
LONGER = 0.06  # seconds by which the sound of VoxCeleb2's videos is longer than their pictures


@cache
def talking(person: int, frames: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return the frames (T, S, S, 3) of a drawn person who talks, and the sound, a second longer."""
    speech = speak(0, person, frames / FRAME_RATE + 1)
    opening, width = speech.opening[:frames], speech.width[:frames]
    return render_clip(0, person, opening, width, SIDE, close=False).images, speech.audio


def write_talking(
    path: Path, person: int = 0, frames: int = 12, *, sound: float | None = 0.0, late: int = 0, loud: float = 1.0
) -> Path:
    """Write a video of a person who talks.

    Args:
        path: of the video.
        person: number of the person.
        frames: at 25 a second.
        sound: seconds by which it is longer than the pictures; None for none at all.
        late: frames by which it is late.
        loud: factor of the sound; with 0 it is silence.
    """
    images, audio = talking(person, frames)
    moved = np.pad(audio, (max(0, late) * SAMPLE_RATE // FRAME_RATE, 0))[max(0, -late) * SAMPLE_RATE // FRAME_RATE :]
    heard = None if sound is None else loud * moved[: round((frames / FRAME_RATE + sound) * SAMPLE_RATE)]
    return write_media(path, images, heard)


def write_media(path: Path, images: NDArray[np.uint8] | None, audio: NDArray[np.floating] | None) -> Path:
    """Write pictures (T, H, W, 3) at 25 a second and sound (N,) at 16 kHz, each as long as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path.absolute()), "w") as container:
        picture_stream: Any = None
        sound_stream: Any = None
        if images is not None:
            picture_stream = container.add_stream("libx264", rate=FRAME_RATE, options={"crf": "12"})
            picture_stream.height, picture_stream.width = images.shape[1:3]
            picture_stream.pix_fmt = "yuv420p"
        if audio is not None:
            sound_stream = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        for index, image in enumerate([] if images is None else images):
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, FRAME_RATE)
            container.mux(picture_stream.encode(frame))
        if audio is not None:
            samples = av.AudioFrame.from_ndarray(np.asarray(audio, np.float32)[None], "fltp", "mono")
            samples.rate, samples.pts, samples.time_base = SAMPLE_RATE, 0, Fraction(1, SAMPLE_RATE)
            container.mux(sound_stream.encode(samples))
        for stream in (picture_stream, sound_stream):
            if stream is not None:
                container.mux(stream.encode(None))
    return path


def make_voxceleb2(root: Path) -> Path:
    """VoxCeleb2 with three people and five clips.

    A video's id begins with "-", its numbers with 00039, and one holds "_"; sound is longer than the pictures; one
    video has no sound but a file beside it.
    """
    mp4 = root / "dev" / "mp4" / "id00012" / "-ab_cdefghi"
    write_talking(mp4 / "00039.mp4", 1, sound=LONGER)
    shutil.copy(mp4 / "00039.mp4", mp4 / "00040.mp4")
    write_talking(root / "dev" / "mp4" / "id00012" / "_xy-zabcdef" / "00041.mp4", 1, frames=9, sound=LONGER)
    write_talking(root / "dev" / "mp4" / "id00015" / "0fijmz4vTVU" / "00001.mp4", 2, sound=None)
    write_media(root / "dev" / "aac" / "id00015" / "0fijmz4vTVU" / "00001.m4a", None, talking(2, 12)[1][:9000])
    write_talking(root / "test" / "mp4" / "id00017" / "01dfn2spqyE" / "00001.mp4", 3, sound=LONGER)
    return root


def make_lrw(root: Path) -> Path:
    """LRW with two words: a clip of 28 frames and one without its text among clips of 29."""
    for person, word in enumerate(("ABOUT", "YEARS")):
        for part in ("train", "val", "test"):
            clip = root / "lipread_mp4" / word / part / f"{word}_00001.mp4"
            short = (word, part) == ("YEARS", "val")
            write_talking(clip, person, frames=28 if short else 29, sound=LONGER)
            if (word, part) != ("ABOUT", "train"):
                lines = ["Disk: 1", "Channel: 10", "Program start: 2014.03.01", "Clip start: 1.0 seconds"]
                clip.with_suffix(".txt").write_text("\n".join([*lines, "Duration: 0.28 seconds"]) + "\n")
    return root
