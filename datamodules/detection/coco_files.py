"""Where the pictures and annotations of data sets in COCO's format lie."""

import os
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np
from PIL import Image

from datamodules.common.reports import report
from datamodules.detection.coco_json import CocoAnnotations
from visionscapes.errors import UserError


def annotation_file(given: str | None, root: Path, usual: Sequence[str]) -> Path:
    """Return the file of annotations, which may be absent.

    Args:
        given: by the user: a path, or one within ``root``; None for the usual one.
        root: folder of the data set.
        usual: paths within ``root`` where the file can lie.
    """
    places = [root / each for each in usual] if given is None else [Path(given).expanduser(), root / given]
    return next((place for place in places if place.is_file()), places[0])


def picture_paths(coco: CocoAnnotations, roots: Sequence[Path], folder: str) -> list[str]:
    """Return the paths of all pictures, whether they exist or not.

    Args:
        coco: names the files, with or without their folders.
        roots: the folders that may hold the folders of pictures.
        folder: of pictures that are named without one.
    """
    names = [name if "/" in name else f"{folder}/{name}" for name in coco.files]
    found = {
        each: next((str(root) for root in roots if (root / each).is_dir()), str(roots[0]))
        for each in {os.path.dirname(name) for name in names}
    }
    return [f"{found[os.path.dirname(name)]}/{name}" for name in names]


def absent_files(paths: Sequence[str]) -> list[Path]:
    """Return those files that are not there, in order; lists folders, which is faster than asking for each file."""
    folders = {os.path.dirname(path) for path in paths}
    found = {folder: set(os.listdir(folder)) if os.path.isdir(folder) else set() for folder in folders}
    return [Path(path) for path in paths if os.path.basename(path) not in found[os.path.dirname(path)]]


def with_sizes(coco: CocoAnnotations, paths: Sequence[str]) -> CocoAnnotations:
    """Return the annotations with the sizes of the picture files where the file does not say any, and tell it.

    Args:
        coco: the annotations.
        paths: of the pictures, in their order.

    Raises:
        UserError: a picture whose size is needed cannot be read.
    """
    unknown = np.flatnonzero((coco.sizes < 1).any(1))
    if not len(unknown):
        return coco
    sizes = coco.sizes.copy()
    with ThreadPool(16) as threads:
        sizes[unknown] = threads.map(picture_size, [Path(paths[place]) for place in unknown.tolist()], chunksize=64)
    report(
        '%s: %d of %d pictures have no "height" and "width"; those of the files are taken', coco.path, len(unknown),
        len(sizes),
    )  # fmt: skip
    return replace(coco, sizes=sizes)


def picture_size(path: Path) -> tuple[int, int]:
    """Return height and width of a picture without decoding it.

    Raises:
        UserError: the beginning of the file is damaged.
    """
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except OSError as error:
        raise UserError(f"cannot read the image {path} ({error}): replace the file") from error
