"""Pictures in folders that name their classes, with or without folders of parts above them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from unicodedata import normalize

from datamodules.common.errors import DatasetNotFoundError
from datamodules.common.image_files import COPY_SOME, find_images
from datamodules.common.reports import first_names, report, report_left_out
from visionscapes.errors import UserError

NAME = "The labelled set"
SPLITS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
TREE = """
<root>/cat/any.jpg                one folder for each class; folders below it carry no meaning; or, in parts:
<root>/train/cat/any.jpg          train, and if you have them val and test, each with the folders of the classes; or
<root>/labels.csv                 a table (.csv, .tsv) of the columns path and label, and split if you like, with
<root>/any/sub/1.jpg              paths that start at <root>
"""
REMEDIES = (
    "Give the folder that holds the folders of the classes as --data.init_args.root",
    "Name a table of labels with --data.init_args.labels=<file, in the folder or with its whole path>",
    COPY_SOME,
)
InParts = bool | Literal["auto"]


@dataclass(frozen=True)
class LabelledPicture:
    """A file with its class.

    Attributes:
        path: of the file.
        label: name of its class.
        split: "train", "val" or "test"; None where nothing is said.
    """

    path: Path
    label: str
    split: str | None = None


def not_found(root: Path, missing: str) -> DatasetNotFoundError:
    """Return the error of a labelled set that is not there."""
    return DatasetNotFoundError(name=NAME, looked_in=root, expected=TREE, remedies=REMEDIES, missing=missing)


def class_name(text: str) -> str:
    """Return the name of a class without the blanks around it, its accents as one character each.

    Some systems write them as two, so that a name would not equal itself.
    """
    return normalize("NFC", text.strip())


def read_class_folders(root: Path, in_parts: InParts = "auto") -> list[LabelledPicture]:
    """Return the pictures in the folders of classes, sorted by path.

    What lies in no such folder is left out and told, and so are folders without a picture; hidden ones are passed over.

    Args:
        root: holds the folders of the classes, or folders of parts (train, val, test) that do.
        in_parts: whether it holds parts; "auto" if all of its folders with pictures are called so, train among them.

    Raises:
        DatasetNotFoundError: the folder is missing, holds no picture, or no folder with pictures.
        UserError: some folders are parts and others are not, or two are the same part.
    """
    paths = find_images(root, name=NAME, expected=TREE, remedies=REMEDIES)
    inner = {path: path.relative_to(root).parts for path in paths}
    tops = sorted({parts[0] for parts in inner.values() if len(parts) > 1})
    parts_of = {top: SPLITS[top.lower()] for top in tops if top.lower() in SPLITS}
    level = 1 if _are_parts(root, tops, parts_of, in_parts) else 0
    found, loose = [], []
    for path, parts in inner.items():
        if len(parts) <= level + 1 or (level and parts[0] not in parts_of):
            loose.append(path)
            continue
        found.append(LabelledPicture(path, class_name(parts[level]), parts_of[parts[0]] if level else None))
    if not found:
        raise not_found(root, f"folders of classes: {first_names(loose, root)} lie in none")
    report_left_out(
        NAME, len(loose), "pictures", len(paths), f"they lie in no class folder, {first_names(loose, root)}"
    )
    _tell_empty(root, [root / top for top in parts_of] if level else [root], paths)
    return found


def tell_odd_names(classes: list[str]) -> None:
    """Tell of classes whose names differ in nothing but capital letters, which are mostly meant to be one."""
    by_name: dict[str, list[str]] = {}
    for name in classes:
        by_name.setdefault(name.casefold(), []).append(name)
    alike = [" and ".join(names) for names in by_name.values() if len(names) > 1]
    if alike:
        report("%s: classes differ in capital letters alone, and count as different: %s", NAME, ", ".join(alike))


def _are_parts(root: Path, tops: list[str], parts_of: dict[str, str], in_parts: InParts) -> bool:
    """Return whether the folders are parts of the set rather than classes."""
    others = [top for top in tops if top not in parts_of]
    if in_parts is False or not parts_of:
        if in_parts is True:
            raise not_found(root, f"a folder train with pictures, among {', '.join(others) or 'no folders'}")
        return False
    twice = sorted({name for name in parts_of.values() if list(parts_of.values()).count(name) > 1})
    has_train = "train" in parts_of.values()
    if in_parts == "auto":
        if others and has_train and len(parts_of) > 1:
            raise UserError(
                f"{root} has the parts {', '.join(parts_of)} and beside them pictures in {', '.join(others)}: move"
                " these away, or say with --data.init_args.in_parts=false that all of them are classes, or with true"
                " that they are to be left out"
            )
        if others:
            return False
    if not has_train:
        raise not_found(root, f"a folder train with pictures beside {', '.join(parts_of)}")
    if twice:
        names = ", ".join(top for top, part in parts_of.items() if part in twice)
        raise UserError(f"{root} has the part {twice[0]} more than once ({names}): merge these folders")
    return True


def _tell_empty(root: Path, folders: list[Path], paths: list[Path]) -> None:
    """Tell which folders of classes hold no picture."""
    holding = {folder for path in paths for folder in path.parents}
    inner = [each for folder in folders for each in sorted(folder.iterdir()) if each.is_dir() and each.name[0] != "."]
    empty = [each for each in inner if each not in holding and each.name.lower() not in SPLITS]
    report_left_out(NAME, len(empty), "folders", len(inner), f"they hold no picture, {first_names(empty, root)}")
