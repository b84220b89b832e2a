"""Every rule that a value can break, and the line that says so."""

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pytest

from visionscapes import checks
from visionscapes.checks import (
    Among,
    AnyInt,
    Bounds,
    ChannelDeviations,
    ChannelMeans,
    FiniteFloat,
    ImageSize,
    ImageSizes,
    NonNegativeFloat,
    NonNegativeInt,
    NumpySeed,
    Percent,
    PositiveFloat,
    PositiveInt,
    PositiveShare,
    Share,
    ShareBelowOne,
    Workers,
    check_options,
    check_rising,
    check_value,
)
from visionscapes.errors import UserError

NAN, INF = math.nan, math.inf
OPEN = Annotated[float, Bounds(above=0, below=1)]
AT_LEAST_TWO = list[Annotated[int, Bounds(least=1), Among(2)]]
ONE_TO_THREE = list[Annotated[float, Among(1, 3)]]
DIFFERENT = list[Annotated[str, Among(0, different=True)]]
Mode = Literal["min", "max"]


@pytest.mark.parametrize(
    ("annotation", "values"),
    [
        (int, [0, -1, 2**63 - 1, 1 - 2**63, np.int64(3)]),
        (float, [0, -1.5, 1e300, np.float32(0.5), 3]),
        (AnyInt, [-(10**18), 0, 5]),
        (FiniteFloat, [-1e300, 0, 1e-300]),
        (PositiveInt, [1, 10**9]),
        (NonNegativeInt, [0, 1]),
        (PositiveFloat, [1e-12, 1, 1e30]),
        (NonNegativeFloat, [0, 0.0, -0.0, 7]),
        (Share, [0, 0.5, 1]),
        (ShareBelowOne, [0, 0.999]),
        (PositiveShare, [1e-9, 1]),
        (OPEN, [1e-9, 0.5]),
        (Percent, [0.1, 100]),
        (NumpySeed, [0, 2**32 - 1]),
        (ImageSize, [1, 224, 2**14]),
        (Workers, [0, 1024]),
        (ImageSizes, [[32], [32, 64, 128]]),
        (ChannelMeans, [[0.485, 0.456, -1.0], (0, 0, 0)]),
        (ChannelDeviations, [[0.1, 0.2, 1]]),
        (Mode, ["min", "max"]),
        (Literal[1, "auto"], [1, "auto"]),
        (PositiveInt | None, [None, 1]),
        (PositiveInt | list[PositiveInt], [1, [1, 2], []]),
        (PositiveInt | Mode, [3, "max"]),
        (int | bool, [True, 4]),
        (bool, [True, False]),
        (bool | None, [None, True]),
        (bool | Literal["whole"], [False, "whole"]),
        (dict[str, int] | None, [None, {}, {"a": 1}]),
        (str | Path, ["anything", Path("x"), 3]),
        (AT_LEAST_TWO, [[1, 2], [1, 1, 1]]),
        (ONE_TO_THREE, [[0.5], [1, 2, 3]]),
        (DIFFERENT, [[], ["a"], ["a", "b"]]),
        (tuple[Share, Share], [(0, 1), [0.9, 0.999]]),
        (tuple[PositiveInt, ...], [(), (1,), [1, 2, 3]]),
        (Sequence[PositiveInt], [[1], (1, 2)]),
        (dict[str, PositiveFloat], [{}, {"a": 1}]),
        (Mapping[PositiveInt, str], [{1: "x"}]),
        (dict[str, Any], [{"a": object()}]),
        (Any, [NAN, object()]),
    ],
)
def test_what_is_allowed(annotation, values):
    for value in values:
        check_value("Class.option", value, annotation)


@pytest.mark.parametrize(
    ("annotation", "value", "message"),
    [
        # numbers
        (int, 1.5, "1.5; it has to be a whole number"),
        (int, "1", "'1'; it has to be a whole number"),
        (int, None, "None; it has to be a whole number"),
        (int, True, "True; it has to be a whole number"),
        (int, NAN, "nan; it has to be a finite number"),
        (int, 2**63, f"{2**63}; it has to be between -9223372036854775807 and 9223372036854775807"),
        (float, "x", "'x'; it has to be a number"),
        (float, False, "False; it has to be a number"),
        (float, INF, "inf; it has to be a finite number"),
        (float, 10**30, f"{10**30}; it has to be between -9223372036854775807 and 9223372036854775807"),
        # bounds
        (PositiveInt, 0, "0; it has to be at least 1"),
        (PositiveInt, -INF, "-inf; it has to be a finite number, at least 1"),
        (PositiveInt, "many", "'many'; it has to be a whole number, at least 1"),
        (PositiveInt, 2.5, "2.5; it has to be a whole number"),
        (PositiveInt, 0.5, "0.5; it has to be at least 1"),
        (NonNegativeInt, -1, "-1; it has to be at least 0"),
        (PositiveFloat, 0, "0; it has to be above 0"),
        (PositiveFloat, -0.0, "-0.0; it has to be above 0"),
        (PositiveFloat, NAN, "nan; it has to be a finite number, above 0"),
        (NonNegativeFloat, -1e-300, "-1e-300; it has to be at least 0"),
        (Share, 1.0000001, "1.0000001; it has to be between 0 and 1"),
        (Share, -0.1, "-0.1; it has to be between 0 and 1"),
        (ShareBelowOne, 1, "1; it has to be at least 0 and below 1"),
        (PositiveShare, 0, "0; it has to be above 0 and at most 1"),
        (OPEN, 1, "1; it has to be above 0 and below 1"),
        (OPEN, 0, "0; it has to be above 0 and below 1"),
        (Percent, 100.5, "100.5; it has to be above 0 and at most 100"),
        (NumpySeed, 2**32, "4294967296; it has to be between 0 and 4294967295"),
        (ImageSize, 2**14 + 1, "16385; it has to be between 1 and 16384"),
        (Workers, 1025, "1025; it has to be between 0 and 1024"),
        # choices
        (Mode, "mean", "'mean'; it has to be one of min, max"),
        (Mode, None, "None; it has to be one of min, max"),
        (Literal[1, 2], True, "True; it has to be one of 1, 2"),
        (Literal[1, 2], 1.0, "1.0; it has to be one of 1, 2"),
        (bool, "yes", "'yes'; it has to be True or False"),
        (bool, 1, "1; it has to be True or False"),
        (bool, None, "None; it has to be True or False"),
        # unions, in the words of what the value is like
        (bool | None, 0, "0; it has to be True or False"),
        (bool | Literal["whole"], "half", "'half'; it has to be one of whole"),
        (PositiveInt | None, 0, "0; it has to be at least 1"),
        (PositiveInt | list[PositiveInt], -3, "-3; it has to be at least 1"),
        (PositiveInt | list[PositiveInt], [1, 0], "[1, 0]; each of its values has to be at least 1"),
        (PositiveInt | Mode, "mean", "'mean'; it has to be one of min, max"),
        (PositiveInt | Mode, 0, "0; it has to be at least 1"),
        (PositiveFloat | None, "x", "'x'; it has to be a number, above 0"),
        # lists
        (list[PositiveInt], 3, "3; it has to be a list"),
        (list[str], "abc", "'abc'; it has to be a list"),
        (list[PositiveInt], [1, 0, -1], "[1, 0, -1]; each of its values has to be at least 1"),
        (list[list[Share]], [[0.5], [2]], "[[0.5], [2]]; each of its values has to be between 0 and 1"),
        (AT_LEAST_TWO, [1], "[1]; it has to be a list of 2 or more values"),
        (ONE_TO_THREE, [], "[]; it has to be a list of 1 to 3 values"),
        (ONE_TO_THREE, [1, 2, 3, 4], "[1, 2, 3, 4]; it has to be a list of 1 to 3 values"),
        (DIFFERENT, ["a", "b", "a"], "['a', 'b', 'a']; it has to be a list of 0 or more different values"),
        (ImageSizes, [], "[]; it has to be a list of 1 or more different values"),
        (ImageSizes, [32, 32], "[32, 32]; it has to be a list of 1 or more different values"),
        (ImageSizes, [32, 0], "[32, 0]; each of its values has to be between 1 and 16384"),
        (ChannelMeans, [0.5], "[0.5]; it has to be a list of 3 values"),
        (ChannelDeviations, [1, 1, 0], "[1, 1, 0]; each of its values has to be above 0"),
        # tuples and dictionaries
        (tuple[Share, Share], (0.5,), "(0.5,); it has to be a list of 2 values"),
        (tuple[Share, PositiveInt], [0.5, 0], "[0.5, 0]; each of its values has to be at least 1"),
        (tuple[PositiveInt, ...], (1, -1), "(1, -1); each of its values has to be at least 1"),
        (dict[str, Share], {"a": 1, "b": 2}, "{'a': 1, 'b': 2}; each of its values has to be between 0 and 1"),
        (dict[PositiveInt, str], {0: "x"}, "{0: 'x'}; each of its keys has to be at least 1"),
        (dict[str, Share], "a", "'a'; it has to be a dictionary"),
        (dict[str, Any] | None, 3, "3; it has to be a dictionary"),
        (dict[str, list[Share]], {"a": [3]}, "{'a': [3]}; each of its values has to be between 0 and 1"),
    ],
)
def test_what_is_refused(annotation, value, message):
    with pytest.raises(UserError) as refused:
        check_value("Class.option", value, annotation)
    assert str(refused.value) == f"Class.option is {message}"


NUMBERS = (-INF, -(10**30), -1, -0.5, 0, 0.5, 1, 2, 2.5, 10**30, INF, NAN)


@pytest.mark.parametrize(
    "bounds",
    [Bounds(), Bounds(least=0), Bounds(above=0), Bounds(most=1), Bounds(below=1), Bounds(least=0.5, below=2)],
)
def test_bounds_are_what_their_words_say(bounds):
    words = {"at least": "__ge__", "above": "__gt__", "at most": "__le__", "below": "__lt__"}
    for value in NUMBERS:
        expected = math.isfinite(value) and abs(value) < 1e20
        for part in [] if str(bounds) == "finite" else str(bounds).split(" and "):
            word, _, number = part.rpartition(" ")
            expected &= getattr(float(value), words[word])(float(number)) is True
        try:
            check_value("x", value, Annotated[float, bounds])
        except UserError:
            assert not expected, (bounds, value)
        else:
            assert expected, (bounds, value)


def test_help_shows_bounds_as_the_type():
    assert repr(PositiveFloat) == "typing.Annotated[float, above 0]"
    assert repr(Share) == "typing.Annotated[float, between 0 and 1]"
    assert repr(Among(1, 3)) == "1 to 3 values"


class Base:
    def __init__(self, lr: PositiveFloat = 1e-3, k: PositiveInt | None = None, note="", **rest: Any):
        check_options(Base, locals())
        self.lr, self.k = lr, k


class Child(Base):
    def __init__(self, size: ImageSize, lr: PositiveFloat = 1.0):
        check_options(Child, locals())
        super().__init__(lr)


@dataclass
class Options:
    tau: NonNegativeInt = 0
    share: Share = 0.5

    def __post_init__(self) -> None:
        check_options(Options, vars(self))


def test_a_constructor_checks_its_options_in_order():
    assert Base(k=3, note=object(), other=NAN).k == 3
    with pytest.raises(UserError, match=r"^Base\.lr is 0; it has to be above 0$"):
        Base(lr=0, k=0)
    with pytest.raises(UserError, match=r"^Base\.k is 0; it has to be at least 1$"):
        Base(k=0)


def test_the_class_that_is_built_is_named():
    with pytest.raises(UserError, match=r"^Child\.size is 0"):
        Child(0, lr=-1)
    with pytest.raises(UserError, match=r"^Child\.lr is -1"):
        Child(8, lr=-1)


def test_a_dataclass_of_options_checks_itself():
    assert Options(3).tau == 3
    with pytest.raises(UserError, match=r"^Options\.share is 2; it has to be between 0 and 1$"):
        Options(share=2)


def test_options_without_a_value_are_passed_over():
    check_options(Base, {"k": 2, "unknown": NAN})
    with pytest.raises(UserError, match=r"^Base\.k is -2"):
        check_options(Base, {"k": -2})


def test_annotations_of_the_constructor_itself():
    assert list(checks.option_annotations(Child)) == ["size", "lr"]
    assert list(checks.option_annotations(Base)) == ["lr", "k", "rest"]
    assert checks.option_annotations(Base)["lr"] == PositiveFloat
    assert list(checks.option_annotations(Options)) == ["tau", "share"]
    with pytest.raises(KeyError):
        checks.option_annotations(type("Heir", (Base,), {}))


def test_ranges_do_not_fall():
    check_rising(Base, scale=[0.5, 1], ratio=(1, 1), other=None)
    with pytest.raises(UserError) as refused:
        check_rising(Base, scale=[0.5, 1], ratio=(4, 3))
    assert str(refused.value) == "Base.ratio is (4, 3); it has to be a range, the smaller value first"


def test_every_named_kind_of_number_is_tried_here():
    named = {name for name, value in vars(checks).items() if name[0].isupper() and hasattr(value, "__metadata__")}
    source = inspect.getsource(inspect.getmodule(test_what_is_allowed))
    assert {name for name in named if source.count(f"({name},") < 2} <= {"AnyInt", "FiniteFloat"}
