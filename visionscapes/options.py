"""Groups of options: dataclasses that the command line reads as ``--model.<group>.<option>``.

A class takes a group as one argument, with a dataclass for its default. From the command line the dataclass comes
built; from a checkpoint it comes as the dictionary that `plain` made of it: checkpoints hold plain values only.
"""

from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass, replace
from inspect import signature
from typing import Any, TypeVar

from visionscapes.errors import UserError

Group = TypeVar("Group")


def group_of(owner: type, name: str, value: Group | Mapping[str, Any]) -> Group:
    """Return a group of options, built if it comes as a dictionary.

    Args:
        owner: the class that takes the group; what a dictionary leaves out is as in the default of its constructor.
        name: of the group in the constructor of ``owner``.
        value: the group, or a dictionary of some of its options.

    Raises:
        UserError: it is neither, or an option does not exist.
    """
    return filled(f"{owner.__name__}.{name}", signature(owner).parameters[name].default, value)


def filled(name: str, default: Group, value: Any) -> Group:
    """Return a group of options, see `group_of`.

    Args:
        name: what errors call it.
        default: has what a dictionary leaves out.
        value: the group, or a dictionary.

    Raises:
        UserError: it is neither, or an option does not exist.
    """
    known = [each.name for each in fields(default)]  # type: ignore[arg-type]
    if isinstance(value, Mapping):
        if unknown := [str(each) for each in value if each not in known]:
            raise UserError(f"{name} has no option {', '.join(unknown)}: it has {', '.join(known)}")
        return replace(default, **value)  # type: ignore[type-var]
    if not isinstance(value, type(default)):
        kind = type(default).__name__
        raise UserError(f"{name} is {value!r}; it has to be a {kind}, or a dictionary of {', '.join(known)}")
    return value


def plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with every group as a dictionary."""
    return {
        name: asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
        for name, value in options.items()
    }
