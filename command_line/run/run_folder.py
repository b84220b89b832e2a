"""Where a run writes: ``<runs_dir>/<method>/<name>/``, one folder a run, the same one on every rank."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from pathlib import Path

import yaml

from command_line.run.job import Session, is_rank_zero, restarts, shared_name
from visionscapes.errors import UserError
from visionscapes.folder_lock import LOCK, FolderLock, InUseError

# Set by the process that starts the other ranks of this machine, which are started with its environment.
INHERITED = "VISIONSCAPES_RUN_FOLDER"
STARTED_FROM = "VISIONSCAPES_CHECKPOINT"
LONGEST_NAME = 200  # bytes: file systems take 255, and numbers or suffixes may follow
SAVED_CONFIG = "cli_config.yaml"
DESCRIPTIONS = {SAVED_CONFIG, "wandb_run_id"}  # what a run writes of itself before its first step


def method_of(configs: Sequence[Path], model_class: str) -> str:
    """Return the name of the method that a command runs.

    Args:
        configs: the files given with --config, in order; the first that chooses a model names the method by its stem.
        model_class: class path of the model, whose last part is the name when no file chooses a model.
    """
    for path in configs:
        content = yaml.safe_load(path.read_text())
        if isinstance(content, dict) and "model" in content:
            # The configuration that a run saved runs the same method again.
            return path.resolve().parent.parent.name if path.name == SAVED_CONFIG else path.stem
    return model_class.rsplit(".", 1)[-1].lower()


@dataclass(frozen=True)
class ClaimedFolder:
    """A run folder that is this command's own.

    Attributes:
        folder: its absolute path.
        resume: whether an earlier session may be continued there.
        lock: what keeps other commands out; None on ranks other than zero.
        temporary: whether it is removed at the end with all that it holds.
    """

    folder: Path
    resume: bool = False
    lock: FolderLock | None = None
    temporary: bool = False


def claim(
    runs_dir: str,
    method: str,
    name: str | None,
    *,
    subcommand: str = "fit",
    resume: bool = False,
    command: Sequence[str] = (),
) -> ClaimedFolder:
    """Return this run's folder; rank zero creates and locks it.

    A job that was requeued goes on in the folder of its earlier session, with or without ``resume``. Another command of
    the same job gets a folder of its own.

    Args:
        runs_dir: folder of all runs.
        method: see ``method_of``.
        name: the user's name for the run, or None for an automatic one.
        subcommand: fit, validate, test or predict.
        resume: an existing folder is meant to be continued, or begun.
        command: the words of the command line, as the manifest has them.

    Raises:
        UserError: the name is taken, in use or no name, or the folder cannot be created.
    """
    asked, resume = resume, resume or restarts(os.environ) > 0
    if INHERITED in os.environ and int(os.environ.get("LOCAL_RANK", 0)) > 0:
        return ClaimedFolder(Path(os.environ[INHERITED]), resume)
    parent = Path(runs_dir).resolve() / method
    if name is not None and not re.fullmatch(r"[\w.=+,@-]*\w[\w.=+,@-]*", name):
        raise UserError(f"--name {name!r} is no name of a folder: use letters, digits and . _ - = + , @")
    if len(os.fsencode(name or "")) > LONGEST_NAME:
        raise UserError(f"--name is {len(name or '')} characters long: give at most {LONGEST_NAME}")
    if not runs_dir:
        raise UserError("--runs_dir is empty: give a folder, as in --runs_dir=runs")
    shared = shared_name(os.environ) if name is None else None
    if resume and name is None and shared is None:
        raise UserError(f"--resume needs the name of the run to continue: add --name NAME{_known(parent)}")
    suffix = "" if subcommand == "fit" else f"-{subcommand}"
    folder = parent / (name or f"{shared or datetime.now().strftime('%Y%m%d-%H%M%S')}{suffix}")
    session = Session.here(command)
    if not is_rank_zero(os.environ):
        return ClaimedFolder(folder if name else _folder_of(session, folder, resume), resume)
    try:
        return _named(session, folder, asked, subcommand) if name else _automatic(session, folder, resume)
    except OSError as error:
        raise UserError(
            f"the run folder {folder} cannot be created ({error.strerror}): choose another place with --runs_dir"
        ) from None


def scratch() -> ClaimedFolder:
    """Return a folder for a run that leaves nothing."""
    if INHERITED in os.environ and int(os.environ.get("LOCAL_RANK", 0)) > 0:
        return ClaimedFolder(Path(os.environ[INHERITED]))
    return ClaimedFolder(Path(tempfile.mkdtemp(prefix="visionscapes-")).resolve(), temporary=True)


def close(claimed: ClaimedFolder) -> None:
    """Give a run folder free for other commands, and remove it where nothing was run."""
    if claimed.temporary:
        shutil.rmtree(claimed.folder, ignore_errors=True)
    if claimed.lock is not None:
        claimed.lock.release()
        with suppress(OSError):
            claimed.folder.rmdir()  # only if it is empty


def withdraw(folder: Path) -> None:
    """Empty a run folder in which nothing began: there is nothing in it but what describes the run."""
    if describes_only(folder):
        with suppress(OSError):
            for path in sorted(folder.rglob("*"), reverse=True):  # what is in a folder before the folder
                if path.name != LOCK:
                    path.rmdir() if path.is_dir() else path.unlink()


def describes_only(folder: Path, besides: str = "") -> bool:
    """Return whether a run folder has no file but those that say which run it is, and the one named ``besides``."""
    files = [path for path in folder.rglob("*") if not path.is_dir() and path.name != LOCK]
    return all(path.name in {*DESCRIPTIONS, besides} and path.parent == folder for path in files)


def _named(session: Session, folder: Path, asked: bool, subcommand: str) -> ClaimedFolder:
    lock = _locked(session, folder)
    resume = asked or (session.restart > 0 and session.goes_on_in(folder))
    if _is_empty(folder) or resume:
        return ClaimedFolder(folder, resume, lock)
    lock.release()
    if subcommand != "fit":
        raise UserError(
            f"{folder} exists already: take another --name for what {subcommand} writes, or none for a new folder; the "
            "run to start from is named by --ckpt_path"
        )
    raise UserError(f"{folder} exists already: continue it with --resume, or take another --name")


def _automatic(session: Session, folder: Path, resume: bool) -> ClaimedFolder:
    """Lock the first folder that is nobody's, or that the session goes on in; two processes never get the same one."""
    for candidate in _numbered(folder):
        try:
            lock = _locked(session, candidate)
        except InUseError:
            continue
        if _is_empty(candidate) or (resume and session.goes_on_in(candidate)):
            return ClaimedFolder(candidate, resume, lock)
        lock.release()
    raise AssertionError("numbers do not end")


def _folder_of(session: Session, folder: Path, resume: bool) -> Path:
    """Return what rank zero of the same session locks, has locked, or will lock."""
    mine = session.goes_on_in if resume else session.wrote
    return next(each for each in _numbered(folder) if _is_empty(each) or mine(each))


def _locked(session: Session, folder: Path) -> FolderLock:
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # another command has just removed it, empty
            return FolderLock(folder, session.job, session.restart, remedy="take another --name")


def _numbered(folder: Path) -> Iterator[Path]:
    yield folder
    yield from (folder.with_name(f"{folder.name}-{number}") for number in count(2))


def _is_empty(folder: Path) -> bool:
    return not folder.exists() or all(path.name == LOCK for path in folder.iterdir())


def _known(parent: Path) -> str:
    if not parent.is_dir():
        return ""
    names = sorted(folder.name for folder in parent.iterdir() if folder.is_dir() and folder.name[0] != ".")[-5:]
    return f"; the last ones of {parent.name} are {', '.join(names)}" if names else ""
