"""Seconds of compute per second of video for reading and preparing clips of talking heads, and memory against length.

    python benchmarks/clips.py [--quick] [--only speed memory] [--minutes 1 3 10] [--rounds N] [--output FOLDER]

* speed: CPU seconds per second of video at 25 frames, of one thread, for each size of the picture: decoding, encoding,
  following a face, and preparing, which decodes twice and does all of it; and, whatever the size, reading sound (AAC at
  48 kHz) and its mel spectrogram.
* memory: MiB by which a process grows while it reads or writes a video of so many minutes, each in a process of its
  own. Writing, pictures and sound in blocks have to be flat. A whole sound of a minute is 3.7 MiB, which is held twice
  for a moment, its mel spectrogram 1.5, and its landmarks 0.8, of which there are several copies.

The video is a drawn person who talks, head and shoulders, over and over. Faces are left out where the package with the
face detector is missing.
"""

import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.reports import finish, new_report, parser_of
from datamodules.clips.faces.face_options import FaceOptions
from datamodules.clips.faces.tracks import track_faces
from datamodules.clips.prepare.preparing import PrepareOptions, prepare_clip
from datamodules.clips.prepare.trees import ClipSource
from datamodules.procedural.faces.clips import render_clip
from datamodules.procedural.speech.speech import speak
from networks.audio import FRAME_RATE, SAMPLE_RATE, MelSpectrogram
from networks.faces.finder import FaceFinder
from visionscapes.errors import UserError
from visionscapes.media.sound import read_sound, read_sound_blocks, write_sound
from visionscapes.media.video import read_frames
from visionscapes.media.video_writer import VideoWriter

PICTURES_KEPT = 50  # enlarged, of 6 MB each at most
SIDE = 224  # pixels, of the drawn person; larger pictures are enlarged from it


@dataclass(frozen=True)
class Settings:
    """Sizes of the work."""

    sizes: tuple[tuple[int, int], ...] = ((224, 224), (1280, 720), (1920, 1080))
    seconds: int = 8  # of the video whose speed is measured
    drawn: float = 8.0  # seconds that are drawn, and then shown to and fro
    minutes: tuple[float, ...] = (1, 3, 10)
    memory_size: tuple[int, int] = (224, 224)
    rounds: int = 3


QUICK = Settings(((SIDE, SIDE),), seconds=1, drawn=0.4, minutes=(0.02,), rounds=1)


@dataclass(frozen=True)
class Person:
    """Pictures (T, S, S, 3) uint8 and sound (N,) of somebody who talks."""

    images: np.ndarray
    audio: np.ndarray

    def pictures(self, size: tuple[int, int], count: int) -> Iterator[np.ndarray]:
        """Yield pictures (H, W, 3) of a size (W, H), to and fro through those that were drawn."""
        rows, columns = (np.arange(side) * SIDE // side for side in size[::-1])
        for k in to_and_fro(len(self.images), count):
            yield self.images[k][rows][:, columns]

    def sound(self, seconds: float) -> np.ndarray:
        """Return sound at 16 kHz for so many seconds."""
        return np.resize(self.audio, round(seconds * SAMPLE_RATE))


def to_and_fro(length: int, count: int) -> Iterator[int]:
    """Yield 0, 1, ..., length - 1, length - 1, ..., 0, 0, 1, ... until there are ``count``."""
    return islice(cycle([*range(length), *range(length - 1, -1, -1)]), count)


def drawn(seconds: float) -> Person:
    """Return the drawn person."""
    said = speak(0, 0, seconds)
    return Person(render_clip(0, 0, said.opening, said.width, SIDE, close=False).images, said.audio)


def write(path: Path, person: Person, size: tuple[int, int], seconds: float) -> Path:
    """Write a video of the person, with sound at 48 kHz."""
    source = path.with_suffix(".wav")
    write_sound(source, np.resize(np.repeat(person.audio, 3), round(seconds * 48_000)), 48_000)
    with VideoWriter(path, size, FRAME_RATE, sound=source) as video:
        for picture in person.pictures(size, round(seconds * FRAME_RATE)):
            video.write(picture)
    source.unlink()
    return path


def cpu_seconds(work: Callable[[], Any], rounds: int) -> float:
    """Return the fewest CPU seconds of all threads that some work took."""
    spent = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    return min(spent)


@cache
def finds_faces() -> bool:
    """Return whether the networks that find faces are here."""
    try:
        FaceFinder()
    except UserError as error:
        print(f"faces are left out: {error}", file=sys.stderr)
        return False
    return True


def speed(settings: Settings) -> dict[str, Any]:
    """Return CPU seconds per second of video for each step."""
    person, mel = drawn(settings.drawn), MelSpectrogram()
    found: dict[str, Any] = {}

    def measure(name: str, work: Callable[[], Any]) -> None:
        found[name] = round(cpu_seconds(work, settings.rounds) / settings.seconds, 5)
        print(f"{name}: {found[name]} s", file=sys.stderr)

    with tempfile.TemporaryDirectory() as folder:
        for size in settings.sizes:
            path, name = Path(folder) / "a.mp4", f"{size[0]}x{size[1]}"
            kept = list(person.pictures(size, min(PICTURES_KEPT, settings.seconds * FRAME_RATE)))
            pictures = [kept[k] for k in to_and_fro(len(kept), settings.seconds * FRAME_RATE)]
            measure(f"encode {name}", lambda path=path, size=size, pictures=pictures: encode(path, size, pictures))
            measure(f"decode {name}", lambda path=path: count(read_frames(path)))
            if finds_faces():
                measure(f"faces {name}", lambda pictures=pictures: track_faces(pictures, FRAME_RATE, FaceOptions()))
                write(path, person, size, settings.seconds)
                measure(f"prepare {name}", lambda path=path: prepare(str(path)))
        measure("sound", lambda: read_sound(path))
    audio = torch.from_numpy(person.sound(settings.seconds))
    measure("mel", lambda: mel(audio))
    return found


def encode(path: Path, size: tuple[int, int], pictures: list[np.ndarray]) -> None:
    """Write pictures without sound."""
    with VideoWriter(path, size, FRAME_RATE) as video:
        for picture in pictures:
            video.write(picture)


def count(blocks: Iterator[Any]) -> int:
    """Return how many there are."""
    return sum(1 for _ in blocks)


def prepare(path: str) -> None:
    """Prepare a clip with the options that are the defaults."""
    prepare_clip(ClipSource(Path(path), "clip"), Path(path).with_suffix(".safetensors"), PrepareOptions())


NEED_FACES = ("faces", "prepare")
READERS: dict[str, Callable[[str], Any]] = {
    "pictures": lambda path: count(read_frames(path)),
    "sound in blocks": lambda path: count(read_sound_blocks(path)),
    "faces": lambda path: track_faces(read_frames(path), FRAME_RATE, FaceOptions()),
    "prepare": prepare,
    "whole sound": read_sound,
    "whole sound and mel": lambda path: MelSpectrogram()(torch.from_numpy(read_sound(path))),
}


def memory(settings: Settings) -> dict[str, dict[str, float]]:
    """Return by how many MiB a process grows, by what it does and by minutes of video."""
    names = [name for name in READERS if name not in NEED_FACES or finds_faces()]
    found: dict[str, dict[str, float]] = {"writing": {}, **{name: {} for name in names}}
    person = drawn(settings.drawn)
    with tempfile.TemporaryDirectory() as folder:
        for minutes in settings.minutes:
            path, sound = (str(Path(folder) / f"{minutes}.{kind}") for kind in ("mp4", "wav"))
            write_sound(sound, person.sound(minutes * 60))
            found["writing"][str(minutes)] = apart(writing, path, sound, settings, minutes)
            for name in names:
                found[name][str(minutes)] = apart(reading, name, path)
            print({name: by_length[str(minutes)] for name, by_length in found.items()}, file=sys.stderr)
    return found


def apart(work: Callable[..., float], *arguments: Any) -> float:
    """Return what comes of some work in a fresh process."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", __name__])
    with context.Pool(1) as pool:
        return pool.apply(work, arguments)


def writing(path: str, sound: str, settings: Settings, minutes: float) -> float:
    """Return by how many MiB this process grows while it writes a video; what drawing the person takes is in it."""
    torch.set_num_threads(1)
    before = resident()
    person = drawn(settings.drawn)
    with VideoWriter(path, settings.memory_size, FRAME_RATE, sound=sound) as video:
        for picture in person.pictures(settings.memory_size, round(minutes * 60 * FRAME_RATE)):
            video.write(picture)
    return growth(before)


def reading(name: str, path: str) -> float:
    """Return by how many MiB this process grows while it reads a video."""
    torch.set_num_threads(1)
    before = resident()
    READERS[name](path)
    return growth(before)


def resident() -> int:
    """Return the bytes that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def growth(before: int) -> float:
    """Return by how many MiB the largest resident size lies above ``before``."""
    return round((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before) / 2**20, 1)


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the benchmark; returns what it prints."""
    parts = {"speed": speed, "memory": memory}
    parser = parser_of(__doc__, list(parts), devices=False)
    parser.add_argument("--rounds", type=int, help="of which the fastest counts")
    parser.add_argument("--minutes", type=float, nargs="+", help="lengths of the videos whose memory is measured")
    options = parser.parse_args(arguments)
    settings = QUICK if options.quick else Settings()
    settings = replace(settings, rounds=options.rounds or settings.rounds)
    settings = replace(settings, minutes=tuple(options.minutes or settings.minutes))
    torch.set_num_threads(1)
    report = new_report(settings)
    for name in options.only:
        report[name] = parts[name](settings)
    report["largest_resident_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    finish(report, "clips", options)
    return report


if __name__ == "__main__":
    main()
