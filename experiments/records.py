"""What is kept of the runs: small JSON files that say what ran, from what, where, and what came out."""

import csv
import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from experiments.tables import FOLDER, FigureSource, Run
from visionscapes.errors import UserError
from visionscapes.files import write_text
from visionscapes.renamed_options import old_name, with_old_names

ROOT = FOLDER.parent
COLUMNS = {"metric", "method", "image_size", "value", "standard_error", "count"}  # of a run's figures
# Of the run's manifest; its command and folders are left out because they name paths of one machine.
PROVENANCE = ("git", "versions", "hardware", "world_size", "precision")


@dataclass(frozen=True)
class Record:
    """A finished run, kept in ``experiments/<method>/results/<id>.json``.

    Args:
        id: see ``run_id``.
        scale: "embedded" or "paper".
        seed: of the run.
        command: arguments of ``python cli.py``; a checkpoint stands as the id of the run that it comes from.
        inputs: file -> digest, see ``inputs_of``.
        started: UTC, ISO 8601.
        wall_time: in seconds.
        provenance: git commit, versions and hardware, out of the run's manifest.
        metrics: rows (metric, method, image size, value, standard error, count); values in the unit of the metric.
    """

    id: str
    scale: str
    seed: int
    command: list[str]
    inputs: dict[str, str]
    started: str
    wall_time: float
    provenance: dict[str, Any]
    metrics: list[list[Any]] = field(repr=False)

    @property
    def precision(self) -> str:
        """What the run computed in, such as "32-true"."""
        return self.provenance.get("precision", "unknown")

    def figure(self, cell: FigureSource) -> float | None:
        """Return the figure that a cell shows, None if the run has not measured it."""
        for metric, method, image_size, value, *_ in self.metrics:
            if (metric, method, image_size) == (cell.metric, cell.method, cell.image_size):
                return None if value is None else value * cell.factor
        return None

    def outdated(self, root: Path = ROOT) -> list[str]:
        """Return the inputs that have changed since; a file that is not on this machine cannot be told to have."""
        paths = {name: root / name for name in self.inputs}
        return [name for name, path in paths.items() if path.is_file() and digest_of(path) != self.inputs[name]]


def run_id(run: Run, scale: str, seed: int) -> str:
    """Return the name of a run with a seed: readable, and another whenever command, configs or arguments are others."""
    identity = json.dumps([scale, _identity(run)])
    words = [scale, *(Path(config).stem for config in run.configs)]
    words += [f"{key.rpartition('.')[2]}_{Path(value).name}" for key, value in _overrides(run)]
    readable = re.sub(r"[^\w.-]+", "_", "-".join(words))[:60]
    return f"{readable}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}-seed{seed}"


def _identity(run: Run) -> list[Any]:
    checkpoints = [[argument, _identity(source)] for argument, source in run.checkpoints]
    files = [[argument, _identity(source), path] for argument, source, path in run.files]
    # What only some runs have is left out of the others, so that these stay the same.
    return [run.command, run.configs, _overrides(run), checkpoints, *filter(None, [files, list(run.seeded)])]


def _overrides(run: Run) -> list[tuple[str, str]]:
    """Return the overrides by the names that their options had first, so that a run stays the same under new names."""
    named = [(old_name(key), value) for key, value in run.overrides]
    return named if named == list(run.overrides) else sorted(named)


def digest_of(path: Path) -> str:
    """Return a short digest of a file's content; for YAML of what it says, so that a comment does not count.

    Nor does it count whether options have their first names or those of today, nor whether bfloat16 is asked for on all
    hardware or, with "auto", on that which is quick in it: records say themselves what their run computed in.
    """
    content = path.read_bytes()
    if path.suffix == ".yaml":
        said = _as_before_auto(_with_old_names(yaml.safe_load(content)))
        content = json.dumps(said, sort_keys=True, default=str).encode()
    return hashlib.sha256(content).hexdigest()[:12]


def _with_old_names(content: Any) -> Any:
    """Return a configuration with the options of its module as they were called first."""
    model = content.get("model") if isinstance(content, Mapping) else None
    if not isinstance(model, Mapping) or not isinstance(model.get("init_args"), Mapping):
        return content
    name = str(model.get("class_path")).rpartition(".")[2]
    return {**content, "model": {**model, "init_args": with_old_names(name, model["init_args"])}}


def _as_before_auto(content: Any) -> Any:
    """Return a configuration with the precision that one with "auto" had before there was such a thing."""
    trainer = content.get("trainer") if isinstance(content, Mapping) else None
    if not isinstance(trainer, Mapping) or trainer.get("precision") != "auto":
        return content
    return {**content, "trainer": {**trainer, "precision": "bf16-mixed"}}


def inputs_of(run: Run, root: Path = ROOT) -> dict[str, str]:
    """Return file -> digest for what a run and those that it starts from read out of the repository.

    Args:
        run: its configs count, and the files that these and its overrides name (weights).
        root: the repository.

    Raises:
        UserError: a config is missing.
    """
    inputs: dict[str, str] = {}
    for source in run.sources:
        inputs |= inputs_of(source, root)
    named = [*run.configs, *(value for _, value in run.overrides)]
    for config in run.configs:
        if not (root / config).is_file():
            raise UserError(f"run {run.name!r} needs {config}, which is not there")
        named += _strings(yaml.safe_load((root / config).read_text()))
    for name in named:
        if len(name) < 200 and not Path(name).is_absolute() and (root / name).is_file():
            inputs[name] = digest_of(root / name)
    return dict(sorted(inputs.items()))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for item in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        yield from _strings(item)


def read_metrics(folder: Path) -> list[list[Any]]:
    """Return the rows of a run's ``results/*.csv`` as ``Record.metrics``, to six significant digits.

    Other CSV files, such as the tables that a report makes of them, are passed over, and so are figures of single
    layers ("k-NN top-1 @3"), of which an analysis has thousands.
    """
    rows: list[list[Any]] = []
    for path in sorted(folder.glob("*.csv")):
        with path.open(newline="") as file:
            reader = csv.DictReader(file)
            if not COLUMNS.issubset(reader.fieldnames or ()):
                continue
            for row in reader:
                if " @" in row["metric"]:
                    continue
                value, error = _number(row["value"]), _number(row["standard_error"])
                size, count = int(float(row["image_size"])), int(float(row["count"]))
                rows.append([row["metric"], row["method"], size, value, error, count])
    return rows


def _number(text: str) -> float | None:
    number = float(text or "nan")
    return float(f"{number:.6g}") if math.isfinite(number) else None


def read_provenance(run_folder: Path) -> dict[str, Any]:
    """Return what the run's ``manifest.json`` says about code, software and hardware."""
    path = run_folder / "manifest.json"
    manifest = json.loads(path.read_text()) if path.is_file() else {}
    return {key: manifest[key] for key in PROVENANCE if key in manifest}


class Records:
    """The records of one method.

    Args:
        folder: where they lie; need not exist yet.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._read: dict[str, Record] = {}

    def find(self, run: Run, scale: str, seed: int) -> Record | None:
        """Return the record of a run, None if it has not finished yet.

        Raises:
            UserError: the file is no record.
        """
        name = run_id(run, scale, seed)
        path = self.folder / f"{name}.json"
        if name not in self._read and path.is_file():
            try:
                self._read[name] = Record(**json.loads(path.read_text()))
            except (json.JSONDecodeError, TypeError) as error:
                raise UserError(f"{path} is no record of a run ({error}); delete it and run its table again") from error
        return self._read.get(name)

    def seeds(self, run: Run, scale: str) -> set[int]:
        """Return the seeds with which a run is recorded."""
        stem = run_id(run, scale, 0).removesuffix("0")
        return {int(path.stem.removeprefix(stem)) for path in self.folder.glob(f"{stem}*.json")}

    def figure(self, cell: FigureSource, scale: str, seed: int) -> float | None:
        """Return the figure of a cell with one seed, None if no record has it."""
        records = (self.find(run, scale, seed) for run in cell.runs)
        figures = (record.figure(cell) for record in records if record)
        return next((figure for figure in figures if figure is not None), None)

    def save(self, record: Record) -> None:
        """Write a record, whole or not at all."""
        content = asdict(record)
        rows = ",\n".join(
            f"  {json.dumps(row)}" for row in content.pop("metrics")
        )  # one line each: reads well in a diff
        head = json.dumps(content, indent=1).removesuffix("\n}")
        write_text(self.folder / f"{record.id}.json", f'{head},\n "metrics": [\n{rows}\n ]\n}}\n')
        self._read[record.id] = record
