"""Where a run writes: ``<runs_dir>/<method>/<name>/``, one folder a run, the same one on every rank."""

import os
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import yaml

from visionscapes.errors import UserError

# Set by the process that starts the other ranks of this machine; they are started with its environment.
INHERITED = "VISIONSCAPES_RUN_FOLDER"
SAVED_CONFIG = "cli_config.yaml"


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


def shared_name(environ: Mapping[str, str]) -> str | None:
    """Return the name that all processes of a run can tell from their environment: the SLURM job's or torchrun's.

    Returns:
        None where one process starts the others and hands the name on.

    Raises:
        UserError: processes were started separately and have nothing in common.
    """
    if "SLURM_JOB_ID" in environ and environ.get("SLURM_JOB_NAME") not in ("bash", "interactive"):
        if "SLURM_ARRAY_JOB_ID" in environ:
            return f"job-{environ['SLURM_ARRAY_JOB_ID']}_{environ['SLURM_ARRAY_TASK_ID']}"
        return f"job-{environ['SLURM_JOB_ID']}"
    elastic = environ.get("TORCHELASTIC_RUN_ID", "none")
    if elastic != "none":
        return f"torchrun-{elastic}"
    if "TORCHELASTIC_RUN_ID" in environ or int(environ.get("NODE_RANK", 0)) > 0:
        raise UserError("the processes of this run were started separately and need one name: add --name NAME")
    return None


def is_rank_zero(environ: Mapping[str, str]) -> bool:
    """Return whether this process writes; the variables in the order in which Lightning trusts them."""
    ranks = [environ[key] for key in ("RANK", "LOCAL_RANK", "SLURM_PROCID") if key in environ]
    return not ranks or int(ranks[0]) == 0


def claim(runs_dir: str, method: str, name: str | None, *, subcommand: str = "fit", resume: bool = False) -> Path:
    """Return the absolute path of this run's folder; rank zero creates it.

    Args:
        runs_dir: folder of all runs.
        method: see ``method_of``.
        name: the user's name for the run, or None for an automatic one.
        subcommand: fit, validate, test or predict.
        resume: an existing folder is meant to be continued.

    Raises:
        UserError: the name is taken or no name, or the folder cannot be created.
    """
    if INHERITED in os.environ and int(os.environ.get("LOCAL_RANK", 0)) > 0:
        return Path(os.environ[INHERITED])
    parent = Path(runs_dir).resolve() / method
    if name is not None and not re.fullmatch(r"[\w.=+,@-]*\w[\w.=+,@-]*", name):
        raise UserError(f"--name {name!r} is no name of a folder: use letters, digits and . _ - = + , @")
    shared = shared_name(os.environ) if name is None else None
    if resume and name is None and shared is None:
        raise UserError(f"--resume needs the name of the run to continue: add --name NAME{_known(parent)}")
    suffix = "" if subcommand == "fit" else f"-{subcommand}"
    folder = parent / (name or f"{shared or datetime.now().strftime('%Y%m%d-%H%M%S')}{suffix}")
    if not is_rank_zero(os.environ):
        return folder
    try:
        if name is None and shared is None:
            return _create_new(folder)
        folder.mkdir(parents=True, exist_ok=True)
        taken = any(folder.iterdir())
    except OSError as error:
        raise UserError(
            f"the run folder {folder} cannot be created ({error.strerror}): choose another place with --runs_dir"
        ) from None
    if taken and not resume:
        raise UserError(f"{folder} exists already: continue it with --resume, or take another --name")
    return folder


def _create_new(folder: Path) -> Path:
    """Create ``folder``, or with the first free suffix, in a way that two processes never get the same one."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    candidate, count = folder, 1
    while True:
        try:
            candidate.mkdir()
            return candidate
        except FileExistsError:
            count += 1
            candidate = folder.with_name(f"{folder.name}-{count}")


def _known(parent: Path) -> str:
    if not parent.is_dir():
        return ""
    names = sorted(folder.name for folder in parent.iterdir() if folder.is_dir())[-5:]
    return f"; the last ones of {parent.name} are {', '.join(names)}" if names else ""
