"""Videos as people name them: a file, a folder or a pattern."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from datamodules.common.errors import DatasetNotFoundError
from datamodules.common.image_files import find_images

VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv"),
    *(".3gp", ".ogv", ".vob", ".mxf"),
)
NO_SUCH, NO_NAME = "a file or folder of this name", "a name: it is empty"


def find_videos(place: str | Path, *, name: str, expected: str, remedies: Sequence[str]) -> tuple[Path, list[Path]]:
    """List the videos that a path is, holds or matches.

    Args:
        place: a file of any suffix; a folder, which is searched with its sub-folders for files whose suffix is that of
            a video; or a pattern such as "videos/**/*.mp4". All may start with ``~``.
        name: what is looked for, as the error names it.
        expected: the tree that should be there, as the error shows it.
        remedies: the ways out that the error names.

    Returns:
        The folder that all of them lie in or below, and the videos, sorted.

    Raises:
        DatasetNotFoundError: there is none.
    """
    path = Path(place).expanduser()
    if path.is_file():
        return path.parent, [path]
    if not str(place).strip():  # which Path takes for the folder where the command runs
        raise DatasetNotFoundError(name=name, looked_in=path, expected=expected, remedies=remedies, missing=NO_NAME)
    if not path.exists() and not glob.has_magic(str(place)):
        raise DatasetNotFoundError(name=name, looked_in=path, expected=expected, remedies=remedies, missing=NO_SUCH)
    if path.exists():
        return path, find_images(path, VIDEO_SUFFIXES, name=name, expected=expected, remedies=remedies)
    folders = next(index for index, part in enumerate(path.parts) if glob.has_magic(part))
    videos = [Path(each) for each in sorted(glob.glob(str(path), recursive=True)) if os.path.isfile(each)]
    if not videos:
        raise DatasetNotFoundError(
            name=name,
            looked_in=path,
            expected="a pattern that files match, in quotes, such as 'videos/**/*.mp4'",
            remedies=["Mend the pattern", "Give a folder, which is searched with its sub-folders"],
        )
    return Path(*path.parts[:folders]), videos
