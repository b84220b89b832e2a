"""``visionscapes.load``: a trained module for Python users, with its preprocessing inside.

The ground knows nobody above it; this file is the one exception, and looks up when it is called.
"""

import inspect
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch

from visionscapes.bundled import find_configuration
from visionscapes.errors import UserError
from visionscapes.given_paths import checked_path
from visionscapes.model import Model
from visionscapes.saved_runs import SAVED_CONFIG, built, named_class, run_folder_of, saved_part

LAST, BEST = "last", "best"
CONFIGURATIONS = (".yaml", ".yml")
SHOWN = 5  # names in a message


def load(
    place: str | os.PathLike[str],
    device: str | torch.device | None = None,
    *,
    weights: str | os.PathLike[str] | None = None,
    batch_size: int = 1,
    **inputs: Any,
) -> Model:
    """Return what was trained, ready to be used.

        model = visionscapes.load("runs/lift/20260101-120000")
        features = model("cat.jpg")

    Args:
        place: a run folder, whose last checkpoint is meant; "<run folder>/best"; a checkpoint; or a folder of runs of
            one method, such as "runs/lift", whose newest run is meant. Methods that train nothing, such as ViTAnalysis,
            need no checkpoint: a run folder or a configuration will do, as it does beside ``weights``.
        weights: with a configuration: a file of the module's option of this name, ours or the authors', as in
            ``load("configs/syncnet.yaml", weights="weights/syncnet.safetensors")``.
        device: where to compute; None for a GPU if there is one.
        batch_size: inputs that go through the networks at once, see `Model`.
        inputs: how inputs are prepared where it is to be otherwise than in ``predict`` of the run, such as
            ``longer_side=224``; `Model.inputs` has the names. What the training has decided, such as the size of the
            pictures of a GAN, cannot be given.

    Raises:
        UserError: there is no checkpoint, it or the weights cannot be used, or an option of the inputs does not exist,
            has a value of the wrong kind, or was decided by the training.
    """
    if not isinstance(place, str | os.PathLike):
        raise UserError(f"a run is named by its path, and {place!r} is of class {type(place).__name__}")
    if type(batch_size) is not int or batch_size < 1:
        raise UserError(f"batch_size is {batch_size!r}; it has to be a whole number above 0")
    chosen = _device_of(device)
    path = checked_path(place, "the run")
    if path.suffix in CONFIGURATIONS:
        path = find_configuration(str(path)) or path
    found = None if weights is not None else _checkpoint_at(path)
    module, given = _without_checkpoint(path, weights) if found is None else _of_checkpoint(found)
    source = str(path) if found is None else str(found)
    return Model(module, _with_options(module, given, inputs), source, batch_size=batch_size).to(chosen)


def _device_of(device: Any) -> torch.device:
    """Return a device that is there."""
    if device is None:
        return _best_device()
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, TypeError, AssertionError) as error:
        raise UserError(f"device is {device!r}, which is not there ({str(error).splitlines()[0]}): give cpu") from error
    return chosen


def _checkpoint_at(place: Path) -> Path | None:
    """Return the checkpoint that a place stands for; None for a run of what needs none, or a configuration."""
    from callbacks.run.checkpoint_files import checkpoints_of, newest_run
    from callbacks.run.resuming import best_of

    wanted = place.name if place.name in (LAST, BEST) and not place.exists() else LAST
    path = place.parent if not place.exists() and place.name in (LAST, BEST) else place
    if path.suffix == ".safetensors" and path.is_file():
        raise UserError(
            f"{path} holds weights alone: name the configuration of their module too, as in "
            f'load("configs/syncnet.yaml", weights={str(path)!r})'
        )
    if path.is_file():
        return None if path.suffix in CONFIGURATIONS else path
    if path.is_symlink() and not path.exists():
        raise UserError(f"{path} is a link to {os.readlink(path)}, which is not there: give what is meant")
    if not path.is_dir():
        raise UserError(
            f"there is nothing at {place}: give a run folder such as runs/lift/<name>, or a checkpoint; looked in "
            f"{path.absolute().parent}{_beside(path)}"
        )
    run = path.parent if path.name == "checkpoints" else path
    checkpoints = checkpoints_of(run)
    if not checkpoints and (newest := newest_run(path)) is not None:
        run, checkpoints = newest.parents[1], [newest]
    if checkpoints:
        return best_of(run) if wanted == BEST else checkpoints[0]
    if _needs_none(saved_part(run, "model")[0], run):
        return None
    raise UserError(f"{path} holds no checkpoint{_advice(path)}")


def _of_checkpoint(path: Path) -> tuple[Any, Any]:
    """Return the module of a checkpoint and how its inputs are prepared."""
    from callbacks.run.checkpoint_files import read_checkpoint
    from lightning_modules.method import MADE_OF, class_path_of

    checkpoint = read_checkpoint(path)
    class_path = class_path_of(checkpoint, path)
    if class_path is None:
        raise UserError(
            f"{path} does not say which class it is of: it is of another program, or of an earlier version outside of "
            "its run folder; put it back, or call load_from_checkpoint of its class"
        )
    cls = _method(class_path, path)
    known = (checkpoint.get(MADE_OF) or {}).get("inputs")
    del checkpoint
    module = cls.load_from_checkpoint(path, map_location="cpu", **cls.only_to_train)
    return module, _inputs_of(module, known, run_folder_of(path))


def _without_checkpoint(place: Path, weights: Any) -> tuple[Any, Any]:
    """Return a module as a configuration makes it, with weights if it is trained, and how inputs are prepared."""
    from lightning_modules.method import Method

    class_path, options = saved_part(place, "model")
    if weights is not None:
        cls = None if class_path is None else _method(class_path, place)
        if cls is None or "weights" not in inspect.signature(cls).parameters:
            what = "no configuration of a method" if cls is None else f"of {cls.__name__}, which has no such option"
            raise UserError(f"weights go with a configuration, and {place} is {what}: give a checkpoint alone")
        if not isinstance(weights, str | os.PathLike):
            raise UserError(f"weights are named by their path, and {weights!r} is of class {type(weights).__name__}")
        options |= {"weights": str(checked_path(weights, "the file of weights"))}
    elif not _needs_none(class_path, place):
        raise UserError(
            f"{place} is a configuration of what has to be trained: give a run folder, a checkpoint, or weights too"
        )
    module = built({"class_path": class_path, "init_args": options}, Method)
    return module, _inputs_of(module, None, place)


def _needs_none(class_path: str | None, place: Path) -> bool:
    """Return whether modules of a class need no checkpoint."""
    return class_path is not None and bool(getattr(_method(class_path, place), "cannot_fit", ""))


def _method(class_path: str, place: Path) -> Any:
    """Return the class of a run, which has to be a method."""
    from lightning_modules.method import Method

    found = named_class(class_path, object)
    if not issubclass(found, Method):
        raise UserError(
            f"{place} is of {found.__name__}, which answers nothing by itself: give what a method such as "
            "lightning_modules.LiFT has left"
        )
    return found


def _inputs_of(module: Any, known: Any, place: Path | None) -> Any:
    """Return how inputs are prepared: as a checkpoint says, or the data of a run, or by default as fits the module."""
    kind, found = named_class(module.takes, object), None
    class_path, options = saved_part(place, "data")
    try:
        if known is not None:
            found = built(known)
        elif class_path is not None:
            found = getattr(built({"class_path": class_path, "init_args": options}), "inputs", None)
    except UserError as error:
        print(f"note: inputs are prepared by default, for the data of the run cannot be made again: {error}")
    return found if isinstance(found, kind) else kind(**module.default_inputs())


def _with_options(module: Any, given: Any, options: Mapping[str, Any]) -> Any:
    known = [each.name for each in fields(given)]
    free = [name for name in known if name not in module.fixed_inputs]
    can_be = f"there are {', '.join(free)}" if free else "there is none that can be given"
    if unknown := sorted(options.keys() - set(known)):
        raise UserError(f"there is no option {', '.join(unknown)} of the inputs: {can_be}")
    for name in known:
        if name in options and name not in free and options[name] != (trained := getattr(given, name)):
            raise UserError(
                f"{name} of the inputs is {trained}, as {type(module).__name__} was trained, and cannot be "
                f"{options[name]!r}: of others {can_be}"
            )
    return replace(given, **options)


def _best_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _beside(path: Path) -> str:
    parent = path.absolute().parent
    names = sorted(each.name for each in parent.iterdir() if not each.name.startswith(".")) if parent.is_dir() else []
    return f", where there are {_few(names)}" if names else ""


def _advice(folder: Path) -> str:
    """Return the end of a message about a folder without checkpoint: what to name instead."""
    runs = sorted(each.relative_to(folder).parents[1] for each in folder.glob("**/checkpoints/*.ckpt"))
    if runs:
        return f": name one of the runs below it, such as {_few([str(folder / each) for each in dict.fromkeys(runs)])}"
    started = _started_from(folder)
    if started:
        return f": it is of a run that started from another, {started}; give that"
    if (folder / SAVED_CONFIG).is_file():
        return ": the run ended before it saved one; train it on with --resume"
    return ": give the folder of a run, runs/<method>/<name>, or the checkpoint itself"


def _started_from(folder: Path) -> str:
    try:
        return str(json.loads((folder / "manifest.json").read_text()).get("resumed_from") or "")
    except (OSError, ValueError, AttributeError):
        return ""


def _few(names: Iterable[str]) -> str:
    shown = list(names)
    return ", ".join(shown[:SHOWN]) + (f" and {len(shown) - SHOWN} more" if len(shown) > SHOWN else "")
