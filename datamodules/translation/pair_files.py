"""The files that pairs are made of: found, and matched or told apart by their names."""

from collections import Counter
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path

from datamodules.common.image_files import COPY_SOME
from datamodules.common.inputs import FoundFiles, Inputs, find_inputs, relative_name
from visionscapes.errors import UserError


def by_stem(paths: Sequence[Path], place: object) -> dict[str, Path]:
    """Return files by their names without suffix, sorted by these.

    Raises:
        UserError: two files have one name.
    """
    found: dict[str, Path] = {}
    for path in paths:
        if path.stem in found:
            raise UserError(
                f"{found[path.stem]} and {path} have the same name up to folder and suffix, by which pairs are matched:"
                f" rename or remove one of them in {place}"
            )
        found[path.stem] = path
    return dict(sorted(found.items()))


def names_of_their_own(found: FoundFiles) -> list[str]:
    """Return a name for each file, its own without suffix, and where that is another file's too, more of its path.

    Names that differ in upper and lower case only are one name, because they are one file on some machines.

    Args:
        found: the files.
    """
    shorter = [path.stem for path in found.paths]
    longer = [relative_name(path, found.root or path.parent).strip("/").replace("/", "-") for path in found.paths]
    counts = Counter(name.casefold() for name in shorter)
    names = [long if counts[short.casefold()] > 1 else short for short, long in zip(shorter, longer, strict=True)]
    taken, distinct = set[str](), []
    for name in names:
        candidates = chain([name], (f"{name}-{number}" for number in count(2)))
        distinct.append(next(each for each in candidates if each.casefold() not in taken))
        taken.add(distinct[-1].casefold())
    return distinct


def find_pairs(given: Inputs | Path, option: str, things: str, expected: str) -> FoundFiles:
    """Return one side of pairs.

    Args:
        given: a folder, a file, a pattern, or a list of these.
        option: by which it is given.
        things: what the files are, in the plural.
        expected: the tree that should be there, as the error shows it.

    Raises:
        DatasetNotFoundError: there is no such file, or a folder holds no image.
    """
    point = f"Give the {things} as --data.init_args.{option}: a folder, a file, a pattern, or a list of these"
    return find_inputs(given, name=f"The folder of the {things}", expected=expected, remedies=(point, COPY_SOME))


def folder_or_none(folder: str | None) -> Path | None:
    """Return an optional folder as a path; it may start with ``~``."""
    return None if folder is None else Path(folder).expanduser()
