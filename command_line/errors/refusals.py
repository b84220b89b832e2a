"""What the file system refuses, in one line: a full disk, a folder that may not be written, one that was deleted."""

import errno
import os
from pathlib import Path

from visionscapes.files import NO_PERMISSION, NO_SPACE, remedy


def explain_refusal(error: OSError, run_folder: Path | None = None, resumable: bool = True) -> str | None:
    """Return which file was refused and what to do, None for an error of another kind, which is a bug.

    Args:
        error: of reading or writing a file.
        run_folder: where the run writes, None before it has a folder.
        resumable: whether the run can be continued.
    """
    file = None if error.filename is None else Path(str(error.filename))
    if error.errno == errno.ENAMETOOLONG:
        return f"there is no file {str(file)[:80]} ...: its name is longer than the file system allows"
    again = "start again"
    if run_folder is not None:
        again = f"go on with --resume --name {run_folder.name}" if resumable else "start again with another --name"
        if not run_folder.is_dir():
            return (
                f"{run_folder} was deleted while the run wrote {file or 'into it'}: what it held is gone, start again"
            )
    written = f"{file or 'a file'} could not be written ({error.strerror}). What was saved before is untouched"
    if error.errno in NO_SPACE:
        return f"the disk is full: {written}: {remedy(error)} and {again}"
    if file is not None and run_folder is not None and (found := _in_the_way(file, run_folder)):
        return f"{found}: move it away and {again}"
    if error.errno in NO_PERMISSION and file is not None:
        if run_folder is not None and file.is_relative_to(run_folder):
            return f"{written}: {remedy(error)} and {again}"
        return f"{file} cannot be read or written ({error.strerror}): give the permission, or name another place"
    return None


def _in_the_way(file: Path, run_folder: Path) -> str:
    """Return what is in a run folder where the run keeps a file of its own; nothing if there is nothing."""
    below = [path for path in (file, *file.parents) if run_folder in path.parents]
    for path in below:
        if path.is_symlink() and not path.exists():
            return f"{path} is a link to {os.readlink(path)}, which is not there, in the place of what the run keeps"
        if path != file and path.exists() and not path.is_dir():
            return f"{path} is a file, and the run keeps a folder there"
    return f"{file} is a folder, and the run keeps a file there" if below and file.is_dir() else ""
