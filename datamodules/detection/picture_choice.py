"""Which of several files of one name is the picture that annotations name, or that nobody can tell."""

import filecmp
import os
import re
from collections.abc import Sequence
from pathlib import Path

PARTS = {  # words in names of folders and files, and the part of a data set that they stand for
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
    "testing": "test",
}  # fmt: skip
OF_OPTION = {"train": ("train",), "val": ("val", "test")}
COMPARED = 16  # pictures of two folders that are compared byte by byte; all are compared by their sizes


class AmbiguousNameError(ValueError):
    """Different files may be the picture of a name."""


def parts_meant(annotations: Path, part: str) -> tuple[str, ...]:
    """Return the parts, of which "train", "val" and "test" are known, that a file of annotations may be about.

    Args:
        annotations: the file; what its name says, or its folder's, counts more than what it is given as.
        part: "train" or "val", what it is given as; "" if that is not known.
    """
    own, folder = _parts_in(annotations.stem), PARTS.get(annotations.parent.name.lower())
    if own:
        return tuple(own) if len(own) == 1 else ()
    return (folder,) if folder else OF_OPTION.get(part, ())


def one_of(found: Sequence[str], parts: Sequence[str]) -> tuple[str, str]:
    """Return the one of several files of a name that is meant, and how that is known.

    Args:
        found: the paths of the files, at least one.
        parts: one of which the names of the right folders stand for, see `parts_meant`.

    Returns:
        The path, and in words why it and no other, empty if there is no other, or all others have the same bytes.

    Raises:
        AmbiguousNameError: nobody can tell.
    """
    distinct = list({os.path.normpath(path): path for path in reversed(found)}.values())[::-1]
    if len(distinct) == 1:
        return distinct[0], ""
    above = os.path.commonpath([os.path.normpath(path) for path in distinct])
    telling = [path for path in distinct if _parts_in(os.path.dirname(os.path.relpath(path, above))) & {*parts}]
    if len(telling) == 1:
        return telling[0], f', of several in that whose name says "{" or ".join(parts)}"'
    other = next((path for path in distinct[1:] if not _same(distinct[0], path)), None)
    if other is not None:
        raise AmbiguousNameError(f"{distinct[0]} or {other}")
    return distinct[0], ""


def differing(folders: Sequence[str], names: Sequence[str]) -> str | None:
    """Return the first name of which some folders hold different files, None if they hold the same.

    All files are compared by their sizes, and some of them byte by byte.

    Args:
        folders: that hold all names.
        names: of files.
    """
    first, *others = list({os.path.realpath(folder): folder for folder in reversed(folders)}.values())[::-1]
    every = max(1, len(names) // COMPARED)
    for place, name in enumerate(names if others else ()):
        for other in others:
            paths = f"{first}/{name}", f"{other}/{name}"
            if not (_same(*paths) if place % every == 0 else _size(paths[0]) == _size(paths[1])):
                return name
    return None


def _parts_in(name: str) -> set[str]:
    return {PARTS[word] for word in re.split("[^a-z]+", name.lower()) if word in PARTS}


def _same(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other) or filecmp.cmp(one, other, shallow=False)
    except OSError:  # what cannot be read is not known to be the same
        return False


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return -1
