"""Writes clips of the embedded world as ordinary videos, to look at and to try what takes videos on them.

The frames show head and shoulders, as a camera does, and nothing is told of faces and landmarks but what a detector
finds. The truth is written beside them on request.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np

from datamodules.clips.talking_world import SPEAKERS
from datamodules.procedural.faces.clips import FaceClip, render_clip
from datamodules.procedural.speech.speech import Speech
from networks.audio import FRAME_RATE
from visionscapes.checks import Bounds, NonNegativeInt, PositiveInt, check_value
from visionscapes.errors import UserError, tell
from visionscapes.files import atomic_write
from visionscapes.media.containers import told_if_unwritable
from visionscapes.media.video_writer import VideoWriter
from visionscapes.progress import restart_clock, track

OPTIONS = {
    "clips": PositiveInt,
    "seconds": Annotated[float, Bounds(least=0.2, most=600)],
    "size": Annotated[int, Bounds(least=32, most=2048)],
    "seed": NonNegativeInt,
    "late": Annotated[int, Bounds(least=-250, most=250)],
}


def write_talking_video(
    path: str | Path, speech: Speech, *, world: int, index: int, size: int = 256, late: int = 0, truth: bool = False
) -> FaceClip:
    """Write a person who talks to an MP4 file, 25 frames a second with sound at 16 kHz.

    Args:
        path: of the file; its folder is made if it is missing.
        speech: what is said.
        world: seed of the people.
        index: of the person.
        size: side of the square frames in pixels.
        late: frames by which the sound is later than the picture; negative is earlier. Silence fills the gap.
        truth: whether <path>.npz gets "opening" and "width" (T,) of the mouth and "landmarks" (T, 68, 2) in pixels.

    Returns:
        The frames before they were compressed, with their landmarks.

    Raises:
        UserError: the file cannot be written.
    """
    rendered = render_clip(world, index, speech.opening, speech.width, size, close=False)
    sound = np.roll(speech.audio, late * len(speech.audio) // len(speech.opening))
    gap = abs(late) * len(speech.audio) // len(speech.opening)
    if late:
        sound[slice(0, gap) if late > 0 else slice(len(sound) - gap, None)] = 0
    with VideoWriter(path, (size, size), FRAME_RATE, sound=sound) as video:
        for image in rendered.images:
            video.write(image)
    if truth:
        beside = Path(f"{path}.npz")
        with told_if_unwritable(beside), atomic_write(beside) as file:
            np.savez(file, opening=speech.opening, width=speech.width, landmarks=rendered.landmarks)
    return rendered


def main(arguments: Sequence[str] | None = None) -> int:
    """Write clips as asked and return the exit status: 2 after an error that the user can mend, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m datamodules.clips.talking_files", description=__doc__)
    parser.add_argument("folder", type=Path, help="gets talk-0.mp4, talk-1.mp4, ...")
    parser.add_argument("--clips", type=int, default=4, help="each of another person with another voice")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each")
    parser.add_argument("--size", type=int, default=256, help="side in pixels")
    parser.add_argument("--seed", type=int, default=0, help="of the world")
    parser.add_argument("--speech", choices=SPEAKERS, default="formants", help="syllables, or real words by espeak-ng")
    parser.add_argument("--late", type=int, default=0, help="frames by which the sound is late; negative is early")
    parser.add_argument("--truth", action="store_true", help="write what the mouth does and the landmarks beside them")
    asked = parser.parse_args(arguments)
    try:
        for option, annotation in OPTIONS.items():
            check_value(option, getattr(asked, option), annotation)
        digits = len(str(asked.clips - 1))
        restart_clock()
        for index in track(range(asked.clips), "videos of talking faces", asked.clips):
            path = asked.folder / f"talk-{index:0{digits}d}.mp4"
            speech = SPEAKERS[asked.speech](asked.seed, index, asked.seconds)
            write_talking_video(
                path, speech, world=asked.seed, index=index, size=asked.size, late=asked.late, truth=asked.truth
            )
            print(os.fsencode(path).decode(errors="backslashreplace"))  # a name of any bytes
    except UserError as error:
        return tell(error)
    except KeyboardInterrupt:
        print("stopped; what is written is whole", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
