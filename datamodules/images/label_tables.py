"""Tables of labels, as spreadsheets and scripts write them: which picture shows which class, in which part."""

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from unicodedata import normalize

from datamodules.common.file_names import refuse_escape
from datamodules.common.reports import first_names, report_left_out
from datamodules.images.class_folders import NAME, SPLITS, LabelledPicture, class_name, not_found
from visionscapes.errors import UserError, in_words

FILES = ("labels.csv", "labels.tsv")
DELIMITERS = ",;\t|"
WHOLE_NUMBER = re.compile(r"([+-]?\d+)(\.0*)?")  # as tables of numbers are written where a cell is empty, too
ENCODINGS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}  # by the first bytes; a spreadsheet's "Unicode text"


def table_in(root: Path, named: str | None) -> Path | None:
    """Return the table of labels that is named, or that lies in the folder; None if there is none.

    Raises:
        DatasetNotFoundError: the named one is not there.
        UserError: there are two.
    """
    if named is not None:
        file = root / Path(named).expanduser()
        if not file.is_file():
            raise not_found(root, str(file))
        return file
    found = [root / name for name in FILES if (root / name).is_file()]
    if len(found) > 1:
        names = " and ".join(file.name for file in found)
        raise UserError(f"{root} holds {names}: say which one counts, --data.init_args.labels={found[0].name}")
    return found[0] if found else None


def read_label_table(
    file: Path,
    root: Path,
    path_column: str = "path",
    label_column: str = "label",
    split_column: str = "split",
) -> list[LabelledPicture]:
    """Return the pictures of a table, sorted by path.

    Cells are separated by commas, semicolons, tabs or bars, may be quoted, and lose the blanks around them; the first
    line names the columns, in capital letters or not. Paths may have backslashes. Rows without a label, and rows whose
    picture is missing, are left out and told. Labels that are all whole numbers are numbers; a negative one is none.

    Args:
        file: .csv, .tsv or any other name, in UTF-8 or in UTF-16 with its mark.
        root: where paths start that are not whole.
        path_column: name of the column of paths.
        label_column: name of the column of classes.
        split_column: name of the column of parts (train, val, test); without one, nothing is said of parts.

    Raises:
        DatasetNotFoundError: no picture is there.
        UserError: the file cannot be read as a table, lacks a column, has a row without a path or with an unknown part,
            or names a picture twice with different classes or parts.
    """
    columns, rows = _rows(file, (path_column, label_column, split_column))
    place_of = {column.casefold(): place for place, column in enumerate(columns)}
    places = [place_of.get(name.casefold()) for name in (path_column, label_column, split_column)]
    _check_columns(file, columns, {"path": path_column, "label": label_column}, places[:2])
    if places[2] is None and split_column != "split":
        _check_columns(file, columns, {"split": split_column}, places[2:])
    named = [(line, _cell(row, places[0]), _cell(row, places[1]), _cell(row, places[2])) for line, row in rows]
    refuse_escape((path.replace("\\", "/") for _, path, _, _ in named), file)
    numbers = all(WHOLE_NUMBER.fullmatch(label) for _, _, label, _ in named if label)
    found: dict[Path, tuple[int, LabelledPicture]] = {}
    unlabelled, absent, twice = 0, [], 0
    for line, path, label, split in named:
        if not path:
            raise UserError(f"line {line} of {file} has no {path_column}: mend or remove it")
        label = _number(label) if numbers else class_name(label)
        if not label:
            unlabelled += 1
            continue
        picture = LabelledPicture(_existing(root, path), label, _split(file, line, split, places[2] is not None))
        if not _is_file(picture.path):
            absent.append(picture.path)
            continue
        before = found.setdefault(picture.path, (line, picture))
        twice += before[0] != line
        if before[1] != picture:
            raise UserError(
                f"{file} names {path} in line {before[0]} as {_said(before[1])} and in line {line} as"
                f" {_said(picture)}: remove one of the two"
            )
    report_left_out(NAME, unlabelled, "rows", len(named), "they have no label")
    report_left_out(NAME, len(absent), "rows", len(named), f"their pictures are missing, {first_names(absent, root)}")
    report_left_out(NAME, twice, "rows", len(named), "they repeat others")
    if not found:
        missing = f"any of the {first_names(absent, root)}" if absent else "a row with a label"
        raise not_found(root, f"{missing} ({file})")
    return [found[path][1] for path in sorted(found)]


def in_order(labels: Sequence[str]) -> list[str]:
    """Return the names of classes once each: by number if all of them are numbers, else by the alphabet."""
    different = set(labels)
    numbers = all(re.fullmatch(r"\d+", label) for label in different)
    return sorted(different, key=lambda label: (int(label), label)) if numbers else sorted(different)


def _rows(file: Path, wanted: Sequence[str]) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return the names of the columns, and all other rows with the numbers of their lines."""
    lines = _text(file)
    named = re.match(r"sep=(.)\r?\n", lines)  # as spreadsheets read and write it
    delimiter = named[1] if named else _delimiter(lines, wanted)
    try:
        reader = csv.reader(io.StringIO(lines, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except csv.Error as error:
        raise UserError(f"{file} cannot be read as a table ({in_words(error)}): save it again as CSV") from error
    rows = [(line, row) for line, row in rows[1 if named else 0 :] if any(row)]
    if not rows:
        raise UserError(f"{file} is empty: its first line has to name the columns, {', '.join(wanted[:2])}")
    return rows[0][1], rows[1:]


def _text(file: Path) -> str:
    try:
        content = file.read_bytes()
        return content.decode(ENCODINGS.get(content[:2], "utf-8-sig"))
    except UnicodeError as error:
        raise UserError(f"{file} is no text in UTF-8 ({in_words(error)}): save it as CSV in UTF-8") from error
    except OSError as error:
        raise UserError(f"{file} cannot be read ({in_words(error)}): make it readable") from error


def _delimiter(lines: str, wanted: Sequence[str]) -> str:
    """Return what separates the columns: with which most of the wanted names are found, or which comes most often."""
    first = next((line for line in lines.splitlines() if line.strip()), "")
    counts = Counter(first)

    def known(delimiter: str) -> int:
        names = {cell.strip().casefold() for row in csv.reader([first], delimiter=delimiter) for cell in row}
        return len(names & {name.casefold() for name in wanted})

    return max(DELIMITERS, key=lambda delimiter: (known(delimiter), counts[delimiter]))


def _check_columns(file: Path, columns: list[str], wanted: dict[str, str], places: list[int | None]) -> None:
    missing = [option for option, place in zip(wanted, places, strict=True) if place is None]
    if missing:
        names = " and ".join(f'"{wanted[option]}"' for option in missing)
        options = " and ".join(f"--data.init_args.{option}_column=<name>" for option in missing)
        present = ", ".join(f'"{column}"' for column in columns)
        raise UserError(
            f"{file} has no column {names} in its first line, only {present}: name the columns with {options}, or write"
            " a first line that names them"
        )


def _cell(row: list[str], place: int | None) -> str:
    return row[place] if place is not None and place < len(row) else ""


def _number(label: str) -> str:
    """Return a whole number as it is counted: "3" of "3.0" and "03"; nothing of a negative one, which is no class."""
    found = WHOLE_NUMBER.fullmatch(label)
    return "" if found is None or int(found[1]) < 0 else str(int(found[1]))


def _split(file: Path, line: int, split: str, said: bool) -> str | None:
    if not said:
        return None
    if split.lower() not in SPLITS:
        given = f"'{split}'" if split else "empty"
        raise UserError(f"line {line} of {file} has a part that is {given}: write train, val or test")
    return SPLITS[split.lower()]


def _existing(root: Path, path: str) -> Path:
    """Return where a file is that a table names, whose system may write separators and accents otherwise."""
    spelled = [path, path.replace("\\", "/")]
    spelled += [normalize(form, spelled[1]) for form in ("NFC", "NFD")]
    places = [root / (Path(each).expanduser() if each.startswith("~/") else each) for each in spelled]
    return next((place for place in places if _is_file(place)), places[1])


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # such as a name that is too long
        return False


def _said(picture: LabelledPicture) -> str:
    return picture.label if picture.split is None else f"{picture.label} of {picture.split}"
