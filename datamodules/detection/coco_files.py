"""Where the pictures and annotations of data sets in COCO's format lie."""

import os
from collections.abc import Sequence
from pathlib import Path

from datamodules.detection.coco_json import CocoAnnotations


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
