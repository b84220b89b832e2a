"""The checkpoint that a run starts from: its own, another run's, or the newest of its method."""

import os
from pathlib import Path
from typing import Any

from callbacks.run.checkpoint_files import newest_run
from callbacks.run.resuming import checkpoint_to_resume, named_checkpoint, tidy_up
from command_line.run.job import is_rank_zero
from command_line.run.run_folder import STARTED_FROM


def own_checkpoint(folder: Path, *, whole: bool, trains: bool, saving: Any) -> Path | None:
    """Return the checkpoint that a run goes on from; the first process clears up after a killed session.

    Args:
        folder: of the run.
        whole: pass over damaged checkpoints.
        trains: whether the run trains, and so saves checkpoints itself.
        saving: how it saves them, with ``save_top_k`` and ``save_last``.
    """
    found = checkpoint_to_resume(folder, whole=whole)
    if not trains or not is_rank_zero(os.environ):
        return found
    return tidy_up(folder, found, keep=saving.save_top_k, last=saving.save_last)


def other_checkpoint(name: str, runs: Path) -> Path:
    """Return the checkpoint of --ckpt_path: the same one on every rank, though another run may save meanwhile.

    Args:
        name: as given.
        runs: folder of the method's runs.
    """
    if STARTED_FROM in os.environ and not is_rank_zero(os.environ):
        return Path(os.environ[STARTED_FROM])
    path = named_checkpoint(name, runs)
    os.environ[STARTED_FROM] = str(path)
    return path


def newest_checkpoint_of(runs: Path) -> Path | None:
    """Return the last checkpoint of the newest run of a method and say so; None without one.

    Args:
        runs: folder of the method's runs.
    """
    found = newest_run(runs)
    if found and is_rank_zero(os.environ):
        print(f"no --ckpt_path: using the newest run, {os.path.relpath(found)}")
    return found
