"""Bounds of options, declared beside the signature and checked before anything is built.

A constructor says what its options may be in their annotations and checks them in its first line::

    def __init__(self, lr: PositiveFloat = 1e-3, betas: tuple[Share, Share] = (0.9, 0.999), k: PositiveInt = 5):
        check_options(MyModule, locals())

so that a value out of bounds gets one line, ``MyModule.lr is -1; it has to be above 0``, from Python and from the
command line alike. A dataclass of options checks itself: ``check_options(MyOptions, vars(self))`` in ``__post_init__``.
"""

import inspect
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from numbers import Integral, Real
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from visionscapes.errors import UserError

LARGEST_INTEGER = 2**63 - 1  # what torch and numpy can hold
EACH = "each of its values has to be "


@dataclass(frozen=True, repr=False)
class Bounds:
    """What a number may be; it is finite in any case. Write ``Annotated[float, Bounds(above=0, most=1)]``.

    Attributes:
        least: the smallest value; None for no such bound.
        above: what the value has to exceed; None for no such bound.
        most: the largest value; None for no such bound.
        below: what the value has to stay below; None for no such bound.
    """

    least: float | None = None
    above: float | None = None
    most: float | None = None
    below: float | None = None

    def __str__(self) -> str:
        if self.least is not None and self.most is not None:
            return f"between {self.least:g} and {self.most:g}"
        words = {"at least": self.least, "above": self.above, "at most": self.most, "below": self.below}
        return " and ".join(f"{word} {bound:g}" for word, bound in words.items() if bound is not None) or "finite"

    __repr__ = __str__  # which help shows as the type: Annotated[float, above 0]

    def contain(self, value: float) -> bool:
        """Return whether a finite value lies within."""
        return (
            (self.least is None or value >= self.least)
            and (self.above is None or value > self.above)
            and (self.most is None or value <= self.most)
            and (self.below is None or value < self.below)
        )


@dataclass(frozen=True, repr=False)
class Sized:
    """How many elements a list has. Write ``Annotated[list[int], Sized(1)]``.

    Attributes:
        least: number of elements.
        different: whether no two may be equal.
    """

    least: int = 1
    different: bool = False

    def __str__(self) -> str:
        return f"a list of {self.least} or more{' different values' if self.different else ' values'}"

    __repr__ = __str__


PositiveInt = Annotated[int, Bounds(least=1)]
NonNegativeInt = Annotated[int, Bounds(least=0)]
PositiveFloat = Annotated[float, Bounds(above=0)]
NonNegativeFloat = Annotated[float, Bounds(least=0)]
Share = Annotated[float, Bounds(least=0, most=1)]
FiniteFloat = Annotated[float, Bounds()]


def check_options(owner: type, values: Mapping[str, Any]) -> None:
    """Check values against the annotations of a constructor.

    Numbers have to be finite and within their ``Bounds``, whole where the annotation says int; of a ``Literal`` only
    the listed values are allowed; lists, tuples, dictionaries and unions are looked into. Options without a value are
    passed over.

    Args:
        owner: the class whose constructor, written in it and not inherited, has the annotations.
        values: by name of the option: ``locals()`` of the constructor.

    Raises:
        UserError: a value is out of bounds; the first in the order of the signature is told.
    """
    for name, annotation in option_annotations(owner).items():
        if name in values:
            check_value(f"{owner.__name__}.{name}", values[name], annotation)


@cache
def option_annotations(owner: type) -> dict[str, Any]:
    """Return the annotations of the options of a class' own constructor, with their bounds, in order."""
    constructor = vars(owner)["__init__"]
    hints = get_type_hints(constructor, include_extras=True)
    names = list(inspect.signature(constructor).parameters)[1:]
    return {name: hints[name] for name in names if name in hints}


def check_value(name: str, value: Any, annotation: Any) -> None:
    """Check one value; see `check_options`.

    Args:
        name: of the option, for the message.
        value: what it is.
        annotation: what it may be.

    Raises:
        UserError: it is something else.
    """
    remedy = _complaint(value, annotation)
    if remedy is not None:
        subject = "" if remedy.startswith(EACH) else "it has to be "
        raise UserError(f"{name} is {value!r}; {subject}{remedy}")


def at_least(least: int, **options: int) -> None:
    """Check that values that are no options of a constructor, by name, are not below ``least``.

    Raises:
        UserError: one is.
    """
    for option, value in options.items():
        check_value(option, value, Annotated[int, Bounds(least=least)])


def _complaint(value: Any, annotation: Any) -> str | None:
    """Return what a value has to be if it is not, None if it is or if nothing is known of it."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _complaint_about_annotated(value, arguments[0], arguments[1:])
    if origin in (Union, UnionType):
        return _complaint_about_union(value, arguments)
    if origin is Literal:
        allowed = any(value == one and type(value) is type(one) for one in arguments)
        return None if allowed else f"one of {', '.join(map(repr, arguments))}"
    if annotation in (int, float):
        return _complaint_about_number(value, annotation, Bounds())
    for element, of_element in _elements(value, origin, arguments):
        remedy = _complaint(element, of_element)
        if remedy is not None:
            return remedy if remedy.startswith(EACH) else EACH + remedy
    return None


def _complaint_about_annotated(value: Any, annotation: Any, rules: tuple[Any, ...]) -> str | None:
    for rule in rules:
        if isinstance(rule, Bounds):
            return _complaint_about_number(value, annotation, rule)
        if isinstance(rule, Sized) and (
            len(value) < rule.least or (rule.different and any(one in value[:k] for k, one in enumerate(value)))
        ):
            return str(rule)
    return _complaint(value, annotation)


def _complaint_about_number(value: Any, kind: Any, bounds: Bounds) -> str | None:
    """Return what a number has to be; a value that is none, such as a path, is another check's business."""
    whole = kind is int
    if isinstance(value, bool) or not isinstance(value, Real):
        return f"a {'whole ' if whole else ''}number{'' if str(bounds) == 'finite' else f', {bounds}'}"
    if not math.isfinite(value):
        return f"a finite number{'' if str(bounds) == 'finite' else f', {bounds}'}"
    if not bounds.contain(float(value)):
        return str(bounds)
    if whole and not isinstance(value, Integral):
        return "a whole number"
    if isinstance(value, Integral) and abs(int(value)) > LARGEST_INTEGER:
        return f"at most {LARGEST_INTEGER}"
    return None


def _complaint_about_union(value: Any, arguments: tuple[Any, ...]) -> str | None:
    """Return None if the value fits one of the types; else what it has to be, in the words of the type it is like."""
    if value is None and type(None) in arguments:
        return None
    complaints = [_complaint(value, one) for one in arguments if one is not type(None) and _could_be(value, one)]
    if not complaints:  # of no type that is known here
        complaints = [_complaint(value, one) for one in arguments if one is not type(None)]
    return None if None in complaints else complaints[0]


def _could_be(value: Any, annotation: Any) -> bool:
    """Return whether a value is of the kind that an annotation is about, whatever its bounds."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _could_be(value, get_args(annotation)[0])
    if origin is Literal:
        return any(type(value) is type(one) for one in get_args(annotation))
    if annotation in (int, float):
        return isinstance(value, Real) and not isinstance(value, bool)
    kind = origin or annotation
    return not isinstance(kind, type) or isinstance(value, kind)


def _elements(value: Any, origin: Any, arguments: tuple[Any, ...]) -> Iterator[tuple[Any, Any]]:
    """Yield the elements of a list, a tuple or a dictionary with their annotations."""
    if not isinstance(origin, type) or not arguments:
        return
    if issubclass(origin, tuple) and isinstance(value, list | tuple):
        variable = len(arguments) == 2 and arguments[1] is Ellipsis
        yield from zip(value, arguments[:1] * len(value) if variable else arguments, strict=False)
    elif issubclass(origin, Mapping) and isinstance(value, Mapping):
        yield from ((one, arguments[1]) for one in value.values())
    elif len(arguments) == 1 and isinstance(value, list | tuple):
        yield from ((one, arguments[0]) for one in value)
