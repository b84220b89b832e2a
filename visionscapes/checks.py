"""Bounds of options, declared beside the signature and checked before anything is built.

A constructor says what its options may be in their annotations and checks them in its first line::

    def __init__(self, lr: PositiveFloat = 1e-3, betas: tuple[Share, Share] = (0.9, 0.999), k: PositiveInt = 5):
        check_options(MyModule, locals())

so that a value out of bounds gets one line, ``MyModule.lr is -1; it has to be above 0``, from Python and from the
command line alike. A dataclass of options checks itself: ``check_options(MyOptions, vars(self))`` in ``__post_init__``.
tests/test_option_bounds.py tries values beyond the bounds of every exported class.
"""

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise, product
from numbers import Integral, Real
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from visionscapes.errors import UserError

LARGEST_INTEGER = 2**63 - 1  # what torch and numpy can hold
MOST_WORKERS = 1024  # each is a process: a slip of the keyboard would take the machine down
LARGEST_IMAGE = 2**14  # pixels: Pillow refuses to open more than 179 million of them, 13,377 x 13,377
EACH, EACH_KEY = "each of its values has to be ", "each of its keys has to be "


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
            return f"between {self.least} and {self.most}"
        words = {"at least": self.least, "above": self.above, "at most": self.most, "below": self.below}
        return " and ".join(f"{word} {bound}" for word, bound in words.items() if bound is not None) or "finite"

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
class Among:
    """How many values the list has that a value is one of. Write ``list[Annotated[int, Among(1)]]``.

    It stands on the values because ``Annotated[list[int], ...]`` would take ``--option+=`` from the command line.

    Attributes:
        least: the smallest number of values.
        most: the largest number of values; None for no such bound.
        different: whether no two may be equal.
    """

    least: int = 1
    most: int | None = None
    different: bool = False

    def __str__(self) -> str:
        count = {None: f"{self.least} or more", self.least: f"{self.least}"}
        return f"{count.get(self.most, f'{self.least} to {self.most}')}{' different' * self.different} values"

    __repr__ = __str__

    def allow(self, values: Sequence[Any]) -> bool:
        """Return whether a list has as many values, and different ones if they have to be."""
        many_enough = self.least <= len(values) <= (len(values) if self.most is None else self.most)
        return many_enough and not (self.different and any(one in values[:k] for k, one in enumerate(values)))


PositiveInt = Annotated[int, Bounds(least=1)]
NonNegativeInt = Annotated[int, Bounds(least=0)]
AnyInt = Annotated[int, Bounds()]
NumpySeed = Annotated[int, Bounds(least=0, most=2**32 - 1)]  # of numpy's legacy generator, which scikit-learn uses
PositiveFloat = Annotated[float, Bounds(above=0)]
NonNegativeFloat = Annotated[float, Bounds(least=0)]
FiniteFloat = Annotated[float, Bounds()]
Share = Annotated[float, Bounds(least=0, most=1)]
ShareBelowOne = Annotated[float, Bounds(least=0, below=1)]  # dropout, momentum, betas of Adam
PositiveShare = Annotated[float, Bounds(above=0, most=1)]
Percent = Annotated[float, Bounds(above=0, most=100)]
ImageSize = Annotated[int, Bounds(least=1, most=LARGEST_IMAGE)]
ImageSizes = list[Annotated[int, Bounds(least=1, most=LARGEST_IMAGE), Among(1, different=True)]]
ChannelMeans = list[Annotated[float, Bounds(), Among(3, 3)]]
ChannelDeviations = list[Annotated[float, Bounds(above=0), Among(3, 3)]]
Workers = Annotated[int, Bounds(least=0, most=MOST_WORKERS)]


def check_options(owner: type, values: Mapping[str, Any]) -> None:
    """Check values against the annotations of a constructor.

    Numbers have to be finite and within their ``Bounds``, whole where the annotation says int; of a ``Literal`` only
    the listed values are allowed, of a bool only True and False; lists, tuples, dictionaries and unions are looked
    into. Options without a value are passed over. The message names the class of ``self`` if that is among the values,
    which may be a subclass.

    Args:
        owner: the class whose constructor, written in it and not inherited, has the annotations.
        values: by name of the option: ``locals()`` of the constructor.

    Raises:
        UserError: a value is out of bounds; the first in the order of the signature is told.
    """
    named = type(values["self"]) if "self" in values else owner
    for name, annotation in option_annotations(owner).items():
        if name in values:
            check_value(f"{named.__name__}.{name}", values[name], annotation)


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
        subject = "" if remedy.startswith((EACH, EACH_KEY)) else "it has to be "
        raise UserError(f"{name} is {value!r}; {subject}{remedy}")


def check_rising(owner: type, **ranges: Sequence[float] | None) -> None:
    """Check that ranges, options of a class by name, do not fall: [0.5, 1] and [1, 1], but not [1, 0.5].

    Raises:
        UserError: one does.
    """
    for option, values in ranges.items():
        if values is not None and any(low > high for low, high in pairwise(values)):
            raise UserError(f"{owner.__name__}.{option} is {values!r}; it has to be a range, the smaller value first")


def _complaint(value: Any, annotation: Any) -> str | None:
    """Return what a value has to be if it is not, None if it is or if nothing is known of it."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _complaint_about_annotated(value, arguments[0], arguments[1:])
    if origin in (Union, UnionType):
        return _complaint_about_union(value, arguments)
    if origin is Literal:
        allowed = any(type(value) is type(one) and value == one for one in arguments)
        return None if allowed else f"one of {', '.join(map(str, arguments))}"
    if annotation is bool:
        return None if isinstance(value, bool) else "True or False"
    if annotation in (int, float):
        return _complaint_about_number(value, annotation, Bounds())
    if origin in (list, tuple, Sequence):
        return _complaint_about_list(value, origin, arguments)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            return "a dictionary"
        wrong = _complaint_about_each(list(product(value, arguments[:1])), EACH_KEY)
        return wrong or _complaint_about_each(list(product(value.values(), arguments[1:])), EACH)
    return None


def _complaint_about_annotated(value: Any, annotation: Any, rules: tuple[Any, ...]) -> str | None:
    bounds = next((rule for rule in rules if isinstance(rule, Bounds)), None)
    return _complaint(value, annotation) if bounds is None else _complaint_about_number(value, annotation, bounds)


def _complaint_about_number(value: Any, kind: Any, bounds: Bounds) -> str | None:
    within = "" if str(bounds) == "finite" else f", {bounds}"
    if isinstance(value, bool) or not isinstance(value, Real):
        return f"a {'whole ' if kind is int else ''}number{within}"
    if isinstance(value, Integral):  # not by way of a float, which overflows
        if not bounds.contain(int(value)):
            return str(bounds)
        return None if abs(int(value)) <= LARGEST_INTEGER else f"between {-LARGEST_INTEGER} and {LARGEST_INTEGER}"
    if not math.isfinite(value):
        return f"a finite number{within}"
    if not bounds.contain(float(value)):
        return str(bounds)
    return "a whole number" if kind is int else None


def _complaint_about_list(value: Any, origin: Any, arguments: tuple[Any, ...]) -> str | None:
    """Return what a list or a tuple has to be: its length, then its values."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        return "a list"
    if origin is tuple and arguments[-1] is not Ellipsis:
        among, elements = Among(len(arguments), len(arguments)), list(zip(value, arguments, strict=False))
    else:
        rules = getattr(arguments[0], "__metadata__", ())
        among = next((rule for rule in rules if isinstance(rule, Among)), Among(0))
        elements = list(product(value, arguments[:1]))
    return _complaint_about_each(elements, EACH) if among.allow(value) else f"a list of {among}"


def _complaint_about_each(elements: list[tuple[Any, Any]], each: str) -> str | None:
    """Return what the elements of a list or a dictionary, given with their annotations, have to be."""
    remedies = (_complaint(value, annotation) for value, annotation in elements)
    remedy = next((one for one in remedies if one is not None), None)
    return remedy if remedy is None or remedy.startswith((EACH, EACH_KEY)) else each + remedy


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
