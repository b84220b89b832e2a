"""Files of the embedded world to be reenacted, as a user has them: pictures of one person, a video of another."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from datamodules.clips.talking_files import write_talking_video
from datamodules.procedural.faces.heads import render_head
from datamodules.procedural.speech.speech import speak
from visionscapes.files import atomic_write

SIDE = 256  # pixels
SECONDS = 2.0  # of the video


class DrawnFiles(NamedTuple):
    """What was written.

    Attributes:
        source: folder with the pictures.
        driver: the video.
    """

    source: Path
    driver: Path


def write_drawn(folder: Path, world: int, person: int, *, frames: Sequence[int], most_turned: float) -> DrawnFiles:
    """Write pictures of a person, and a video of the next person of the world, who talks.

    Args:
        folder: that gets person-<number>/<frame>.png and person-<number + 1>.mp4.
        world: seed of the people.
        person: number of the person.
        frames: of the person, see `render_head`.
        most_turned: degrees of yaw, at most, to either side.

    Raises:
        UserError: a file cannot be written.
    """
    source, driver = folder / f"person-{person}", folder / f"person-{person + 1}.mp4"
    source.mkdir(parents=True)
    digits = len(str(max(frames)))
    for frame, image in zip(frames, render_head(world, person, frames, SIDE, most_turned).images, strict=True):
        with atomic_write(source / f"{frame:0{digits}d}.png") as file:
            Image.fromarray(image).save(file, "PNG")
    write_talking_video(driver, speak(world, person + 1, SECONDS), world=world, index=person + 1, size=SIDE)
    return DrawnFiles(source, driver)
