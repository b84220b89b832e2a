"""The global batch of the recipe that a command line starts from."""

import inspect
import os
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from command_line.reading.configurations import is_bundled
from visionscapes.renamed_options import with_new_names


def recipe_batch(files: Iterable[str]) -> tuple[int | None, str]:
    """Return the samples of a step in the recipe, and the file that has it; (None, "") without one.

    A recipe is a configuration of ours: it gives the batch of one process, which are all there.

    Args:
        files: the configurations of a command, in order; the last of ours that chooses a datamodule counts.
    """
    recipe: dict[str, Any] = {}
    source = ""
    for file in files:
        content = yaml.safe_load(Path(file).read_text()) if is_bundled(file) else {}
        if _chosen(content.get("data"))[0]:
            recipe, source = content, os.path.relpath(file) if Path(file).is_relative_to(Path.cwd()) else file
        elif "data" in content:  # stacked on a recipe, of which it changes a part
            recipe = _changed(recipe, content)
    batch = _batch(recipe) if source else None
    return (None, "") if batch is None else (batch, source)


def _changed(recipe: Mapping[str, Any], content: Mapping[str, Any]) -> dict[str, Any]:
    changes = {
        name: _changed(recipe[name], value)
        if isinstance(value, Mapping) and isinstance(recipe.get(name), Mapping)
        else value
        for name, value in content.items()
    }
    return {**recipe, **changes}


def _batch(content: Mapping[str, Any]) -> int | None:
    data_class, data = _chosen(content["data"])
    model_class, model = _chosen(content.get("model"))
    batch = data.get("batch_size", _default(data_class, "batch_size"))
    options = with_new_names(model_class.rpartition(".")[2], model)
    accumulated = (content.get("trainer") or {}).get("accumulate_grad_batches") or 1
    optimizer = options.get("optimizer")  # a group, or the name of one
    accumulated *= optimizer.get("accumulate", 1) if isinstance(optimizer, Mapping) else 1
    return batch * accumulated if isinstance(batch, int) and batch > 0 else None


def _chosen(value: Any) -> tuple[str, Mapping[str, Any]]:
    """Return class path and arguments of what a configuration gives for a class."""
    if isinstance(value, Mapping):
        return str(value.get("class_path") or ""), value.get("init_args") or {}
    return str(value or ""), {}


def _default(class_path: str, argument: str) -> Any:
    """Return the default of an argument of a class of ours, None without one."""
    module, _, name = class_path.rpartition(".")
    if not module:
        return None
    parameters = inspect.signature(getattr(import_module(module), name)).parameters
    return parameters[argument].default if argument in parameters else None
