"""Says in one line what is wrong with a command line or configuration, and what was probably meant."""

import inspect
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from difflib import SequenceMatcher
from importlib import import_module

# Where classes may be given by their name alone.
PACKAGES = ("lightning_modules", "datamodules", "callbacks", "pytorch_lightning.callbacks", "pytorch_lightning.loggers")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ": did you mean ...?" for the closest of ``known``, or nothing if none is close."""
    likeness = {name: SequenceMatcher(None, word.lower(), name.lower()).ratio() for name in sorted(set(known))}
    best = max(likeness.values(), default=0)
    if best < 0.6:
        return ""
    close = sorted((name for name in likeness if likeness[name] > best - 0.03), key=lambda name: -likeness[name])
    return f": did you mean {' or '.join(close[:3])}?"


def exported(package: str) -> list[str]:
    """Return the public names of a package; none if it cannot be imported."""
    try:
        module = import_module(package)
    except ImportError:
        return []
    return [name for name in getattr(module, "__all__", dir(module)) if not name.startswith("_")]


def class_paths() -> list[str]:
    """Return the class paths that are offered for ``class_path``."""
    return [f"{package}.{name}" for package in PACKAGES for name in exported(package) if name[:1].isupper()]


def arguments_of(class_path: str) -> list[str]:
    """Return the names of a class's arguments, with those that it passes on to its bases."""
    module, _, name = class_path.rpartition(".")
    found: list[str] = []
    for cls in inspect.getmro(getattr(import_module(module), name)):
        if "__init__" not in vars(cls):
            continue
        parameters = inspect.signature(vars(cls)["__init__"]).parameters.values()
        found += [each.name for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]
        if not any(each.kind == each.VAR_KEYWORD for each in parameters):
            break
    return [name for name in dict.fromkeys(found) if name != "self"]


def group_options(name: str) -> list[str]:
    """Return the options in groups of a module of this repository, as "model.stages.k"; none if it has no groups."""
    if name not in exported(PACKAGES[0]):
        return []
    groups = groups_of(f"{PACKAGES[0]}.{name}")
    return [f"model.{group}.{field.name}" for group, kind in groups.items() for field in fields(kind)]


def groups_of(class_path: str) -> dict[str, type]:
    """Return the dataclasses of the groups of options that a class takes, by the name of the group."""
    module, _, name = class_path.rpartition(".")
    parameters = inspect.signature(getattr(import_module(module), name)).parameters.values()
    return {each.name: type(each.default) for each in parameters if is_dataclass(each.default)}


def with_full_name(message: str, class_path: str) -> str:
    """Return a message about an option in a group, which begins with its dataclass, with the option's full name.

    Args:
        message: such as "Stages.k is 0; it has to be at least 2".
        class_path: of the class that takes the group.
    """
    for group, kind in groups_of(class_path).items():
        if message.startswith(f"{kind.__name__}."):
            return f"{class_path.rpartition('.')[2]}.{group}{message.removeprefix(kind.__name__)}"
    return message
