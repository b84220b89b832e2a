"""Files as users name them: a file, a folder, a pattern, or several of these; and what was left out of them."""

import glob
import logging
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from datamodules.common.errors import DatasetNotFoundError
from datamodules.common.image_kinds import PHONE_REMEDY, PHONE_SUFFIXES, is_silent, picture_suffixes
from visionscapes.processes import is_first

log = logging.getLogger(__name__)
Inputs = list[str] | str
EXPECTED = """\
a file: photo.jpg
a folder, with its sub-folders: photos
a pattern, in quotes: 'photos/2024-*.jpg', 'photos/**/*.png'
or several of them: '[photo.jpg, photos]'"""
MEND_PATTERN = "Mend the pattern, and keep it in quotes; ** stands for any folders, as in 'photos/**/*.jpg'"
SUFFIXES_SHOWN = 8


@dataclass(frozen=True)
class FoundFiles:
    """The files that a user has named.

    Attributes:
        paths: of the files, each once: in the order in which they were named, those of a folder or pattern sorted.
        root: the folder that all of them lie in or below; None if they have nothing in common but their disk.
        left_out: how many files of folders and patterns are of other kinds, by suffix, "" for none. Hidden files and
            what file managers leave (``Thumbs.db``, ``desktop.ini``) do not count.
    """

    paths: list[Path]
    root: Path | None
    left_out: Counter[str] = field(default_factory=Counter)


class UnlistedFolderError(Exception):
    """A folder that may not be listed.

    Args:
        error: of the operating system.
    """

    def __init__(self, error: OSError):
        super().__init__(f"permission to list {error.filename} ({error.strerror})")
        self.folder = error.filename


def find_inputs(
    given: Inputs | Path,
    suffixes: Sequence[str] | None = None,
    *,
    name: str = "The images",
    option: str = "root",
    expected: str = EXPECTED,
    remedies: Sequence[str] = (),
) -> FoundFiles:
    """Return the files that a path is, holds or matches, or several paths do, and tell what was left out.

    A file counts whatever its suffix. Folders are searched with their sub-folders; hidden ones are passed over, links
    are followed, each folder once. Of a pattern, the files that match count, or, if only folders do, what is in them; a
    pattern that names a suffix, such as ``scans/*.dat``, chooses itself, else files of other kinds are left out as they
    are of a folder. A name that exists is never taken for a pattern, whatever brackets it has.

    Args:
        given: paths, which may start with ``~``.
        suffixes: of the files that are looked for, in lower case with their dot; those of all pictures that can be read
            if None.
        name: what is looked for, as errors and messages name it.
        option: of the datamodule, by which the user gives it.
        expected: what may be given, as errors show it.
        remedies: the ways out that errors name; by default, to give something else by the option.

    Raises:
        DatasetNotFoundError: there is nothing of this name, a folder may not be listed, or no file is of these kinds.
    """
    ways_out = list(remedies) or [f"Name another file, folder or pattern as --data.{option}"]

    def not_found(place: str | Path, missing: str, *more: str) -> DatasetNotFoundError:
        return DatasetNotFoundError(
            name=name, looked_in=place, expected=expected, remedies=[*more, *ways_out], missing=missing
        )

    places = [str(given)] if isinstance(given, str | Path) else list(given)
    if not places:
        raise not_found(".", "a name: the list is empty")
    found = []
    for place in places:
        if not place.strip():  # which Path takes for the folder where the command runs
            raise not_found(place, "a name: it is empty")
        try:
            files = _files_at(Path(place).expanduser(), suffixes)
        except UnlistedFolderError as error:
            readable = f"Make the folder {error.folder} readable, or move it away"
            raise not_found(place, str(error), readable) from error
        if files is None:
            if glob.has_magic(place):
                raise not_found(place, "anything that this pattern matches", MEND_PATTERN)
            raise not_found(place, "a file or folder of this name")
        if not files.paths:
            phones = [PHONE_REMEDY] if any(suffix in PHONE_SUFFIXES for suffix in files.left_out) else []
            raise not_found(place, f"{wanted(suffixes)} ({described(files.left_out)})", *phones)
        if suffixes is None:
            tell_left_out(place, files.left_out)
        found.append(files)
    return found[0] if len(found) == 1 else _together(found)


def files_below(folder: str | Path, suffixes: Sequence[str] | None = None) -> FoundFiles:
    """Return the files below a folder whose suffix is one of these, sorted by path; see `find_inputs`.

    Args:
        folder: with its sub-folders.
        suffixes: in lower case with their dot; those of all pictures that can be read if None.

    Raises:
        UnlistedFolderError: a folder may not be listed.
    """
    wanted, seen, left_out = _kinds(suffixes), set(), Counter[str]()
    paths: list[str] = []

    def refuse(error: OSError) -> None:
        raise UnlistedFolderError(error) from error

    for place, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        status = os.stat(place)
        if (status.st_dev, status.st_ino) in seen:  # a link back to a folder above
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        kept, others = _sorted_out(files, wanted)
        paths += [os.path.join(place, each) for each in kept]
        left_out += others
    return FoundFiles([Path(path) for path in sorted(paths)], Path(folder), left_out)


def tell_left_out(place: str | Path, left_out: Counter[str], what: str = "image") -> None:
    """Say once, on the first process, how many files of other kinds a place holds, by suffix; nothing if none."""
    if left_out and is_first():
        _tell_once(str(place), os.path.abspath(place), what, tuple(sorted(left_out.items())))


def described(left_out: Counter[str]) -> str:
    """Return in words what other files a place holds."""
    if not left_out:
        return "it is empty"
    return f"it holds {left_out.total()} other file{'s' * (left_out.total() != 1)}: {by_suffix(left_out)}"


def wanted(suffixes: Sequence[str] | None) -> str:
    """Return in words which files are looked for."""
    return "any image" if suffixes is None else f"any file that ends in {', '.join(suffixes)}"


def relative_name(path: Path, root: Path) -> str:
    """Return the path of a file below a folder, or its whole path if it lies elsewhere, with "/" between folders."""
    whole, above = Path(os.path.abspath(path)), os.path.abspath(root)
    return (whole.relative_to(above) if whole.is_relative_to(above) else whole).as_posix()


def by_suffix(counts: Counter[str]) -> str:
    """Return counts of files by suffix in words, the most frequent first: "3 .txt, 1 without a suffix"."""
    ranked = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    words = [f"{count} {printable(suffix) or 'without a suffix'}" for suffix, count in ranked[:SUFFIXES_SHOWN]]
    rest = sum(count for _, count in ranked[SUFFIXES_SHOWN:])
    return ", ".join([*words, *([f"{rest} others"] if rest else [])])


def printable(name: object) -> str:
    """Return a name for a message of one line: line breaks and bytes that are no text are written as in Python."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in str(name))


@cache
def _tell_once(place: str, _absolute: str, what: str, counts: tuple[tuple[str, int], ...]) -> None:
    readable = PHONE_SUFFIXES if what == "image" else ()  # with the package that the remedy names
    phones = Counter({suffix: count for suffix, count in counts if suffix in readable})
    others = Counter({suffix: count for suffix, count in counts if suffix not in readable})
    if others:
        plural = f"s that are no {what}s" if others.total() != 1 else f" that is no {what}"
        log.warning("%s: left out %d file%s: %s", printable(place), others.total(), plural, by_suffix(others))
    if phones:
        photographs = f"{phones.total()} photograph{'s' * (phones.total() != 1)} of phones"
        log.warning("%s: left out %s: %s. %s", printable(place), photographs, by_suffix(phones), PHONE_REMEDY)


def _kinds(suffixes: Sequence[str] | None) -> frozenset[str]:
    return frozenset(picture_suffixes() if suffixes is None else suffixes)


def _sorted_out(names: Iterable[str], wanted: frozenset[str]) -> tuple[list[str], Counter[str]]:
    """Return the names of these kinds, and how many there are of others, by suffix."""
    kept, others = [], Counter[str]()
    for name in names:
        suffix = os.path.splitext(name)[1].lower()
        if suffix in wanted and not is_silent(os.path.basename(name)):
            kept.append(name)
        elif not is_silent(os.path.basename(name)):
            others[suffix] += 1
    return kept, others


def _files_at(path: Path, suffixes: Sequence[str] | None) -> FoundFiles | None:
    """Return what a path is, holds or matches; None if there is nothing."""
    if path.is_dir():
        return files_below(path, suffixes)
    if os.path.lexists(path):  # a link that leads nowhere too: who reads it tells
        return FoundFiles([path], path.parent)
    if not glob.has_magic(str(path)):
        return None
    matches = _each_folder_once(glob.glob(str(path), recursive=True))
    fixed = next(index for index, part in enumerate(path.parts) if glob.has_magic(part))
    root = Path(*path.parts[:fixed])
    files = [match for match in matches if not os.path.isdir(match)]
    if not files:
        below = [files_below(match, suffixes) for match in matches]
        return FoundFiles(_distinct(below), root, _sum(below)) if below else None
    named = os.path.splitext(path.name)[1]
    if named and not glob.has_magic(named):
        return FoundFiles([Path(file) for file in files], root)
    kept, others = _sorted_out(files, _kinds(suffixes))
    return FoundFiles([Path(file) for file in kept], root, others)


def _each_folder_once(matches: Iterable[str]) -> list[str]:
    """Return matches sorted and without those that another name of their folder shows again, as ``**`` does."""
    names: dict[str, str] = {}  # of folders, by what they really are
    ordered = sorted(set(matches), key=lambda match: (match.count(os.sep), match))
    kept = []
    for match in ordered:
        folder = os.path.dirname(match)
        if names.setdefault(os.path.realpath(folder), folder) == folder:
            kept.append(match)
    return sorted(kept)


def _together(found: Sequence[FoundFiles]) -> FoundFiles:
    roots = [os.path.abspath(files.root) for files in found if files.root is not None]
    try:
        common = Path(os.path.commonpath(roots))
    except ValueError:  # of different disks
        common = Path(os.sep)
    return FoundFiles(_distinct(found), None if common == Path(common.anchor) else common, _sum(found))


def _distinct(found: Iterable[FoundFiles]) -> list[Path]:
    distinct: dict[str, Path] = {}
    for files in found:
        for path in files.paths:
            distinct.setdefault(os.path.abspath(path), path)
    return list(distinct.values())


def _sum(found: Iterable[FoundFiles]) -> Counter[str]:
    return sum((files.left_out for files in found), Counter[str]())
