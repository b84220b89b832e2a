import sys
from importlib import import_module

import pytest

from visionscapes.exports import lazy_exports


def test_names_are_imported_when_they_are_used(monkeypatch):
    monkeypatch.delitem(sys.modules, "wave", raising=False)
    getattribute, directory, names = lazy_exports(__name__, {"Wave_read": "wave", "dumps": "json"})
    assert names == ["Wave_read", "dumps"]
    assert {"Wave_read", "dumps", "lazy_exports", "__name__"} <= set(directory())
    assert directory() == sorted(set(directory()))
    assert "wave" not in sys.modules
    assert getattribute("Wave_read") is sys.modules["wave"].Wave_read


def test_other_names_are_missing_as_python_says():
    getattribute, _, _ = lazy_exports("a.package", {"dumps": "json", "gone": "json"})
    with pytest.raises(AttributeError, match=r"^module 'a\.package' has no attribute 'loads'$"):
        getattribute("loads")
    with pytest.raises(AttributeError, match="gone"):
        getattribute("gone")


@pytest.mark.parametrize("package", ["callbacks", "datamodules", "lightning_modules", "networks"])
def test_completion_offers_what_a_package_exports(package):
    module = import_module(package)
    assert set(module.EXPORTS) <= set(dir(module))
    assert {"EXPORTS", "__all__"} <= set(dir(module))


def test_data_sets_are_found_by_completion():
    assert "SPair71k" in dir(import_module("datamodules"))
