"""Image files as they come: finding them, reading every mode as RGB, and saying which ones are broken."""

import os
from collections.abc import Sequence
from itertools import chain
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from datamodules.common.errors import DatasetNotFoundError
from visionscapes.errors import UserError
from visionscapes.processes import gather_objects, rank_and_world_size

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".pgm", ".ppm", ".tif", ".tiff", ".webp")
ANY_TREE = "<root>/photo.jpg\n<root>/any/sub/folder/photo.png"
NAME_ANOTHER = "Give the folder that holds the images as --data.init_args.root"
COPY_SOME = f"Copy images into this one (files that end in {', '.join(IMAGE_SUFFIXES)})"
REPLACE_OR_SKIP = (
    "Replace or remove the file, or leave out all that cannot be read with --data.init_args.skip_unreadable=true"
    " (offered for plain images, not for annotated ones)"
)


class UnreadableImageError(UserError):
    """An image file that is missing, empty, broken, or of a kind whose pixel range is unknown."""


def find_images(
    root: str | Path,
    suffixes: Sequence[str] = IMAGE_SUFFIXES,
    *,
    name: str = "The image folder",
    expected: str = ANY_TREE,
    remedies: Sequence[str] = (NAME_ANOTHER, COPY_SOME),
) -> list[Path]:
    """List the image files below a folder, sorted by path.

    Sub-folders and links are followed, each folder once. Names that start with "." (``.DS_Store``, ``._x.jpg``) and
    files with other suffixes are ignored; upper and lower case of the suffix are the same.

    Args:
        root: a folder, as a path that may start with ``~``.
        suffixes: in lower case with their dot.
        name: what is looked for, as the error names it.
        expected: the tree that should be there, as the error shows it.
        remedies: the ways out that the error names.

    Raises:
        DatasetNotFoundError: the folder is missing, is a file, cannot be listed, or holds no image.
    """
    root = Path(root).expanduser()
    ways_out = list(remedies)

    def not_found(missing: str) -> DatasetNotFoundError:
        return DatasetNotFoundError(name=name, looked_in=root, expected=expected, remedies=ways_out, missing=missing)

    def on_error(error: OSError) -> None:
        ways_out.append(f"Make the folder {error.filename} readable, or move it away")
        raise not_found(f"permission to list {error.filename} ({error.strerror})") from error

    if not root.is_dir():
        raise not_found("the folder itself" if not root.exists() else "a folder: this is a file")
    images, others, seen = [], 0, set()
    for folder, subfolders, files in os.walk(root, onerror=on_error, followlinks=True):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:  # a link back to a folder above
            subfolders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        subfolders[:] = sorted(subfolder for subfolder in subfolders if not subfolder.startswith("."))
        for file in files:
            if not file.startswith("."):
                image = os.path.splitext(file)[1].lower() in suffixes
                others += not image
                images += [os.path.join(folder, file)] if image else []
    if not images:
        found = f"it holds {others} other files" if others else "it is empty"
        raise not_found(f"any file that ends in {', '.join(suffixes)} ({found})")
    return [Path(image) for image in sorted(images)]


def read_image(path: str | Path, *, upright: bool = False, remedy: str = REPLACE_OR_SKIP) -> Image.Image:
    """Read an image file of any mode as RGB with 8 bits.

    Palette, grey, CMYK and bilevel images are converted; 16-bit grey is scaled (65535 becomes 255), not clipped;
    transparent pixels are laid on white, because the colour stored below them is arbitrary.

    Args:
        path: of the file; its content decides the format, not its suffix.
        upright: turn the image as its EXIF orientation says. Off for annotated data sets: their coordinates refer to
            the stored pixels.
        remedy: what to do with a file that cannot be read, in the error.

    Raises:
        UnreadableImageError: names the file, what is wrong and what to do.
    """
    try:
        if os.path.getsize(path) == 0:
            raise ValueError("the file is empty")
        with Image.open(path) as image:
            image.load()
            return as_rgb(ImageOps.exif_transpose(image) if upright else image)
    except Exception as error:  # Pillow's decoders raise whatever the broken bytes lead them to
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        if isinstance(error, UnidentifiedImageError):
            reason = "its content is not an image, or its beginning is damaged"
        raise UnreadableImageError(f"cannot read the image {path}: {reason}. {remedy}.") from error


def as_rgb(image: Image.Image) -> Image.Image:
    """Convert a loaded image of any mode to RGB, as `read_image` describes.

    Raises:
        ValueError: the pixels have no known range (floating point, or integers beyond 16 bits).
    """
    if image.mode.startswith("I"):  # I;16, I;16B: 16 bits; I: 32 bits, in which 16-bit PGM files arrive
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("its integer pixels have more than 16 bits")
        return Image.fromarray(((values + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers of unknown range")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image.convert("RGBA"))
        return white.convert("RGB")
    return image.convert("RGB")


def unreadable_images(paths: Sequence[Path]) -> list[Path]:
    """Return those of ``paths`` that `read_image` would refuse, in order.

    Every file is decoded once, in threads, and under DDP every process takes its share and learns of the others'
    findings, so that all of them leave out the same files: call it on all processes with the same paths.
    """
    rank, world_size = rank_and_world_size()

    def broken(position: int) -> bool:
        try:
            read_image(paths[position])
        except UnreadableImageError:
            return True
        return False

    mine = range(rank, len(paths), world_size)
    with ThreadPool(min(32, os.cpu_count() or 1)) as threads:
        found = [position for position, bad in zip(mine, threads.imap(broken, mine, chunksize=16), strict=True) if bad]
    return [paths[position] for position in sorted(chain.from_iterable(gather_objects(found)))]
