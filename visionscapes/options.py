"""Groups of options: dataclasses that the command line reads as ``--model.<group>.<option>``.

A class takes a group as one argument, with a dataclass for its default. From the command line the dataclass comes
built; from a checkpoint it comes as the dictionary that `plain` made of it: checkpoints hold plain values only.
"""

from collections.abc import Mapping
from dataclasses import asdict, is_dataclass, replace
from inspect import signature
from typing import Any, TypeVar

Group = TypeVar("Group")


def group_of(owner: type, name: str, value: Group | Mapping[str, Any]) -> Group:
    """Return a group of options, built if it comes as a dictionary.

    Args:
        owner: the class that takes the group; what a dictionary leaves out is as in the default of its constructor.
        name: of the group in the constructor of ``owner``.
        value: the group, or a dictionary of some of its options.
    """
    if not isinstance(value, Mapping):
        return value
    return replace(signature(owner).parameters[name].default, **value)


def plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with every group as a dictionary."""
    return {
        name: asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
        for name, value in options.items()
    }
