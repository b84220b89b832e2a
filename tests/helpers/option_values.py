"""The options that classes declare, and values that each of them has to refuse."""

import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from callbacks.run.checkpointing import Checkpointing
from visionscapes.checks import Among, Bounds, option_annotations

ROOMS = ("callbacks", "datamodules", "networks", "lightning_modules")
PROBES = (0, -1, math.nan, math.inf, -math.inf, 10**30, -(10**30), 0.5)
UNBOUNDED = Bounds()


def exported_classes() -> list[type]:
    """Return every class that the command line reads: the exported ones, and those that their options are made of."""
    found: dict[type, None] = {}
    waiting: list[type] = [Checkpointing]  # --checkpoint
    waiting += [getattr(import_module(room), name) for room in ROOMS for name in import_module(room).EXPORTS]
    while waiting:
        cls = waiting.pop(0)
        if cls not in found and not inspect.isabstract(cls):
            found[cls] = None
            waiting += [one for annotation in options(cls).values() for one in _classes_in(annotation)]
    return list(found)


def options(cls: type) -> dict[str, Any]:
    """Return the annotations of a class' options, with those of the bases that ``**kwargs`` are passed on to."""
    found: dict[str, Any] = {}
    for base in cls.__mro__:
        if "__init__" in vars(base):
            if not _ours(base):
                break
            kinds = {each.kind for each in inspect.signature(vars(base)["__init__"]).parameters.values()}
            found = {**option_annotations(base), **found}
            if inspect.Parameter.VAR_KEYWORD not in kinds:
                break
    found.pop("kwargs", None)
    return found


def without_bounds(annotation: Any) -> bool:
    """Return whether a number somewhere in an annotation has no declared bounds; keys of dictionaries may have none."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return not any(isinstance(each, Bounds) for each in arguments[1:]) and without_bounds(arguments[0])
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return without_bounds(arguments[1])
    return annotation in (int, float) or (origin is not Literal and any(map(without_bounds, arguments)))


def valid(annotation: Any) -> Any:
    """Return a value that an annotation allows where it speaks of numbers or choices, else something of no meaning."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        bounds = next((each for each in arguments[1:] if isinstance(each, Bounds)), None)
        return valid(arguments[0]) if bounds is None else _numbers_within(arguments[0], bounds, 1)[0]
    if origin in (Union, UnionType):
        return None if type(None) in arguments else valid(arguments[0])
    if origin is Literal:
        return arguments[0]
    if origin in (list, tuple, Sequence):
        return _valid_list(origin, arguments)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {}
    return False if annotation is bool else object()


def outside(annotation: Any) -> Iterator[Any]:
    """Yield values that an annotation does not allow: numbers just outside the bounds, none, and far too large ones.

    In the place of True and False, and of a dictionary, there is something else.

    Lists get one such number among others that are right, and are too short, too long, or with a value twice.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        bounds = next((each for each in arguments[1:] if isinstance(each, Bounds)), None)
        yield from outside(arguments[0]) if bounds is None else _numbers_outside(arguments[0], bounds)
    elif origin in (Union, UnionType):
        for each in arguments:
            yield from outside(each)
    elif origin is Literal:
        yield from (12345,) if isinstance(arguments[0], int) else ("no such choice", "")
    elif origin in (list, tuple, Sequence):
        right = _valid_list(origin, arguments)
        for place in range(len(right)):
            of = arguments[place] if origin is tuple and len(arguments) == len(right) else arguments[0]
            for wrong in outside(of):
                yield [*right[:place], wrong, *right[place + 1 :]]
        yield from _lists_of_wrong_length(origin, arguments, right)
    elif isinstance(origin, type) and issubclass(origin, Mapping):
        yield "no dictionary"
        yield from ({1: wrong} for wrong in outside(arguments[1]))
    elif annotation is bool:
        yield "perhaps"  # not "yes", which is true in YAML, nor 1, which a number in the same union may be


def _ours(cls: type) -> bool:
    return cls.__module__.partition(".")[0] in ROOMS


def _classes_in(annotation: Any) -> Iterator[type]:
    """Yield the classes of ours that an annotation names, and what can stand for them."""
    if isinstance(annotation, type) and get_origin(annotation) is None:
        if _ours(annotation):
            yield annotation
            for child in annotation.__subclasses__():
                yield from _classes_in(child)
    else:
        for each in get_args(annotation):
            yield from _classes_in(each)


def _numbers_within(kind: type, bounds: Bounds, count: int) -> list[Any]:
    start = next(each for each in (bounds.least, bounds.above, bounds.most, bounds.below, 1) if each is not None)
    steps = [start + sign * step for step in (0, 1, 2, 3, 4, 0.01, 0.02, 0.03, 0.04) for sign in (1, -1)]
    found = [kind(each) for each in dict.fromkeys(steps) if bounds.contain(each) and kind(each) == each]
    return found[:count]


def _numbers_outside(kind: type, bounds: Bounds) -> Iterator[Any]:
    def next_to(value: float, direction: float) -> float:
        return int(value + direction) if kind is int else math.nextafter(value, direction * math.inf)

    edges = [next_to(bounds.least, -1)] if bounds.least is not None else []
    edges += [next_to(bounds.most, 1)] if bounds.most is not None else []
    edges += [kind(each) for each in (bounds.above, bounds.below) if each is not None]
    for value in [*edges, *PROBES]:
        whole = isinstance(value, int)
        allowed = (
            abs(value) < 2**63 and bounds.contain(value) if whole else math.isfinite(value) and bounds.contain(value)
        )
        if not allowed or (kind is int and not whole):
            yield value


def _among(element: Any) -> Among:
    return next((each for each in getattr(element, "__metadata__", ()) if isinstance(each, Among)), Among(0))


def _valid_list(origin: Any, arguments: tuple[Any, ...]) -> list[Any]:
    if origin is tuple and arguments[-1] is not Ellipsis:
        return [valid(each) for each in arguments]
    count = max(1, _among(arguments[0]).least)
    bounds = next((each for each in getattr(arguments[0], "__metadata__", ()) if isinstance(each, Bounds)), None)
    if bounds is None:
        return [valid(arguments[0])] * count
    return _numbers_within(get_args(arguments[0])[0], bounds, count)


def _lists_of_wrong_length(origin: Any, arguments: tuple[Any, ...], right: list[Any]) -> Iterator[list[Any]]:
    if origin is tuple and arguments[-1] is not Ellipsis:
        yield right[:-1]
        yield [*right, right[-1]]
        return
    among = _among(arguments[0])
    if among.least:
        yield right[: among.least - 1]
    if among.most is not None:
        yield right * (among.most + 1)
    if among.different:
        yield right * 2
