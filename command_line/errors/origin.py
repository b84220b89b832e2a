"""Tells a mistake in the options from a bug: what a library says of values that are only handed on to it is no bug."""

import sysconfig
from pathlib import Path
from traceback import walk_tb

LIBRARIES = tuple(str(Path(sysconfig.get_paths()[name]).resolve()) for name in ("purelib", "platlib", "stdlib"))
# They hand on what the user gives, whatever folder they are installed in.
BETWEEN = {"cli", "command_line", "jsonargparse"}
OURS = {"lightning_modules", "datamodules", "callbacks", "networks", "metrics", "visionscapes", "experiments"}


def raised_by_library(error: BaseException) -> bool:
    """Return whether only libraries, and no code of this project or of the user, ran between the command and an error.

    Args:
        error: as caught: its traceback begins where it was caught.
    """
    modules = [str(frame.f_globals.get("__name__", "")) for frame, _ in walk_tb(error.__traceback__)]
    files = [frame.f_code.co_filename for frame, _ in walk_tb(error.__traceback__)]
    for module, file in zip(modules, files, strict=True):
        room = module.partition(".")[0]
        if room in OURS or (room not in BETWEEN and not _of_library(file)):
            return False
    return bool(files)


def innermost(error: BaseException) -> str:
    """Return the package whose code raised an error."""
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    return str(frames[-1].f_globals.get("__name__", "")).partition(".")[0] if frames else ""


def _of_library(file: str) -> bool:
    return file.startswith("<") or str(Path(file).resolve()).startswith(LIBRARIES)
