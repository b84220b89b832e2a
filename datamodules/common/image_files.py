"""Image files as they come: finding them, reading every mode as RGB, and saying which ones are broken."""

import os
from collections.abc import Sequence
from itertools import chain
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from datamodules.common.errors import DatasetNotFoundError
from datamodules.common.image_kinds import PHONE_REMEDY, PHONE_SUFFIXES, can_read_phones
from datamodules.common.inputs import UnlistedFolderError, described, files_below, printable, tell_left_out, wanted
from visionscapes.errors import UserError
from visionscapes.processes import gather_objects, rank_and_world_size

ANY_TREE = "<root>/photo.jpg\n<root>/any/sub/folder/photo.png"
NAME_ANOTHER = "Give the folder that holds the images as --data.init_args.root"
COPY_SOME = "Copy images into this one (.jpg, .png, .webp, .tif or any other kind that Pillow reads)"
REPLACE_OR_SKIP = (
    "Replace or remove the file, or leave out all that cannot be read with --data.init_args.skip_unreadable=true"
    " (offered for plain images, not for annotated ones)"
)
BOMB = "PIL.Image.MAX_IMAGE_PIXELS in Python"


class UnreadableImageError(UserError):
    """An image file that is missing, empty, broken, or of a kind whose pixel range is unknown.

    Attributes:
        fault: the message without what to do; empty where only the message is known.
    """

    fault: str = ""

    @classmethod
    def of(cls, path: str | Path, reason: str, remedy: str) -> "UnreadableImageError":
        """Return the error of a file.

        Args:
            path: of the file.
            reason: what is wrong with it.
            remedy: what to do, a sentence without its full stop.
        """
        fault = f"cannot read the image {printable(path)}: {reason}"
        error = cls(f"{fault}. {remedy}.")
        error.fault = fault
        return error


def find_images(
    root: str | Path,
    suffixes: Sequence[str] | None = None,
    *,
    name: str = "The image folder",
    expected: str = ANY_TREE,
    remedies: Sequence[str] = (NAME_ANOTHER, COPY_SOME),
) -> list[Path]:
    """List the image files below a folder, sorted by path, and tell how many files of other kinds are left out.

    Sub-folders and links are followed, each folder once. Names that start with "." (``.DS_Store``, ``._x.jpg``) are
    passed over; upper and lower case of the suffix are the same.

    Args:
        root: a folder, as a path that may start with ``~``.
        suffixes: in lower case with their dot; those of all pictures that can be read if None. What others there are is
            told in this case alone.
        name: what is looked for, as the error names it.
        expected: the tree that should be there, as the error shows it.
        remedies: the ways out that the error names.

    Raises:
        DatasetNotFoundError: the folder is missing, is a file, cannot be listed, or holds no image.
    """
    root = Path(root).expanduser()

    def not_found(missing: str, *more: str) -> DatasetNotFoundError:
        return DatasetNotFoundError(
            name=name, looked_in=root, expected=expected, remedies=[*remedies, *more], missing=missing
        )

    if not root.is_dir():
        raise not_found("the folder itself" if not root.exists() else "a folder: this is a file")
    try:
        found = files_below(root, suffixes)
    except UnlistedFolderError as error:
        raise not_found(str(error), f"Make the folder {error.folder} readable, or move it away") from error
    if not found.paths:
        phones = [PHONE_REMEDY] if any(suffix in PHONE_SUFFIXES for suffix in found.left_out) else []
        raise not_found(f"{wanted(suffixes)} ({described(found.left_out)})", *phones)
    if suffixes is None:
        tell_left_out(root, found.left_out)
    return found.paths


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
        if not os.path.isfile(path):  # a pipe would wait for its writer
            raise ValueError(_not_a_file(path))
        if os.path.getsize(path) == 0:
            raise ValueError("the file is empty")
        can_read_phones()
        with Image.open(path) as image:
            image.load()
            return as_rgb(ImageOps.exif_transpose(image) if upright else image)
    except Exception as error:  # Pillow's decoders raise whatever the broken bytes lead them to
        reason = error.strerror if isinstance(error, OSError) and error.strerror else printable(error)
        if isinstance(error, Image.DecompressionBombError):
            most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
            reason = f"it is larger than Pillow decodes, {most:,} pixels"
            remedy = f"Save it with fewer pixels, or, of a source that you trust, raise {BOMB}. {remedy}"
        elif isinstance(error, UnidentifiedImageError):
            reason = "its content is not an image, or its beginning is damaged"
            if os.path.splitext(path)[1].lower() in PHONE_SUFFIXES and not can_read_phones():
                reason, remedy = "photographs of phones in this format take pillow-heif", f"{PHONE_REMEDY}. {remedy}"
        raise UnreadableImageError.of(path, reason, remedy) from error


def _not_a_file(path: str | Path) -> str:
    if os.path.isdir(path):
        return "Is a directory"
    if os.path.islink(path) and not os.path.exists(path):
        return f"it is a link to {printable(os.readlink(path))}, which is not there"
    return "it is no file" if os.path.exists(path) else "No such file or directory"


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
