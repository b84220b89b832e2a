"""Pictures of runs for the documents: small copies, since what is committed is part of every clone for good."""

import io
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageSequence

from visionscapes.errors import UserError, in_words
from visionscapes.files import write_bytes

LARGEST = 300_000  # bytes
SMALLER = 0.85  # times the sides, as often as it takes
FILM_COLOURS = 32
KINDS = (".png", ".gif")


def small_copy(source: Path, target: Path) -> None:
    """Write a copy of a picture or a small film that takes at most 300 kB.

    What fits is copied as it is. A picture that does not gets 256 colours, a film 32, which takes a third, and then a
    lower resolution.

    Args:
        source: .png or .gif.
        target: of the same kind.

    Raises:
        UserError: the files are of other kinds, or the source cannot be read.
    """
    if source.suffix != target.suffix or source.suffix not in KINDS:
        raise UserError(f"{source} to {target}: give two names that end in .png, or two that end in .gif")
    try:
        content = source.read_bytes()
        if len(content) > LARGEST:
            versions = _films(source) if source.suffix == ".gif" else _pictures(source)
            content = next(version for version in versions if len(version) <= LARGEST)
    except OSError as error:
        raise UserError(
            f"{source} cannot be read ({in_words(error)}): give a picture that a run has written"
        ) from error
    write_bytes(target, content)


def _pictures(source: Path) -> Iterator[bytes]:
    """Yield a picture in 256 colours, smaller every time."""
    with Image.open(source) as image:
        whole = image.convert("RGB")
    for size in _sizes(whole.size):
        picture = whole.resize(size, Image.Resampling.LANCZOS)
        enough = max(1, size[0] * size[1] // 20)  # pixels that still change colour when k-means stops
        buffer = io.BytesIO()
        picture.quantize(256, kmeans=enough).save(buffer, "PNG", optimize=True)
        yield buffer.getvalue()


def _films(source: Path) -> Iterator[bytes]:
    """Yield a film in the 32 colours of its first picture, smaller every time."""
    with Image.open(source) as film:
        frames, times = [], []
        for frame in ImageSequence.Iterator(film):
            frames.append(frame.convert("RGB"))
            times.append(frame.info["duration"])
        loop = film.info.get("loop", 0)
    palette = frames[0].quantize(FILM_COLOURS, method=Image.Quantize.MEDIANCUT)
    for size in _sizes(frames[0].size):
        shown = [
            frame.resize(size, Image.Resampling.LANCZOS).quantize(palette=palette, dither=Image.Dither.NONE)
            for frame in frames
        ]
        buffer = io.BytesIO()
        shown[0].save(buffer, "GIF", save_all=True, append_images=shown[1:], duration=times, loop=loop, optimize=False)
        yield buffer.getvalue()


def _sizes(size: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Yield the size, then smaller ones; a picture of one pixel takes next to nothing."""
    factor = 1.0
    while True:
        yield max(1, round(size[0] * factor)), max(1, round(size[1] * factor))
        factor *= SMALLER
