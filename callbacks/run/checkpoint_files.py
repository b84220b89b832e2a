"""Checkpoints as files: which ones a run has, reading them safely, and what they say about their run."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from visionscapes.checksums import damage_of_archive
from visionscapes.errors import UserError
from visionscapes.renamed_options import groups_of, with_new_names
from visionscapes.stored import read_stored

LAST = "last.ckpt"
SHOWN = 5  # names of other checkpoints in a message
KINDS: dict[str, type] = {  # of what Lightning writes
    **dict.fromkeys(("state_dict", "loops", "callbacks", "hyper_parameters"), Mapping),
    **dict.fromkeys(("optimizer_states", "lr_schedulers"), list),
    **dict.fromkeys(("epoch", "global_step"), int),
    "pytorch-lightning_version": str,
}


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return the checkpoint at ``path``, on the CPU, without running any code that it may contain.

    Raises:
        UserError: the file is missing, damaged, unsafe, or no checkpoint of this command line.
    """
    checkpoint = read_stored(path, _whole_one, _others)
    if not isinstance(checkpoint, Mapping) or not {"state_dict", "global_step", "loops"} <= checkpoint.keys():
        raise UserError(
            f"{path} is no checkpoint of cli.py: it lacks the state of a run. Plain weights belong into the module's "
            "'weights' argument"
        )
    wrong = [name for name, kind in KINDS.items() if name in checkpoint and not isinstance(checkpoint[name], kind)]
    if wrong:
        raise UserError(f"checkpoint {path} was changed by hand: what it has as {wrong[0]} is none{_whole_one(path)}")
    if spoilt := [name for name, value in checkpoint["state_dict"].items() if _without_numbers(value)]:
        raise UserError(
            f"checkpoint {path} holds weights that are no numbers, {spoilt[0]} among {len(spoilt)}: its training had "
            f"gone wrong before it was saved{_others(path)}"
        )
    return dict(checkpoint)


def _without_numbers(value: Any) -> bool:
    """Return whether a tensor is NaN throughout, as the weights of a training that diverged are."""
    floating = isinstance(value, torch.Tensor) and value.is_floating_point() and value.numel() > 1
    return floating and bool(value.flatten()[0].isnan()) and bool(value.isnan().all())


def checkpoints_of(folder: Path) -> list[Path]:
    """Return the checkpoints of a run folder, the newest first.

    Args:
        folder: run folder; looks at ``checkpoints/*.ckpt`` and at ``hpc_ckpt_*.ckpt``, which Lightning's own handler of
            SLURM's signal leaves.
    """
    found = [*folder.glob("checkpoints/*.ckpt"), *folder.glob("hpc_ckpt_*.ckpt")]
    return sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name == LAST), reverse=True)


def newest_checkpoint(folder: Path) -> Path | None:
    """Return the newest checkpoint of a run folder that can be read, None if there is none; names those passed over."""
    for path in checkpoints_of(folder):
        try:
            read_checkpoint(path)
        except UserError as error:
            print(f"skipped: {error}")
        else:
            return path
    return None


def newest_run(method: Path) -> Path | None:
    """Return the last checkpoint of the newest run of a method, None if there is none.

    Args:
        method: folder of the method's runs, ``runs/<method>``.
    """
    found = sorted(method.glob("*/checkpoints/last.ckpt"), key=lambda path: path.stat().st_mtime_ns)
    return found[-1] if found else None


def differences(checkpoint: Mapping[str, Any], model: Mapping[str, Any]) -> list[str]:
    """Return how the arguments that a checkpoint was trained with differ from those of this run, in words.

    Args:
        checkpoint: as read from the file; its ``hyper_parameters`` are compared.
        model: ``class_path`` and ``init_args`` of this run.
    """
    options = checkpoint.get("hyper_parameters") or {}
    name = str(options.get("_class_path")).rpartition(".")[2]
    then = _without_groups(with_new_names(name, options))
    now = _without_groups({"_class_path": model.get("class_path"), **(model.get("init_args") or {})})
    shared = [key for key in then if key in now and _as_lists(then[key]) != _as_lists(now[key])]
    return [f"{key.replace('_class_path', 'class')} {then[key]} there, {now[key]} here" for key in shared]


def _as_lists(value: Any) -> Any:
    """Return a value with its tuples as lists, which the command line and checkpoints do not tell apart."""
    if isinstance(value, Mapping):
        return {name: _as_lists(one) for name, one in value.items()}
    return [_as_lists(one) for one in value] if isinstance(value, list | tuple) else value


def _without_groups(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with those of a group as "group.option"; a dictionary that is an option itself stays whole."""
    groups = groups_of(str(options.get("_class_path")).rpartition(".")[2])
    found: dict[str, Any] = {}
    for name, value in options.items():
        inside = isinstance(value, Mapping) and name in groups
        found |= {f"{name}.{each}": one for each, one in value.items()} if inside else {name: value}
    return found


def _whole_one(damaged: Path) -> str:
    """Return the end of a message about a damaged checkpoint: which one of its run can be taken in its place."""
    folder = damaged.resolve().parent
    run = folder.parent if folder.name == "checkpoints" else folder
    for path in checkpoints_of(run):
        with suppress(Exception):  # damaged, too
            if path != damaged.resolve() and not damage_of_archive(path):
                step = torch.load(path, map_location="cpu", weights_only=True, mmap=True)["global_step"]
                return (
                    f"; the newest whole one of its run is {path} (step {step}): --resume=whole goes on from it, and "
                    "what does not train takes it by this path"
                )
    return _others(damaged)


def _others(path: Path) -> str:
    beside = sorted(other.name for other in path.parent.glob("*.ckpt") if other != path)
    more = f" and {len(beside) - SHOWN} more" if len(beside) > SHOWN else ""
    return f"; in {path.parent} there are {', '.join(beside[:SHOWN])}{more}" if beside else ""
