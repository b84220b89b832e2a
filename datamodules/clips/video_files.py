"""Videos as people name them: a file, a folder or a pattern."""

from collections.abc import Sequence
from pathlib import Path

from datamodules.common.errors import DatasetNotFoundError
from datamodules.common.inputs import find_inputs, tell_left_out

VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv"),
    *(".3gp", ".ogv", ".vob", ".mxf"),
)


def find_videos(
    place: str | Path, *, name: str, expected: str, remedies: Sequence[str], tell: bool = True
) -> tuple[Path, list[Path]]:
    """List the videos that a path is, holds or matches, and tell how many files of other kinds are left out.

    Args:
        place: a file of any suffix; a folder, which is searched with its sub-folders for files whose suffix is that of
            a video; or a pattern such as "videos/**/*.mp4". All may start with ``~``. See `find_inputs`.
        name: what is looked for, as the error names it.
        expected: the tree that should be there, as the error shows it.
        remedies: the ways out that the error names.
        tell: whether it is told.

    Returns:
        The folder that all of them lie in or below, and the videos, sorted.

    Raises:
        DatasetNotFoundError: there is none.
    """
    path = Path(place).expanduser()
    if path.exists() and not (path.is_file() or path.is_dir()):
        missing = "a file or a folder: this is a device or a pipe"
        raise DatasetNotFoundError(name=name, looked_in=path, expected=expected, remedies=remedies, missing=missing)
    found = find_inputs(str(place), VIDEO_SUFFIXES, name=name, expected=expected, remedies=remedies)
    assert found.root is not None, "a single place has a folder"
    if tell:
        tell_left_out(place, found.left_out, "video")
    return found.root, found.paths
