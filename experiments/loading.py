"""Reading the tables: ``experiments/<method>/table_8_1.yaml`` checked and turned into cells and claims.

``section_3_3_7.yaml`` is for numbers that the thesis gives in the text of a section.

A file holds, at ``paper`` and ``embedded`` scale, a grid whose cells say which figure of which run they show; the
thesis' numbers as printed; and the claims that the text draws from them::

    title: Keypoint correspondence on SPair-71k
    section: 8.3.1
    paper:
      runs:
        DINO: {config: configs/paper/lift.yaml}                       # fit, unless command: says otherwise
        SPair: {command: test, config: configs/paper/lift_spair.yaml, checkpoints: {ckpt_path: DINO}}
        Other: {config: b.yaml, files: {data.root: Made/folder/file}}  # what the run Made has left in its folder
        Deep: {config: c.yaml, seeded: [seed_everything, data.init_args.real.init_args.seed]}  # what takes the seed
      cell: {run: SPair, metric: PCK@0.1, factor: 100}                # of all; names may hold {row} and {column}
      columns: {image_size: [224, 448]}                               # the product of these, or label: {...} for each
      rows: {DINO: {method: base}, DINO+LiFT: {method: LiFT}}
    thesis: {DINO: [24.76, 28.6], DINO+LiFT: [28.68, 31.38]}          # in the rows and columns of paper
    embedded: ...                                                     # a grid like paper
    claims:
      - {text: LiFT is better, section: 8.3.1, paper: {more: DINO+LiFT, less: DINO}, embedded: ...}
      - {text: It is above 20 %, section: 8.3.1, paper: {more: DINO+LiFT, than: 20}}
    pictures: {docs/images/lift.png: "What it does, seed 0"}          # of the embedded world, for the report
"""

import json
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from experiments.claims import CONSTANT, Contrast
from experiments.tables import FOLDER, SCALES, Claim, FigureSource, Grid, Run, ThesisTable
from visionscapes.errors import UserError

PICTURES = "docs/images/"
COMMANDS = ("fit", "validate", "test", "predict")


def suggest(name: str, known: Iterable[str]) -> str:
    """Return the end of an error message about an unknown name: the closest known one, and all of them."""
    known = list(known)
    close = get_close_matches(name, known, n=1)
    return (f"; did you mean {close[0]}?" if close else ";") + f" known: {', '.join(known)}"


def _checked(value: Any, where: str, required: str, optional: str = "") -> dict[str, Any]:
    """Return ``value`` if it is a mapping with the required keys and no unknown ones."""
    if not isinstance(value, Mapping):
        raise UserError(f"{where}: expected a mapping with {required or optional}, found {value!r}")
    allowed = [*required.split(), *optional.split()]
    for key in value:
        if key not in allowed:
            raise UserError(f"{where}: unknown key {key!r}{suggest(str(key), allowed)}")
    for key in required.split():
        if key not in value:
            raise UserError(f"{where}: the key {key!r} is missing")
    return dict(value)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _argument(value: Any) -> str:
    """Return a YAML value as it is written on a command line."""
    return value if isinstance(value, str) else json.dumps(value)


def _runs(value: Any, where: str) -> dict[str, Run]:
    runs: dict[str, Run] = {}
    for name, entry in value.items():
        here = f"{where}, run {name!r}"
        entry = _checked(entry, here, "config", "command overrides checkpoints files seeded")
        named = {argument: (source, "") for argument, source in entry.get("checkpoints", {}).items()}
        for argument, value in entry.get("files", {}).items():
            source, _, path = str(value).partition("/")
            named[argument] = source, path
            if not path:
                raise UserError(f"{here}: {argument} is {value!r}; it has to be a run and a path, Run/x.json")
        for source, _ in named.values():
            if source not in runs:
                raise UserError(f"{here}: starts from {source!r}, which no run above it is called")
        command = entry.get("command", "fit")
        if command not in COMMANDS:
            raise UserError(f"{here}: command {command!r}{suggest(command, COMMANDS)}")
        overrides = tuple((key, _argument(value)) for key, value in sorted(entry.get("overrides", {}).items()))
        configs = tuple(_listed(entry["config"]))
        runs[name] = Run(
            name,
            command,
            configs,
            overrides=overrides,
            checkpoints=tuple(
                (argument, runs[source]) for argument, (source, path) in sorted(named.items()) if not path
            ),
            files=tuple((argument, runs[source], path) for argument, (source, path) in sorted(named.items()) if path),
            seeded=tuple(_listed(entry.get("seeded", []))),
        )
    return runs


def _columns(value: Any, where: str) -> dict[str, dict[str, Any]]:
    """Return label -> selection for a product of lists, or for selections that have labels already."""
    if not isinstance(value, Mapping) or not value:
        raise UserError(f"{where}: columns are a product such as {{image_size: [56, 112]}}, or label: {{...}} for each")
    if all(isinstance(selection, Mapping) for selection in value.values()):
        return {str(label): dict(selection) for label, selection in value.items()}
    keys, lists = list(value), [_listed(values) for values in value.values()]
    varying = [key for key, values in zip(keys, lists, strict=True) if len(values) > 1] or keys
    selections = [dict(zip(keys, values, strict=True)) for values in product(*lists)]
    return {" ".join(_label(key, selection[key]) for key in varying): selection for selection in selections}


def _label(key: str, value: Any) -> str:
    return f"{value} px" if key == "image_size" else str(value)


def _filled(text: Any, row: str, column: str) -> str:
    return str(text).replace("{row}", row).replace("{column}", column)


def _grid(value: Any, where: str) -> Grid:
    entry = _checked(value, where, "runs columns rows", "cell note")
    runs = _runs(entry["runs"], where)
    columns = _columns(entry["columns"], where)
    cells = {}
    for row, row_selection in entry["rows"].items():
        for column, column_selection in columns.items():
            here = f"{where}, cell ({row}, {column})"
            selection = {**entry.get("cell", {}), **column_selection, **row_selection}
            selection = _checked(selection, here, "run metric method image_size", "factor")
            names = [_filled(name, str(row), column) for name in _listed(selection.pop("run"))]
            for key in ("metric", "method"):
                selection[key] = _filled(selection[key], str(row), column)
            for name in names:
                if name not in runs:
                    raise UserError(f"{here}: no run is called {name!r}{suggest(name, runs)}")
            cells[str(row), column] = FigureSource(tuple(runs[name] for name in names), **selection)
    return Grid(runs, tuple(str(row) for row in entry["rows"]), columns, cells=cells, note=entry.get("note", ""))


def _selected(at: Any, grid: Grid, where: str) -> list[str]:
    """Return the columns that ``at`` names: all, labels, or those that match ``{key: value or values}``."""
    if at is None:
        return list(grid.columns)
    if isinstance(at, Mapping):
        wanted = {key: _listed(values) for key, values in at.items()}
        labels = [
            label
            for label, selection in grid.columns.items()
            if all(selection.get(key) in values for key, values in wanted.items())
        ]
    else:
        labels = [str(label) for label in _listed(at)]
    unknown = [label for label in labels if label not in grid.columns]
    if unknown or not labels:
        raise UserError(f"{where}: no column matches {unknown or at}{suggest(str(at), grid.columns)}")
    return labels


def _contrasts(value: Any, grid: Grid, where: str) -> tuple[Contrast, ...]:
    """Return the comparisons of ``{more, less, over, at, less_at, times, than}``.

    For every row of ``more``, row of ``less`` (that of ``more`` if not given) and column of ``at`` with its partner in
    ``less_at`` (the same if not given; one column goes with all of the other list): more - times * less; with ``over``,
    both are measured against that row. With ``than``, a number, more - than or than - less, or, where both rows are
    given, more - times * less - than.
    """
    entry = _checked(value, where, "", "more less over at less_at times than")
    columns = _selected(entry.get("at"), grid, where)
    partners = _selected(entry["less_at"], grid, where) if "less_at" in entry else columns
    pairs = _paired(columns, partners, where)
    rows = {key: [str(row) for row in _listed(entry[key])] for key in ("more", "less", "over") if key in entry}
    for row in (row for listed in rows.values() for row in listed):
        if row not in grid.rows:
            raise UserError(f"{where}: no row is called {row!r}{suggest(row, grid.rows)}")
    times = float(entry.get("times", 1))
    offset = {CONSTANT: float(entry["than"])} if "than" in entry else {}
    if "more" not in rows:
        if "less" not in rows or not offset:
            raise UserError(f"{where}: a comparison needs more, or less with than")
        return tuple({(row, column): -times, **offset} for row in rows["less"] for column in columns)
    offset = {cell: -number for cell, number in offset.items()}
    if offset and not {"less", "less_at", "over"} & entry.keys():
        return tuple({(row, column): 1.0, **offset} for row in rows["more"] for column in columns)
    contrasts = []
    for more in rows["more"]:
        for less, (column, partner) in product(rows.get("less", [more]), pairs):
            contrast: dict[tuple[str, str], float] = {}
            terms = [(more, column, 1.0), (less, partner, -times)]
            for over in rows.get("over", []):
                terms += [(over, column, -1.0), (over, partner, times)]
            for row, label, weight in terms:
                contrast[row, label] = contrast.get((row, label), 0.0) + weight
            if not any(contrast.values()):
                raise UserError(f"{where}: compares ({more}, {column}) with itself; it needs less or less_at")
            contrasts.append({**contrast, **offset})
    return tuple(contrasts)


def _paired(columns: list[str], partners: list[str], where: str) -> list[tuple[str, str]]:
    """Return the columns of ``at`` with those of ``less_at``; a single one goes with all of the other list."""
    count = max(len(columns), len(partners))
    if not {len(columns), len(partners)} <= {1, count}:
        raise UserError(f"{where}: less_at has {len(partners)} columns for the {len(columns)} of at")
    return list(zip(columns * (count // len(columns)), partners * (count // len(partners)), strict=True))


def _checked_pictures(value: Any, where: str) -> dict[str, str]:
    if not isinstance(value, Mapping) or not all(str(name).startswith(PICTURES) for name in value):
        raise UserError(f"{where}: pictures are a mapping such as {{{PICTURES}lift.png: its caption}}, found {value!r}")
    return {str(name): str(caption) for name, caption in value.items()}


def _claim(value: Any, grids: Mapping[str, Grid], where: str) -> Claim:
    entry = _checked(value, where, "text section", "across embedded paper")
    across = entry.get("across", "every")
    if across not in ("every", "most", "mean"):
        raise UserError(f"{where}: across {across!r}{suggest(str(across), ('every', 'most', 'mean'))}")
    for scale in SCALES:
        if scale in entry and scale not in grids:
            raise UserError(f"{where}: is asked at {scale} scale, where the table has no grid")
    contrasts = {
        scale: tuple(contrast for one in _listed(entry[scale]) for contrast in _contrasts(one, grids[scale], where))
        for scale in SCALES
        if scale in entry
    }
    return Claim(entry["text"], str(entry["section"]), contrasts, across=across)


def load_table(path: Path) -> ThesisTable:
    """Return the table of a file.

    Args:
        path: ``experiments/<method>/<table>.yaml``.

    Raises:
        UserError: the file is not as the head of this module describes; the message names file and place.
    """
    try:
        content = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise UserError(f"{path}: no valid YAML: {error}") from error
    entry = _checked(content, str(path), "title section claims", "unit digits paper embedded thesis pictures")
    grids = {scale: _grid(entry[scale], f"{path}, {scale}") for scale in SCALES if scale in entry}
    thesis = {str(row): tuple(numbers) for row, numbers in entry.get("thesis", {}).items()}
    if thesis and "paper" not in grids:
        raise UserError(f"{path}: the thesis' numbers need the rows and columns of paper")
    for row, numbers in thesis.items():
        if row not in grids["paper"].rows:
            raise UserError(f"{path}, thesis: no row is called {row!r}{suggest(row, grids['paper'].rows)}")
        if len(numbers) != len(grids["paper"].columns):
            columns = len(grids["paper"].columns)
            raise UserError(f"{path}, thesis, row {row!r}: {len(numbers)} numbers for {columns} columns")
    claims = tuple(_claim(claim, grids, f"{path}, claim {i}") for i, claim in enumerate(entry["claims"], 1))
    return ThesisTable(
        path.stem,
        path.parent.name,
        entry["title"],
        section=str(entry["section"]),
        unit=entry.get("unit", ""),
        digits=int(entry.get("digits", 2)),
        grids=grids,
        thesis=thesis,
        claims=claims,
        pictures=_checked_pictures(entry.get("pictures", {}), str(path)),
    )


def load_tables(folder: Path | None = None) -> dict[str, ThesisTable]:
    """Return all tables by name, in the order of the thesis.

    Args:
        folder: holds one folder a method; this package if None.
    """
    paths = (folder or FOLDER).glob("*/*.yaml")
    return {path.stem: load_table(path) for path in sorted(paths, key=lambda path: _place(path.stem))}


def _place(name: str) -> tuple[list[tuple[int, str]], bool, list[tuple[int, str]], str]:
    """Return what puts tables in order: chapter, then the numbered tables and figures before sections, then number."""
    kind, *parts = name.split("_")
    numbers = [(len(part), part) for part in parts]
    return numbers[:1], kind == "section", numbers[1:], name
