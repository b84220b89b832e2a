"""What an option may be stands in its annotation; anything else is refused before anything is built."""

import inspect

import pytest

from tests.helpers.option_values import exported_classes, options, outside, valid, without_bounds
from visionscapes.checks import check_value
from visionscapes.errors import UserError

UNDECLARED = {"GANDiscovery", "GRIT", "Pix2PixHD", "SPADE"}
CLASSES = [cls for cls in exported_classes() if cls.__name__ not in UNDECLARED]
REFUSALS = [
    pytest.param(cls, name, id=f"{cls.__name__}.{name}")
    for cls in CLASSES
    for name, annotation in options(cls).items()
    if next(outside(annotation), None) is not None
]


def required(cls: type) -> dict:
    """Return values for the options that have no default."""
    parameters = inspect.signature(cls).parameters
    return {
        name: valid(annotation)
        for name, annotation in options(cls).items()
        if name in parameters and parameters[name].default is inspect.Parameter.empty
    }


@pytest.mark.parametrize(("cls", "option"), REFUSALS)
def test_values_outside_the_bounds_are_refused(cls, option):
    given = required(cls)
    for value in outside(options(cls)[option]):
        with pytest.raises(UserError) as caught:
            cls(**given | {option: value})
        assert str(caught.value).startswith(f"{cls.__name__}.{option} is {value!r}; "), caught.value


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_number_has_bounds(cls):
    assert [name for name, annotation in options(cls).items() if without_bounds(annotation)] == []


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_defaults_are_within_their_bounds(cls):
    for name, parameter in inspect.signature(cls).parameters.items():
        if parameter.default is not inspect.Parameter.empty and name in options(cls):
            check_value(name, parameter.default, options(cls)[name])


def test_the_classes_that_options_are_made_of_are_tried_too():
    assert {"BYOLViews", "SecondView", "KMeansTokens", "AnalysedViT", "CoMining"} <= {cls.__name__ for cls in CLASSES}
    assert {"lr", "tau_ppm"} <= set(options(next(cls for cls in CLASSES if cls.__name__ == "SparseDet")))
