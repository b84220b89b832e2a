"""The record of a run: what was executed, with what, on what, and how it ended."""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from typing_extensions import override

from visionscapes.checks import check_options
from visionscapes.errors import in_words
from visionscapes.files import NO_SPACE, overwrite_bytes, write_bytes, write_json
from visionscapes.precision import processor_abilities

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (
    "torch",
    "torchvision",
    "pytorch-lightning",
    "torchmetrics",
    "timm",
    "lightly",
    "diffusers",
    "mmdet",
    "numpy",
    "jsonargparse",
)


class RunRecord(Callback):
    """Writes ``manifest.json`` into the run folder when a run starts, and completes it when the run ends.

    ``status`` is "starting", "running", "finished", "interrupted" or "failed: <message>"; a run that was killed stays
    as it was. The records of the sessions before a resume stand under ``earlier``.

    Args:
        command: the words of the command line; those of this process if None.
        resumed_from: the checkpoint that the run starts from, if any.
        session: what tells the commands of one cluster job apart.

    Raises:
        UserError: an option is of the wrong kind.
    """

    def __init__(
        self,
        command: list[str] | None = None,
        resumed_from: str | None = None,
        session: Mapping[str, Any] | None = None,
    ):
        check_options(RunRecord, locals())
        self.command = sys.argv if command is None else command
        self.resumed_from = resumed_from
        self.session = session
        self._began = time.monotonic()
        self._path: Path | None = None
        self._before: bytes | None = None
        self._record: dict[str, Any] = {}

    def begin(self, folder: Path) -> None:
        """Write the record of a run that has a folder and no trainer yet.

        Raises:
            OSError: the folder cannot be written to.
        """
        self._path = folder / "manifest.json"
        self._before = self._path.read_bytes() if self._path.is_file() else None
        self._record = self._start(self._path)
        self.end("starting")

    def end(self, status: str) -> None:
        """Write how the run ended, or where it is; does nothing on processes that keep no record.

        Raises:
            OSError: the disk is full, or the folder gone.
        """
        if self._path is not None:
            self._record |= {"status": status, "wall_time_s": round(time.monotonic() - self._began, 1)}
            write_json(self._path, self._record)

    def add(self, figures: Mapping[str, Any]) -> None:
        """Write down what is known only while the run goes on.

        Args:
            figures: plain values by name.

        Raises:
            OSError: the disk is full, or the folder gone.
        """
        self._record |= figures
        self.end("running")

    def withdraw(self) -> None:
        """Put back what was there before: the run did not begin."""
        if self._path is None:
            return
        if self._before is None:
            self._path.unlink(missing_ok=True)
        else:
            write_bytes(self._path, self._before)

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._prepare(trainer)
        if trainer.is_global_zero:
            self._record |= {"world_size": trainer.world_size, "precision": str(trainer.precision)}
            self._record |= {"precision_reason": reason_of_precision(trainer)}
            self._record |= {"hardware": self._record["hardware"] or hardware()}
        self.end("running")

    @override
    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.end("finished")

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Write how the run ended, as far as that is possible: the exception that is on its way says more."""
        with suppress(OSError):
            self._prepare(trainer)
            interrupted = isinstance(exception, KeyboardInterrupt | SystemExit)
            self.end_at_last("interrupted" if interrupted else f"failed: {exception}")

    def end_at_last(self, status: str) -> None:
        """Write how the run ended, over the old record if a full disk leaves no other place.

        Raises:
            OSError: not even that is possible.
        """
        try:
            self.end(status)
        except OSError as error:
            if error.errno not in NO_SPACE or self._path is None:
                raise
            # What a longer record has no room for is the message; the terminal shows it.
            for self._record["status"] in (status, status.split(":")[0]):
                if overwrite_bytes(self._path, json.dumps(self._record).encode()):
                    return
            raise

    def _prepare(self, trainer: Trainer) -> None:
        """Take the trainer's folder where none was given before: in Python, without the command line."""
        if self._path is None and trainer.is_global_zero:
            self._path = Path(trainer.default_root_dir) / "manifest.json"
            self._record = self._start(self._path)

    def _start(self, path: Path) -> dict[str, Any]:
        seed = os.environ.get("PL_GLOBAL_SEED")
        return {
            "command": self.command,
            "git": git_state(ROOT),
            "seed": None if seed is None else int(seed),
            "start": datetime.now().astimezone().isoformat(timespec="seconds"),
            "world_size": None,
            "precision": None,
            "precision_reason": None,
            "resumed_from": self.resumed_from,
            "versions": versions(),
            "hardware": None,  # to look for GPUs is the trainer's business
            "slurm_job": os.environ.get("SLURM_JOB_ID"),
            "session": self.session,
            "earlier": earlier_sessions(path),
        }


def reason_of_precision(trainer: Trainer) -> str:
    """Return why the trainer computes in its precision: "given", or what became of another one and why."""
    chosen = getattr(trainer, "chosen_precision", None)
    return "given" if chosen is None else f"{getattr(trainer, 'asked_precision', 'auto')}: {chosen.reason}"


def earlier_sessions(path: Path) -> list[dict[str, Any]]:
    """Return what the manifest at ``path`` says of the sessions so far; none if it is missing or damaged."""
    try:
        before = json.loads(path.read_text())
        last = {key: before[key] for key in ("command", "start", "wall_time_s", "status")}
        return [*before["earlier"], last | {key: before[key] for key in ("precision",) if before.get(key)}]
    except (OSError, ValueError, KeyError, TypeError) as error:
        if path.exists() and not isinstance(error, KeyError):  # of a version that kept less
            print(f"note: {path} cannot be read, and what it said of earlier sessions is lost ({in_words(error)})")
        return []


def git_state(folder: Path) -> dict[str, Any] | None:
    """Return the commit of a work tree and whether files differ from it; None without git or outside a work tree.

    Records of other runs do not count: otherwise the first of a table would make all others dirty.
    """
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        records = ":(exclude,top,glob)experiments/*/results/**"
        changed = _git(folder, "status", "--porcelain", "--untracked-files=all", "--", ":/", records)
        return {"commit": commit, "dirty": bool(changed)}
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout.strip()


def versions() -> dict[str, str]:
    """Return the version of Python and of the packages that decide results, those that are installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, Any]:
    """Return platform, processor and its abilities, usable cores, memory in GB, and the names of the GPUs."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        cores = os.cpu_count() or 1
    try:
        memory = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (AttributeError, ValueError, OSError):
        memory = None
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "platform": platform.platform(),
        "cpu": _cpu_model(),
        "cpu_abilities": processor_abilities(),
        "cores": cores,
        "memory_gb": memory,
        "gpus": gpus,
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
