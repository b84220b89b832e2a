"""Writes frames of prepared clips as pictures, for a face parser to be run on them.

A parser that writes <clip>/<frame>.png for <clip>/<frame>.png gives a folder that `HeadClips` takes as ``labels``.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from PIL import Image

from datamodules.clips.heads.head_clips import HeadClips
from datamodules.clips.heads.prepared_heads import PreparedHead, strided
from visionscapes.checks import Bounds, check_value
from visionscapes.errors import UserError, tell
from visionscapes.files import atomic_write
from visionscapes.media.containers import told_if_unwritable
from visionscapes.media.errors import ClipError
from visionscapes.progress import restart_clock, track

FRAMES = 10  # of a clip that train
TWO_OR_MORE = Annotated[int, Bounds(least=2)]  # a shot and a target


def write_pictures(head: PreparedHead, folder: Path, frames: Sequence[int]) -> int:
    """Write frames of a clip that are not there yet to <folder>/<clip>/<frame>.png, as they are stored.

    Args:
        head: of the clip.
        folder: that gets the pictures.
        frames: which.

    Returns:
        How many were written.

    Raises:
        UserError: a file cannot be written.
    """
    paths = {frame: folder / head.name / f"{frame:05d}.png" for frame in frames}
    missing = [frame for frame, path in paths.items() if not path.is_file()]
    for frame in missing:
        (image,) = head.clip.images([frame])
        with told_if_unwritable(paths[frame]), atomic_write(paths[frame]) as file:
            Image.fromarray(image).save(file, "PNG")
    return len(missing)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write pictures as asked and return the exit status: 2 after an error that the user can mend, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m datamodules.clips.heads.pictures", description=__doc__)
    parser.add_argument("root", help="folder of prepared clips, or of videos")
    parser.add_argument("--out", type=Path, required=True, help="gets <clip>/<frame>.png; what is there is kept")
    parser.add_argument("--frames", type=int, default=FRAMES, help="of a clip, those that train as data.frames says")
    parser.add_argument("--all", action="store_true", help="every frame with a face, as tests need")
    asked = parser.parse_args(arguments)
    try:
        check_value("frames", asked.frames, TWO_OR_MORE)
        data = HeadClips(asked.root, frames=asked.frames, shots=1)  # owns the folder that videos are prepared in
        heads = data.heads("all")
        written, too_few = 0, 0
        restart_clock()
        for position in track(range(len(heads)), "clips written as pictures", len(heads)):
            try:
                head = heads[position]
                there = np.flatnonzero(head.found)
                frames = there.tolist() if asked.all else strided(there, asked.frames)
            except ClipError as error:
                too_few += 1
                print(f"left out: {error}", file=sys.stderr)
                continue
            written += write_pictures(head, asked.out.expanduser(), frames)
        if too_few == len(heads):
            raise UserError(f"No picture can be made of any of {len(heads)} clips: the lines above say why for each")
        print(f"{written} pictures of {len(heads) - too_few} clips written to {asked.out}; {too_few} clips left out")
    except UserError as error:
        return tell(error)
    except KeyboardInterrupt:
        print("stopped; what is written is whole", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
