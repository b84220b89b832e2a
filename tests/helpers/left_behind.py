"""What an object holds on a device, wherever it hides it: attributes, lists, dictionaries, closures, plain objects."""

import functools
import types
from collections.abc import Iterator, Mapping
from typing import Any

import torch

ATOMS = (str, bytes, int, float, complex, bool, type(None), type, types.ModuleType, torch.dtype, torch.Size)


def left_behind(whole: Any, device: str) -> list[str]:
    """Return where ``whole`` keeps tensors, or names of devices, that are not on ``device``.

    Args:
        whole: any object; everything that can be reached from it is looked at.
        device: type of the device, such as "meta".

    Returns:
        A line each: the path from ``whole``, and what is there.
    """
    found, seen = [], set()
    waiting = [("", whole)]
    while waiting:
        path, item = waiting.pop()
        if isinstance(item, ATOMS) or id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, torch.Tensor | torch.device):
            where = item.device if isinstance(item, torch.Tensor) else item
            if where.type != device:
                what = f"tensor {tuple(item.shape)}" if isinstance(item, torch.Tensor) else "name of a device"
                found.append(f"{path}: {what} on {where}")
        else:
            waiting += [(path + step, inner) for step, inner in _inside(item)]
    return sorted(found)


def _inside(item: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(item, Mapping):
        for key, value in item.items():
            yield f"[{key!r}]", value
    elif isinstance(item, list | tuple | set | frozenset):
        for number, value in enumerate(item):
            yield f"[{number}]", value
    elif isinstance(item, functools.partial):
        yield ".args", (item.func, item.args, item.keywords)
    elif isinstance(item, types.MethodType):
        yield ".__self__", item.__self__
    elif isinstance(item, types.FunctionType):
        for number, cell in enumerate(item.__closure__ or ()):
            yield f".closure[{number}]", cell.cell_contents
        yield ".defaults", item.__defaults__
    for name, value in getattr(item, "__dict__", {}).items():
        yield f".{name}", value
    for kind in type(item).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if hasattr(item, name):
                yield f".{name}", getattr(item, name)
