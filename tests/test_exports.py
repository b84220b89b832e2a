"""Every name that the packages export: it imports, explains its arguments, and costs nothing until it is used."""

import inspect
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

PACKAGES = ("lightning_modules", "networks", "callbacks", "datamodules")
NAMES = [(package, name) for package in PACKAGES for name in import_module(package).EXPORTS]


def parameters(cls) -> dict[str, inspect.Parameter]:
    """Return the constructor's parameters, with those of the bases that it passes ``**kwargs`` on to."""
    found: dict[str, inspect.Parameter] = {}
    for base in inspect.getmro(cls):
        if base is not object and "__init__" in vars(base):
            own = dict(list(inspect.signature(vars(base)["__init__"]).parameters.items())[1:])
            passed_on = [name for name, each in own.items() if each.kind == each.VAR_KEYWORD]
            found = {**own, **found}
            for name in passed_on:
                del found[name]
            if not passed_on:
                break
    return found


def documented(cls) -> dict[str, str]:
    """Return what the section Args says about each argument, in the class that has the constructor."""
    cls = next(base for base in inspect.getmro(cls) if "__init__" in vars(base))
    section = re.search(r"\nArgs:\n((?:    .*\n|\n)*)", inspect.cleandoc(cls.__doc__ or "") + "\n")
    return dict(re.findall(r"^    (\w+): (.+)", section[1], re.MULTILINE)) if section else {}


@pytest.mark.parametrize(("package", "name"), NAMES)
def test_export(package, name):
    cls = getattr(import_module(package), name)
    assert inspect.isclass(cls)
    assert cls.__name__ == name
    assert cls.__module__ == import_module(package).EXPORTS[name], "a class is exported from where it is written"
    assert cls.__doc__, "a docstring of its own"
    assert documented(cls).keys() == parameters(cls).keys(), "Args names every parameter and nothing else"


@pytest.mark.parametrize("name", import_module("callbacks").EXPORTS)
def test_callbacks_need_no_arguments_and_have_plain_defaults(name):
    cls = getattr(import_module("callbacks"), name)

    def plain(value):
        return all(map(plain, value)) if isinstance(value, list) else isinstance(value, str | int | float | bool | None)

    assert all(plain(each.default) for each in parameters(cls).values())
    cls()


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_list_their_names(package):
    module = import_module(package)
    assert list(module.__all__) == list(module.EXPORTS)
    with pytest.raises(AttributeError, match="Nonsense"):
        _ = module.Nonsense


def test_importing_the_packages_is_cheap():
    heavy = ("torch", "pytorch_lightning", "numpy")
    code = f"import sys, {', '.join(PACKAGES)}; print([name for name in {heavy} if name in sys.modules])"
    root = Path(__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
