"""Where the pictures lie that a file of annotations names, as tools and people of all kinds write them."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from datamodules.common.file_names import refuse_escape
from datamodules.common.reports import first_names, report, report_left_out
from datamodules.detection.coco_json import CocoAnnotations
from datamodules.detection.json_entries import shortened
from datamodules.detection.picture_names import other_names, plain_name
from visionscapes.errors import UserError


def usual_folders(root: Path, annotations: Path, usual: Sequence[str]) -> list[Path]:
    """Return the folders that the pictures of a file of annotations may lie in, the likeliest first.

    Args:
        root: folder of the data set.
        annotations: the file.
        usual: paths within ``root`` where the data set has them.
    """
    beside, above = annotations.parent, annotations.parent.parent
    part = annotations.stem.removeprefix("instances_")
    of_tools = [
        *(folder / name for folder in (beside, above) for name in (f"images/{part}", part)),  # Datumaro, CVAT
        *(beside / name for name in ("", "images", "data")),  # Roboflow; Label Studio, supervision; FiftyOne
        *(above / name for name in ("images", "data", "")),
    ]
    near = of_tools if beside != root and beside.name != "annotations" else []  # an export of one part, below others
    return list(dict.fromkeys([*(root / each for each in usual), *near, root, root / "images", *of_tools]))


def locate_pictures(coco: CocoAnnotations, folders: Sequence[Path]) -> tuple[list[str], np.ndarray]:
    """Return where the pictures lie, and which ones are not there.

    Names are looked for as they are, relative to the folders or absolute. Those that are not found so may be paths of
    another machine, URLs, or otherwise written by a tool: then their ends are looked for, see `other_names`, and it is
    told how many were found how. Folders are listed, which is faster than asking for each file.

    Args:
        coco: names the pictures.
        folders: that may hold them, the likeliest first.

    Returns:
        Paths of all pictures, in order, a guess for those that are not there, and (I,) bool, which those are.

    Raises:
        UserError: two pictures are found in one file.
    """
    listings = Listings()
    names = [plain_name(name) for name in coco.files]
    groups: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        groups.setdefault(os.path.dirname(name), []).append(place)
    paths, absent = [""] * len(names), np.zeros(len(names), bool)
    for group, places in groups.items():
        wanted = [os.path.basename(names[place]) for place in places]
        # Joined with an absolute path it is that path alone.
        best = _best([os.path.join(folder, group) if group else str(folder) for folder in folders], wanted, listings)
        for place, name in zip(places, wanted, strict=True):
            paths[place] = f"{best}/{name}"
            absent[place] = name not in listings[best]
    if absent.any():
        if absent.all():  # then they may lie in a folder of any name
            inner = [each for folder in folders for each in listings.below(folder)]
            folders = [*folders, *inner, *(each for folder in inner for each in listings.below(folder))]
        _locate_otherwise(coco, folders, listings, paths=paths, absent=absent)
    _refuse_shared(coco, paths, absent)
    return paths, absent


def without_missing(
    coco: CocoAnnotations, paths: Sequence[str], absent: np.ndarray, name: str, root: Path
) -> tuple[CocoAnnotations, list[str]]:
    """Return annotations and paths of those pictures alone that are there, and tell how many are not.

    Args:
        coco: the annotations.
        paths: of all pictures.
        absent: (I,) bool, which are not there.
        name: of the data set, for the message.
        root: folder of the data set, for the message.

    Raises:
        UserError: none is there.
    """
    if not absent.any():
        return coco, list(paths)
    missing = [Path(paths[place]) for place in np.flatnonzero(absent).tolist()]
    if absent.all():
        raise UserError(f"{name}: none of the {len(paths)} pictures that {coco.path} names is there: "
                        f"{first_names(missing, root)}; name the folder that holds them")  # fmt: skip
    report_left_out(name, len(missing), "pictures", len(paths), f"they are not there ({first_names(missing, root)})")
    kept = np.flatnonzero(~absent)
    return coco.of(kept), [paths[place] for place in kept.tolist()]


def refuse_outside(coco: CocoAnnotations, absent: np.ndarray) -> None:
    """Refuse missing pictures whose names lead out of the folder by "..": they were written somewhere else.

    Raises:
        UserError: there is one.
    """
    refuse_escape([coco.files[place].replace("\\", "/") for place in np.flatnonzero(absent).tolist()], coco.path)


class Listings:
    """The names in folders, each listed once."""

    def __init__(self) -> None:
        self._names: dict[str, frozenset[str]] = {}
        self._lower: dict[str, dict[str, str]] = {}

    def __getitem__(self, folder: str) -> frozenset[str]:
        if folder not in self._names:
            try:
                self._names[folder] = frozenset(os.listdir(folder))
            except OSError:
                self._names[folder] = frozenset()
        return self._names[folder]

    def alike(self, folder: str, name: str) -> str | None:
        """Return the name in a folder that differs from ``name`` in upper and lower case alone, None if none does."""
        if folder not in self._lower:
            self._lower[folder] = {each.lower(): each for each in sorted(self[folder])}
        return self._lower[folder].get(name.lower())

    def below(self, folder: Path) -> list[Path]:
        """Return the folders in a folder, sorted."""
        found = [folder / name for name in sorted(self[str(folder)]) if not name.startswith(".")]
        return [path for path in found if path.is_dir()]


def _best(folders: Sequence[str], wanted: Sequence[str], listings: Listings) -> str:
    """Return the first folder that holds all names, or else the one that holds most."""
    most, best = 0, folders[0]
    for folder in dict.fromkeys(folders):
        there = listings[folder]
        count = sum(name in there for name in wanted) if there else 0
        if count == len(wanted):
            return folder
        if count > most:
            most, best = count, folder
    return best


def _locate_otherwise(
    coco: CocoAnnotations, folders: Sequence[Path], listings: Listings, *, paths: list[str], absent: np.ndarray
) -> None:
    """Look for what else the names may mean, bring ``paths`` and ``absent`` up to it, and tell what was found how."""
    ways: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for picture in np.flatnonzero(absent).tolist():
        found = _otherwise(coco.files[picture], folders, listings)
        if found is not None:
            paths[picture], way = found
            absent[picture] = False
            ways[way] += 1
            examples.setdefault(way, f"{paths[picture]} for {shortened(coco.files[picture])}")
    for way, count in ways.items():
        report('%s: %d of %d pictures are not where "file_name" says and were found %s, such as %s', coco.path, count,
               len(paths), way, examples[way])  # fmt: skip


def _otherwise(name: str, folders: Sequence[Path], listings: Listings) -> tuple[str, str] | None:
    """Return the path of a picture, and how it was found, in words."""
    plain = plain_name(name).lstrip("/")
    for other, way in [(plain, "in a folder of another name"), *other_names(name)]:
        inner, base = os.path.split(other)
        for folder in folders:
            place = os.path.join(folder, inner) if inner else str(folder)
            if base in listings[place]:
                return f"{place}/{base}", way
    for folder in folders:
        inner, base = os.path.split(plain)
        place = os.path.join(folder, inner) if inner else str(folder)
        alike = listings.alike(place, base)
        if alike is not None:
            return f"{place}/{alike}", "with other upper and lower case"
    return None


def _refuse_shared(coco: CocoAnnotations, paths: Sequence[str], absent: np.ndarray) -> None:
    if len(set(paths)) == len(paths):
        return
    first: dict[str, int] = {}
    for picture, path in enumerate(paths):
        if not absent[picture] and first.setdefault(path, picture) != picture:
            one, other = coco.files[first[path]], coco.files[picture]
            raise UserError(
                f"{coco.path}: both {one!r} and {other!r} would be {path}: keep the folders that tell pictures of one "
                "name apart, and name the folder that holds them"
            )
