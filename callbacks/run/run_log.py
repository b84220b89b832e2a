"""The log that every run keeps: ``metrics.csv`` in the run folder."""

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter
from pytorch_lightning.loggers.logger import rank_zero_experiment
from typing_extensions import override

from visionscapes.errors import UserError
from visionscapes.files import atomic_write


class RunLog(CSVLogger):
    """Lightning's CSV log in the run folder itself, on disk at every row, with the rows of earlier sessions kept.

    Args:
        folder: the run folder.
        resumed_step: step of the log at which the checkpoint was saved that the run resumes from. Later rows belong to
            batches that will be trained again, and are dropped; None keeps every row, -1 none.
    """

    def __init__(self, folder: Path, resumed_step: int | None = None):
        super().__init__(save_dir=folder, name="", version="", flush_logs_every_n_steps=1)
        self.resumed_step = resumed_step

    @property
    @rank_zero_experiment
    @override
    def experiment(self) -> "RunLogWriter":
        if not isinstance(self._experiment, RunLogWriter):
            self._experiment = RunLogWriter(self.log_dir, self.resumed_step)
        return self._experiment

    @override
    def log_hyperparams(self, params: Any = None) -> None:
        """Do nothing: ``cli_config.yaml`` holds them."""


class RunLogWriter(ExperimentWriter):
    """Appends rows; rewrites the file, atomically, only when a new column appears."""

    def __init__(self, log_dir: str, resumed_step: int | None = None):
        super().__init__(log_dir)
        self._known: set[tuple[int, frozenset[str]]] = set()
        self._whole = 0  # bytes of the file that end with a whole row
        path = Path(self.metrics_file_path)
        if path.exists():
            whole = [] if resumed_step == -1 else _whole_rows(path)
            rows = [row for row in whole if resumed_step is None or _step(row) <= resumed_step]
            filled = {name for row in rows for name in _columns(row)}
            self.metrics_keys = [name for name in (rows[0] if rows else ()) if name in filled]
            if rows:
                self._rewrite(rows)
            else:
                path.unlink()
            # Whether the step of the checkpoint itself is trained again depends on where in the loop it was saved.
            self._known = {(_step(row), _columns(row)) for row in rows if _step(row) == resumed_step}

    @override
    def log_metrics(self, metrics_dict: dict[str, Any], step: int | None = None) -> None:
        """Record a row, unless the earlier session has just this one."""
        if (step, _columns(metrics_dict | {"step": step})) not in self._known:
            super().log_metrics(metrics_dict, step)

    @override
    def save(self) -> None:
        """Append the rows, and take back what of them was written where the disk is full."""
        path = Path(self.metrics_file_path)
        self._whole = path.stat().st_size if path.exists() else 0
        try:
            super().save()
        except OSError:
            if self._whole:
                os.truncate(path, self._whole)
            elif path.is_file():  # a link to nowhere is the user's
                path.unlink()
            raise

    @override
    def _check_log_dir_exists(self) -> None:
        """Keep the file that Lightning would delete here."""

    @override
    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        with open(self.metrics_file_path, newline="") as file:
            self._rewrite(list(csv.DictReader(file)))

    def _rewrite(self, rows: list[dict[str, Any]]) -> None:
        with atomic_write(Path(self.metrics_file_path), "w", newline="") as file:
            writer = csv.DictWriter(file, self.metrics_keys, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
        self._whole = Path(self.metrics_file_path).stat().st_size


def _whole_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a log without one that a crash has cut off, which is the last one and has no line end.

    Raises:
        UserError: the file is no log.
    """
    with path.open(newline="", errors="replace") as file:
        lines = [line for line in file if line.endswith("\n")]
    reader = csv.DictReader(lines)
    if lines and "step" not in (reader.fieldnames or ()):
        raise UserError(
            f"{path} is no log of a run, its first line names no column 'step': move it away and go on with --resume "
            f"--name {path.parent.name}"
        )
    width, read = len(reader.fieldnames or ()), list(reader)
    rows = [row for row in read if len(row) == width and (row.get("step") or "").isdigit()]
    if others := len(read) - len(rows):
        print(f"note: {path}: left out {others} line{'s' * (others > 1)} that {'are' if others > 1 else 'is'} no row")
    return rows


def _step(row: Mapping[str, str]) -> int:
    return int(row["step"])


def _columns(row: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(name for name, value in row.items() if value not in (None, ""))
