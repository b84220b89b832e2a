"""Where the pictures lie that a file of annotations names, as tools and people of all kinds write them."""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from datamodules.common.file_names import refuse_escape
from datamodules.common.reports import first_names, report, report_left_out
from datamodules.detection.coco_json import CocoAnnotations
from datamodules.detection.json_entries import shortened
from datamodules.detection.picture_choice import AmbiguousNameError, differing, one_of, parts_meant
from datamodules.detection.picture_names import other_names, plain_name
from visionscapes.errors import UserError

Form = Callable[[str], str]


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


def locate_pictures(
    coco: CocoAnnotations, folders: Sequence[Path], *, part: str = "", option: str = ""
) -> tuple[list[str], np.ndarray]:
    """Return where the pictures lie, and which ones are not there.

    Names are looked for as they are, relative to the folders or absolute. Those that are not found so may be paths of
    another machine, URLs, or otherwise written by a tool: then their ends are looked for, see `other_names`, and it is
    told how many were found how. Where different pictures of one name are found, it is not guessed which is meant,
    unless one folder alone says the part in its name. Folders are listed, which is faster than asking for each file.

    Args:
        coco: names the pictures.
        folders: that may hold them, the likeliest first.
        part: "train" or "val", what they are for; "" if that is not known.
        option: that names their folder, for the message; "" if there is none.

    Returns:
        Paths of all pictures, in order, a guess for those that are not there, and (I,) bool, which those are.

    Raises:
        UserError: two pictures are found in one file, or different files are found for one picture.
    """
    try:
        paths, absent = _located(coco, folders, parts_meant(coco.path, part))
    except AmbiguousNameError as error:
        named = f"name the folder of the pictures, {option}=<folder>, or " if option else ""
        raise UserError(
            f'{coco.path}: {error}, which differ: {named}write the folder into "file_name", or move the others away'
        ) from error
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
        self._alike: dict[tuple[str, Form], dict[str, list[str]]] = {}

    def __getitem__(self, folder: str) -> frozenset[str]:
        if folder not in self._names:
            try:
                self._names[folder] = frozenset(os.listdir(folder))
            except OSError:
                self._names[folder] = frozenset()
        return self._names[folder]

    def alike(self, folder: str, path: str, form: Form) -> list[str]:
        """Return the paths in a folder whose names are those of ``path`` once all are brought to a form."""
        found = [folder]
        for name in path.split("/"):
            found = [f"{place}/{each}" for place in found for each in self._forms(place, form).get(form(name), [])]
        return found

    def below(self, folder: Path) -> list[Path]:
        """Return the folders in a folder, sorted."""
        found = [folder / name for name in sorted(self[str(folder)]) if not name.startswith(".")]
        return [path for path in found if path.is_dir()]

    def _forms(self, folder: str, form: Form) -> dict[str, list[str]]:
        if (folder, form) not in self._alike:
            known: dict[str, list[str]] = {}
            for each in sorted(self[folder]):
                known.setdefault(form(each), []).append(each)
            self._alike[folder, form] = known
        return self._alike[folder, form]


def composed(name: str) -> str:
    """Return a name with every accented letter as one character, as most systems write it; macOS writes two."""
    return unicodedata.normalize("NFC", name)


def lower(name: str) -> str:
    """Return a name in lower case, composed."""
    return composed(composed(name).lower())


def _located(coco: CocoAnnotations, folders: Sequence[Path], parts: Sequence[str]) -> tuple[list[str], np.ndarray]:
    listings = Listings()
    names = [_as_written(name, folders, listings) for name in coco.files]
    groups: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        groups.setdefault(os.path.dirname(name), []).append(place)
    paths, absent = [""] * len(names), np.zeros(len(names), bool)
    for group, places in groups.items():
        wanted = [os.path.basename(names[place]) for place in places]
        # Joined with an absolute path it is that path alone.
        candidates = [os.path.join(folder, group) if group else str(folder) for folder in folders]
        best, why = _best(candidates, wanted, listings, parts)
        if why:
            report("%s: pictures were found in %s%s", coco.path, best, why)
        for place, name in zip(places, wanted, strict=True):
            paths[place] = f"{best}/{name}"
            absent[place] = name not in listings[best]
    if absent.all():  # then they may lie in a folder of any name
        inner = [each for folder in folders for each in listings.below(folder)]
        folders = [*folders, *inner, *(each for folder in inner for each in listings.below(folder))]
    if absent.any():
        _locate_otherwise(coco, folders, listings, parts, paths=paths, absent=absent)
    return paths, absent


def _as_written(name: str, folders: Sequence[Path], listings: Listings) -> str:
    """Return the path that a name means; where a file is called so literally, odd as it may be, that is meant."""
    plain = plain_name(name)
    if (
        plain in (name, os.path.normpath(name)) or name.startswith("//") or ".." in re.split(r"[/\\]", name)
    ):  # never out of the folder
        return plain
    inner, base = os.path.split(name)
    return name if any(base in listings[os.path.join(folder, inner)] for folder in folders) else plain


def _best(folders: Sequence[str], wanted: Sequence[str], listings: Listings, parts: Sequence[str]) -> tuple[str, str]:
    """Return the first folder that holds most of some names, and in words why it and not another that does.

    Raises:
        AmbiguousNameError: another holds as many, in which they are different files.
    """
    counts = {
        folder: sum(name in there for name in wanted) if (there := listings[folder]) else 0
        for folder in dict.fromkeys(folders)
    }
    most = max(counts.values())
    rivals = [folder for folder, count in counts.items() if count == most]
    if not most or len(rivals) == 1:
        return rivals[0], ""
    held = [name for name in wanted if all(name in listings[folder] for folder in rivals)]
    name = differing(rivals, held)
    if name is None:
        return rivals[0], ""
    path, why = _one_of(name, [f"{folder}/{name}" for folder in rivals], parts)
    return os.path.dirname(path), why


def _one_of(name: str, found: Sequence[str], parts: Sequence[str]) -> tuple[str, str]:
    try:
        return one_of(found, parts)
    except AmbiguousNameError as error:
        raise AmbiguousNameError(f"{shortened(name)} can be {error}") from error


def _locate_otherwise(
    coco: CocoAnnotations,
    folders: Sequence[Path],
    listings: Listings,
    parts: Sequence[str],
    *,
    paths: list[str],
    absent: np.ndarray,
) -> None:
    """Look for what else the names may mean, bring ``paths`` and ``absent`` up to it, and tell what was found how."""
    ways: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for picture in np.flatnonzero(absent).tolist():
        name = coco.files[picture]
        found = next(((found, way) for found, way in _otherwise(name, folders, listings) if found), None)
        if found is not None:
            paths[picture], why = _one_of(name, found[0], parts)
            absent[picture] = False
            ways[found[1] + why] += 1
            examples.setdefault(found[1] + why, f"{paths[picture]} for {shortened(name)}")
    for way, count in ways.items():
        report('%s: %d of %d pictures are not where "file_name" says and were found %s, such as %s', coco.path, count,
               len(paths), way, examples[way])  # fmt: skip


def _otherwise(name: str, folders: Sequence[Path], listings: Listings) -> Iterator[tuple[list[str], str]]:
    """Yield the files that a name may mean, of one way to read it after the other, and the way in words."""
    plain = plain_name(name).lstrip("/")
    readings = [(plain, "in a folder of another name"), *other_names(name)]
    for other, way in readings:
        inner, base = os.path.split(other)
        places = [os.path.join(folder, inner) if inner else str(folder) for folder in folders]
        yield [f"{place}/{base}" for place in places if base in listings[place]], way
    for other, _ in readings:
        if not other.isascii():
            found = [path for folder in folders for path in listings.alike(str(folder), other, composed)]
            yield found, "in another form of Unicode"
    found = [path for folder in folders for path in listings.alike(str(folder), plain, lower)]
    yield found, "with other upper and lower case"


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
