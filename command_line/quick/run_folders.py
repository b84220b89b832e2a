"""RunFolder folders as those see them who look for one: when it ran, how it ended, with what, and what it found."""

import csv
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from visionscapes.errors import UserError
from visionscapes.folder_lock import in_use
from visionscapes.saved_runs import SAVED_CONFIG

MANIFEST = "manifest.json"
UNFINISHED = ("starting", "running")
RESULT = ("metric", "method", "image_size", "value")
SHOWN = 3  # runs named in a message
KINDS: dict[str, Any] = {
    **dict.fromkeys(("start", "status"), str),
    **dict.fromkeys(("command", "earlier"), list),
    **dict.fromkeys(("git", "hardware"), Mapping),
    "wall_time_s": int | float,
}


@dataclass(frozen=True)
class RunFolder:
    """A run folder.

    Attributes:
        folder: its path.
        name: "<method>/<name>", below the folder of all runs.
        manifest: what ``manifest.json`` says, of the kinds that runs write; nothing where it cannot be read.
    """

    folder: Path
    name: str
    manifest: Mapping[str, Any]

    @property
    def started(self) -> str:
        """When its last session began, "YYYY-MM-DD HH:MM" of the time zone that it was written in."""
        return self.manifest.get("start", "")[:16].replace("T", " ")

    @property
    def seconds(self) -> float:
        """That all of its sessions took."""
        sessions = [*map(_usual, self.manifest.get("earlier", [])), self.manifest]
        return sum(each.get("wall_time_s", 0.0) for each in sessions)

    @property
    def is_ours(self) -> bool:
        """Whether a run of this program has left it: other programs write a ``manifest.json``, too."""
        return {"status", "command", "start"} <= self.manifest.keys() or (self.folder / SAVED_CONFIG).is_file()

    @property
    def outcome(self) -> str:
        """How it ended: "finished", "running", "interrupted", "failed: <message>", or "killed", which nobody wrote."""
        status = self.manifest.get("status", "unknown")
        return "killed" if status in UNFINISHED and not in_use(self.folder) else status

    @property
    def command(self) -> str:
        """The words that started it."""
        words = [str(each) for each in self.manifest.get("command", [])]
        return " ".join(["python", *words]) if words else ""

    @property
    def subcommand(self) -> str:
        """Such as "fit"."""
        words = [str(each) for each in self.manifest.get("command", [])]
        return next((word for word in words[1:] if not word.startswith("-")), "")

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(path.lstat().st_size for path in self.folder.rglob("*") if path.is_file())

    def options(self) -> dict[str, Any]:
        """Return its configuration as dotted names and plain values.

        Raises:
            UserError: it cannot be read.
        """
        file = self.folder / SAVED_CONFIG
        if not file.is_file():
            return {}
        try:
            return dict(flat(yaml.safe_load(file.read_text())))
        except (OSError, UnicodeError, yaml.YAMLError) as error:
            raise UserError(f"{file} cannot be read ({type(error).__name__}): leave this run out") from error

    def results(self) -> dict[tuple[str, str, str], str]:
        """Return (metric, method, image size) -> value, as the tables of its evaluation have them."""
        found: dict[tuple[str, str, str], str] = {}
        for path in sorted((self.folder / "results").glob("*.csv")):
            with path.open(newline="", errors="replace") as file:
                reader = csv.DictReader(file)
                if set(RESULT) <= set(reader.fieldnames or ()):
                    whole = [
                        row for row in reader if None not in (row[name] for name in RESULT)
                    ]  # the last may be cut off
                    found |= {(row["metric"], row["method"], row["image_size"]): row["value"] for row in whole}
        return found


def flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the plain values in dictionaries and lists by their dotted names; "init_args" is left out of these."""
    if not isinstance(value, Mapping | list) or not value:
        yield name, value
        return
    for key, each in value.items() if isinstance(value, Mapping) else enumerate(value):
        inner = "" if key == "init_args" else f".{key}"
        yield from flat(each, f"{name}{inner}".lstrip("."))


def find_runs(root: Path) -> list[RunFolder]:
    """Return the runs below a folder, the oldest first."""
    found = [_run(path.parent, root) for path in root.glob("**/" + MANIFEST)]
    return sorted(found, key=lambda run: (run.started, run.name))


def named_run(word: str, root: Path) -> RunFolder:
    """Return the run that a word means: its folder, "<method>/<name>", a name that only one has, or "last".

    Raises:
        UserError: there is no such run, or more than one.
    """
    for folder in (root / word, Path(word).expanduser()):
        if (folder / MANIFEST).is_file():
            return _run(folder, root)
    runs = find_runs(root)
    found = runs[-1:] if word == "last" else [run for run in runs if run.folder.name == word]
    if len(found) == 1:
        return found[0]
    names = ", ".join(run.name for run in (found or runs)[-SHOWN:])
    if found:
        raise UserError(f"{len(found)} runs are called {word}, such as {names}: give <method>/<name>")
    raise UserError(
        f"there is no run {word} in {root}: {f'the newest are {names}' if names else 'it holds none'}"
        "; --runs_dir names another folder"
    )


def _run(folder: Path, root: Path) -> RunFolder:
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError):
        manifest = {}
    inside = folder.absolute().is_relative_to(root.absolute())
    name = str(folder.absolute().relative_to(root.absolute())) if inside else str(folder)
    return RunFolder(folder, name, _usual(manifest))


def _usual(manifest: Any) -> dict[str, Any]:
    """Return of a manifest what is of the kind that runs write; others, and hands, write other things."""
    if not isinstance(manifest, Mapping):
        return {}
    usual = {name: value for name, value in manifest.items() if isinstance(value, KINDS.get(name, object))}
    if not math.isfinite(usual.get("wall_time_s", 0)):
        del usual["wall_time_s"]
    return usual
