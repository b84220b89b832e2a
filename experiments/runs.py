"""Running what a table needs: each run once, through ``cli.py``, in a process of its own."""

import hashlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from experiments.records import ROOT, Record, Records, inputs_of, read_metrics, read_provenance, run_id
from experiments.tables import SEEDED, Run
from visionscapes.errors import UserError

CHECKPOINT = "checkpoints/last.ckpt"
STOPPED = (130, 143, -2, -15)  # exit status after SIGINT and SIGTERM, handled by cli.py or not


def launch(arguments: list[str]) -> int:
    """Run ``python cli.py`` with these arguments and return its exit status.

    A signal to stop is left to ``cli.py``, which saves a checkpoint first: Ctrl-C reaches it from the terminal, SIGTERM
    is handed on.
    """
    process = subprocess.Popen([sys.executable, "cli.py", *arguments], cwd=ROOT)
    before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                continue
    finally:
        signal.signal(signal.SIGTERM, before)


def command_of(run: Run, scale: str, seed: int, left_by: Callable[[Run, str], str]) -> list[str]:
    """Return the arguments of ``cli.py`` for a run.

    Args:
        run: to be started.
        scale: "embedded" or "paper".
        seed: of the run.
        left_by: gives what stands for a file that another run has left in its folder, such as ``CHECKPOINT``.
    """
    words = [run.command, *(word for config in run.configs for word in ("--config", config))]
    words += [f"--{argument}={seed}" for argument in run.seeded or SEEDED[scale]]
    words += [f"--{argument}={value}" for argument, value in run.overrides]
    words += [f"--{argument}={left_by(source, CHECKPOINT)}" for argument, source in run.checkpoints]
    return words + [f"--{argument}={left_by(source, path)}" for argument, source, path in run.files]


def name_of(run: str, path: str) -> str:
    """Return what stands in a record for a file that a run has left; of a checkpoint the run alone."""
    return run if path == CHECKPOINT else f"{run}/{path}"


@dataclass
class Runner:
    """Runs what is missing and records it.

    Args:
        records: of the method.
        scale: "embedded" or "paper".
        force: repeat runs that are recorded already, each once.
        launcher: starts ``cli.py`` with its arguments and returns the exit status.
        root: the repository.
        runs_dir: where the run folders lie, relative to ``root``.
    """

    records: Records
    scale: str
    force: bool = False
    launcher: Callable[[list[str]], int] = launch
    root: Path = ROOT
    runs_dir: str = "runs/experiments"
    done: set[str] = field(default_factory=set)
    failed: dict[str, UserError] = field(default_factory=dict)

    def ensure(self, run: Run, seed: int, needs: str = "") -> Record:
        """Return the record of a run with a seed; run it first, and those that it starts from, where need be.

        Args:
            run: to be recorded.
            seed: of the run.
            needs: path in its run folder, of a file or folder that has to lie on this machine too.

        Raises:
            UserError: ``cli.py`` failed. What was recorded before stays.
            KeyboardInterrupt: ``cli.py`` was told to stop.
        """
        name = run_id(run, self.scale, seed)
        if name in self.failed:
            raise self.failed[name]
        record = self.records.find(run, self.scale, seed)
        if record and self._reusable(record, run, needs):
            return record
        for _, source in run.checkpoints:
            self.ensure(source, seed, needs=CHECKPOINT)
        for _, source, path in run.files:
            self.ensure(source, seed, needs=path)
        inputs = inputs_of(run, self.root)
        folder_name = self._folder_name(run, seed)
        command = command_of(
            run, self.scale, seed, lambda source, path: name_of(run_id(source, self.scale, seed), path)
        )
        arguments = command_of(run, self.scale, seed, lambda source, path: str(self._left(source, seed, path)))
        arguments += [f"--runs_dir={self.runs_dir}", f"--name={folder_name}"]
        if run.command == "fit" and not self.force:
            arguments.append("--resume=true")  # goes on with an attempt that was cut off, or begins
        elif earlier := self._folder(folder_name):
            earlier.rename(earlier.with_name(f"{folder_name}.until-{time.strftime('%Y%m%d-%H%M%S')}"))
        print(f"{name}: python cli.py {' '.join(command)}", flush=True)
        start = time.time()
        status = self.launcher(arguments)
        if status in STOPPED:
            raise KeyboardInterrupt
        if status:
            self.failed[name] = UserError(
                f"{name}: cli.py ended with status {status} (its own message stands above); "
                "once mended, the same command goes on from the last checkpoint"
            )
            raise self.failed[name]
        folder = self._folder(folder_name)
        if folder is None:
            raise UserError(f"{name}: cli.py has left no folder {self.runs_dir}/*/{folder_name}")
        record = Record(
            id=name,
            scale=self.scale,
            seed=seed,
            command=command,
            inputs=inputs,
            started=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(start)),
            wall_time=round(time.time() - start, 1),
            provenance=read_provenance(folder),
            metrics=read_metrics(folder / "results"),
        )
        self.records.save(record)
        self.done.add(name)
        return record

    def _reusable(self, record: Record, run: Run, needs: str) -> bool:
        if record.id in self.done:
            return True
        if self.force:
            return False
        if outdated := record.outdated(self.root):
            print(f"{record.id}: {', '.join(outdated)} changed since it was recorded; running it again")
            return False
        if needs and self._left(run, record.seed, needs) is None:
            what = "its checkpoint" if needs == CHECKPOINT else needs
            print(f"{record.id}: {what} is not on this machine; running it again")
            return False
        return True

    def _folder_name(self, run: Run, seed: int) -> str:
        """Return the name of the run folder, another one as soon as an input changes: nothing stale is gone on with."""
        inputs = hashlib.sha256(json.dumps(inputs_of(run, self.root)).encode()).hexdigest()[:6]
        return f"{run_id(run, self.scale, seed)}-{inputs}"

    def _folder(self, name: str) -> Path | None:
        return next((self.root / self.runs_dir).glob(f"*/{name}"), None)

    def _left(self, run: Run, seed: int, path: str) -> Path | None:
        """Return what a run has left in its folder, None if it is not there."""
        folder = self._folder(self._folder_name(run, seed))
        return folder / path if folder and (folder / path).exists() else None
