"""The user's own packages in the working directory: found by commands, after everything that is installed."""

import os
import re
import sys
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

from visionscapes.bundled import ROOT

OURS = ("callbacks", "command_line", "datamodules", "experiments", "lightning_modules", "metrics", "networks")
MOST_FILES = 200  # that are searched for a name


def append_working_directory() -> None:
    """Put the working directory last on Python's path, so that what is there hides nothing of ours or of others."""
    try:
        here = os.getcwd()
    except FileNotFoundError:  # it was deleted
        return
    if Path(here).resolve() != ROOT:
        sys.path[:] = [each for each in sys.path if each not in ("", here)]
    # An editable installation has a finder of its own, which is asked after the path.
    sys.path += [each for each in (str(ROOT), here) if each not in sys.path]


def out_of_reach(name: str) -> str:
    """Return a sentence about a package or file of the working directory whose name is taken; nothing if none is.

    Args:
        name: of a module or class, such as "callbacks.Mine"; its first part counts.
    """
    own = _own(name)
    return f"{own} in this folder cannot be reached, the name is taken by {_owner(name)}: rename it" if own else ""


def taken_instead(class_path: str) -> str:
    """Return a sentence if a class path names a class of ours that a package of the working directory has as well."""
    package, _, name = class_path.rpartition(".")
    own = _own(class_path) if package else ""
    if not own:
        return ""
    files = [Path(own)] if own.endswith(".py") else Path(own).rglob("*.py")
    texts = (file.read_text(errors="replace") for file in islice(files, MOST_FILES))
    if not any(re.search(rf"\b{re.escape(name)}\b", text) for text in texts):
        return ""
    return f"{class_path} is not your own: {out_of_reach(class_path)}"


def _own(name: str) -> str:
    top = name.partition(".")[0]
    if not top.isidentifier() or Path.cwd().resolve() == ROOT:
        return ""
    folder, file = Path(top), Path(f"{top}.py")
    own = file if file.is_file() else folder if next(folder.glob("*.py"), None) else None
    if own is None or _place(top) is None or own.resolve() in (_place(top), *(_place(top) or own).parents):
        return ""
    return f"{own}{'/' * own.is_dir()}"


def _place(top: str) -> Path | None:
    """Return the file that a module is imported from; None for one that is built in, and for a folder without code."""
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        return None
    return Path(spec.origin).resolve() if spec is not None and spec.has_location and spec.origin else None


def _owner(name: str) -> str:
    top = name.partition(".")[0]
    return "a package of visionscapes" if top in OURS else f"the module {top} of {(_place(top) or ROOT).parent}"
