"""What a run left of how its parts were made: class paths and options, from its folder or out of its checkpoint."""

import inspect
from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from visionscapes.bundled import portable, with_bundled_paths
from visionscapes.errors import UserError, in_words

SAVED_CONFIG = "cli_config.yaml"
SHOWN = 4  # names in a message


def run_folder_of(checkpoint: Path) -> Path | None:
    """Return the folder of the run that a checkpoint lies in, None if it lies beside no configuration of a run."""
    parents = checkpoint.absolute().parents
    return next((folder for folder in parents[:2] if (folder / SAVED_CONFIG).is_file()), None)


def saved_part(place: Path | None, part: str) -> tuple[str | None, dict[str, Any]]:
    """Return class path and options of a part of a run, as its folder keeps them.

    Args:
        place: folder of the run, or a configuration; None if there is none.
        part: "model" or "data".

    Returns:
        None and no options where it does not say.

    Raises:
        UserError: the file cannot be read.
    """
    if place is None:
        return None, {}
    file = place if place.is_file() else place / SAVED_CONFIG
    if not file.is_file():
        return None, {}
    try:
        content = yaml.safe_load(file.read_text())
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise UserError(f"{file} cannot be read ({in_words(error)}): mend it, or move it away") from None
    chosen = content.get(part) if isinstance(content, Mapping) else None
    if not isinstance(chosen, Mapping) or not isinstance(chosen.get("class_path"), str):
        return None, {}
    return chosen["class_path"], dict(chosen.get("init_args") or {})


def named_class(class_path: str, kind: type) -> type:
    """Return the class of a path such as "lightning_modules.LiFT".

    Args:
        class_path: package and name.
        kind: the class has to be one of these.

    Raises:
        UserError: there is no such class, or it is none of this kind.
    """
    module, _, name = class_path.rpartition(".")
    try:
        package = import_module(module)
    except (ImportError, ValueError) as error:
        raise UserError(
            f"the class {class_path} is not to be found ({error}): if it is your own, start Python in the folder that "
            f"holds {module.partition('.')[0] or class_path}, or put that folder on PYTHONPATH"
        ) from None
    found = getattr(package, name, None)
    if found is None:
        near = get_close_matches(name, dir(package), n=SHOWN)
        guess = f"did you mean {' or '.join(near)}?" if near else "it was renamed, or written by a newer version"
        raise UserError(f"there is no class {name} in {module}: {guess}")
    if not (isinstance(found, type) and issubclass(found, kind)):
        raise UserError(f"{class_path} is no {kind.__name__}: name a class that is one")
    return found


def built(value: Any, kind: type = object) -> Any:
    """Return what a saved value stands for: dictionaries with a ``class_path`` become objects, at any depth.

    Args:
        value: plain values, lists and dictionaries.
        kind: what an object at the top has to be.

    Raises:
        UserError: a class is not to be found, or says what is wrong with its options.
    """
    if isinstance(value, Mapping) and isinstance(value.get("class_path"), str):
        options = {name: built(each) for name, each in (value.get("init_args") or {}).items()}
        return named_class(value["class_path"], kind)(**with_bundled_paths(options))
    if isinstance(value, Mapping):
        return {name: built(each) for name, each in value.items()}
    return [built(each) for each in value] if isinstance(value, list) else value


def described(thing: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `built` makes the same thing of.

    Args:
        thing: the object, or its class.
        options: that it was made with, plain values. Files that come with the code are named as on any machine.
    """
    cls = thing if inspect.isclass(thing) else type(thing)
    return {"class_path": f"{cls.__module__}.{cls.__qualname__}", "init_args": portable(options)}
