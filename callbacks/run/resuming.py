"""Where a run goes on: the checkpoint to begin from, and what a killed session has left half done."""

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from callbacks.run.checkpoint_files import LAST, checkpoints_of, newest_checkpoint, read_checkpoint
from visionscapes.errors import UserError
from visionscapes.files import atomic_write

OURS = re.compile(r"epoch=\d+-step=\d+\.ckpt")
PARTIAL = re.compile(r"\..+\.\d+\.partial")


def checkpoint_to_resume(folder: Path, *, whole: bool = False) -> Path | None:
    """Return the newest checkpoint of a run folder, None if there is none.

    Args:
        folder: of the run.
        whole: pass over damaged checkpoints to the newest that is whole.

    Raises:
        UserError: the newest checkpoint is damaged and ``whole`` is false, or all of them are.
    """
    found = checkpoints_of(folder)
    if not found:
        return None
    if not whole:
        read_checkpoint(found[0])
        return found[0]
    newest = newest_checkpoint(folder)
    if newest is None:
        raise UserError(f"no checkpoint of {folder} is whole: begin the run again under another --name")
    return newest


def tidy_up(folder: Path, newest: Path | None, *, keep: int = 1, last: bool = True) -> Path | None:
    """Put in order what a killed session has left in its run folder; return the checkpoint that the run goes on from.

    A kill between the two files of one step leaves ``last.ckpt`` behind: the newer file becomes it. A kill before the
    checkpoint that a better one supersedes is removed leaves one too many: it is removed. So are unfinished files.

    Args:
        folder: of the run; nothing outside of it is touched, and nothing in it that a run does not write.
        newest: see ``checkpoint_to_resume``.
        keep: ranked checkpoints that are kept, ``Checkpointing.save_top_k``; -1 removes none.
        last: whether the run keeps ``last.ckpt`` at all.
    """
    sweep(folder)
    target = folder / "checkpoints" / LAST
    if newest is None or newest == target or newest.parent != target.parent:
        return newest
    if keep != -1:
        for path in superseded(target, newest):
            path.unlink(missing_ok=True)
    if not last:
        return newest
    with newest.open("rb") as source, atomic_write(target, durable=True) as file:
        shutil.copyfileobj(source, file)
    os.utime(target, ns=(newest.stat().st_atime_ns, newest.stat().st_mtime_ns))
    return target


def sweep(folder: Path) -> None:
    """Remove the unfinished files of a run folder, which ``visionscapes.files`` names so."""
    for path in folder.rglob(".*.partial"):
        if PARTIAL.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)


def superseded(last: Path, newest: Path) -> list[Path]:
    """Return the ranked checkpoints that ``last`` ranks and the newer one does not rank any more."""
    try:
        before, now = (_ranked(read_checkpoint(path)) for path in (last, newest))
    except UserError:
        return []  # nothing is known of them
    return [last.with_name(name) for name in before - now if OURS.fullmatch(name)]


def _ranked(checkpoint: Mapping[str, Any]) -> set[str]:
    """Return the names of the files that the checkpoint callback of a run ranks."""
    states = [state for key, state in checkpoint.get("callbacks", {}).items() if key.startswith("Checkpointing")]
    paths = {path for state in states for path in (state["best_model_path"], *state["best_k_models"])}
    return {Path(path).name for path in paths if path}


def named_checkpoint(name: str, method: Path) -> Path:
    """Return the checkpoint that ``--ckpt_path`` names.

    Args:
        name: path of a checkpoint or of a run folder, whose last one is meant; "last" or "best" of the method's newest
            run.
        method: folder of the method's runs, ``runs/<method>``.

    Raises:
        UserError: there is no such run, or it has no such checkpoint.
    """
    if name in ("last", "best"):
        runs = sorted(method.glob(f"*/checkpoints/{LAST}"), key=lambda path: path.stat().st_mtime_ns)
        if not runs:
            raise UserError(f"--ckpt_path {name}: {method} has no run with a checkpoint yet; give the path of one")
        return best_of(runs[-1].parents[1]) if name == "best" else runs[-1]
    path = Path(name)
    if not path.is_dir():
        return path
    newest = checkpoints_of(path if path.name != "checkpoints" else path.parent)
    if not newest:
        raise UserError(f"--ckpt_path {name}: the folder is no run with a checkpoint")
    return newest[0]


def best_of(run: Path) -> Path:
    """Return the best checkpoint of a run by what it monitors; the newest ranked one where it monitors nothing.

    Raises:
        UserError: the run keeps no ranked checkpoint.
    """
    content = read_checkpoint(run / "checkpoints" / LAST)
    states = [state for key, state in content.get("callbacks", {}).items() if key.startswith("Checkpointing")]
    name = Path(states[0]["best_model_path"]).name if states else ""
    path = run / "checkpoints" / name
    if not name or not path.is_file():
        raise UserError(f"{run} keeps no best checkpoint (--checkpoint.save_top_k): take --ckpt_path last")
    return path
