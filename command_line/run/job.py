"""The job that a command belongs to, of SLURM or torchrun, and what tells the commands of one job apart."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from visionscapes.errors import UserError

# What tells a process which one of a run it is, each with the smallest value that it may have.
NUMBERED = {
    **dict.fromkeys(("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "SLURM_PROCID", "SLURM_LOCALID"), 0),
    **dict.fromkeys(("WORLD_SIZE", "LOCAL_WORLD_SIZE", "SLURM_NTASKS", "SLURM_NNODES", "MASTER_PORT"), 1),
}


def check_environment(environ: Mapping[str, str]) -> None:
    """Check the variables that tell a process which one of a run it is.

    Raises:
        UserError: one of them is no number, a rank is not below the number of processes, or nothing says how many
            processes there are besides one whose rank is not 0.
    """
    numbers = {name: environ[name].strip() for name in NUMBERED if name in environ}
    for name, value in numbers.items():
        if not re.fullmatch("[0-9]{1,9}", value) or int(value) < NUMBERED[name]:
            raise UserError(
                f"the variable {name} of the environment is {environ[name]!r}; it has to be a whole number from "
                f"{NUMBERED[name]} on: unset {name}, or start with torchrun or srun, which set it"
            )
    if "RANK" in numbers and "WORLD_SIZE" in numbers and int(numbers["RANK"]) >= int(numbers["WORLD_SIZE"]):
        raise UserError(
            f"RANK is {numbers['RANK']} and WORLD_SIZE {numbers['WORLD_SIZE']} in the environment: ranks count from 0"
        )
    stray = [name for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID") if int(numbers.get(name, 0)) > 0]
    if stray and "WORLD_SIZE" not in numbers and "SLURM_NTASKS" not in numbers:
        raise UserError(
            f"the variable {stray[0]} of the environment is {numbers[stray[0]]}, and nothing says how many processes "
            f"there are: unset {stray[0]}, or start with torchrun or srun"
        )


def check_processes(environ: Mapping[str, str], count: int) -> None:
    """Check that a run has as many processes as its environment says: without a launcher it would train alone.

    Args:
        environ: variables of this process.
        count: processes that the trainer counts.

    Raises:
        UserError: they are fewer or more.
    """
    said = int(environ.get("WORLD_SIZE", 1))
    if said > 1 and said != count:
        raise UserError(
            f"the variable WORLD_SIZE of the environment is {said}, and this run has {count} "
            f"process{'es' * (count != 1)}: unset it, or start with torchrun --nproc_per_node={said} and give "
            f"--trainer.devices={said}"
        )


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


def restarts(environ: Mapping[str, str]) -> int:
    """Return how often the job that this process belongs to was begun anew: requeued by SLURM, restarted by torchrun.

    Raises:
        UserError: the variable that says so is no number.
    """
    name = "SLURM_RESTART_COUNT" if "SLURM_JOB_ID" in environ else "TORCHELASTIC_RESTART_COUNT"
    try:
        return int(environ.get(name) or 0)
    except ValueError:
        raise UserError(f"{name}={environ[name]} is no number: unset it") from None


@dataclass(frozen=True)
class Session:
    """What tells the commands of one job apart, and knows the same command after the job was requeued.

    Attributes:
        job: name of the job, None outside of one.
        restart: how often the job was begun anew.
        step: number of the job step, None without srun.
        command: the words of the command line.
    """

    job: str | None = None
    restart: int = 0
    step: str | None = None
    command: tuple[str, ...] = ()

    @classmethod
    def here(cls, command: Sequence[str]) -> "Session":
        """Return that of this process."""
        job = None
        with suppress(UserError):  # processes without a common name are told so where they need one
            job = shared_name(os.environ)
        return cls(job, restarts(os.environ), os.environ.get("SLURM_STEP_ID"), tuple(command))

    def record(self) -> dict[str, Any]:
        """Return what the manifest says of it beside the command."""
        return {"job": self.job, "restart": self.restart, "step": self.step}

    def wrote(self, folder: Path) -> bool:
        """Return whether a folder is of this very session, as another of its processes sees it."""
        manifest = _manifest(folder)
        return self._same_command(manifest) and manifest.get("session") == self.record()

    def goes_on_in(self, folder: Path) -> bool:
        """Return whether a folder is of the same command of the same job, this session or an earlier one."""
        manifest = _manifest(folder)
        return self._same_command(manifest) and dict(manifest.get("session") or {}).get("job") == self.job

    def _same_command(self, manifest: Mapping[str, Any]) -> bool:
        return self.job is not None and tuple(manifest.get("command") or ()) == self.command


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        content = json.loads((folder / "manifest.json").read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
