import pytest

from visionscapes.missing_packages import told_if_missing


def test_a_package_that_is_not_installed_is_told(capsys):
    with pytest.raises(SystemExit) as caught, told_if_missing():
        import no_such_package.inside  # noqa: F401
    assert caught.value.code == 2
    assert "error: the package no_such_package is not installed for" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["visionscapes.no_such_module", "networks.no_such_module"])
def test_modules_of_ours_are_mistakes_of_ours(name):
    with pytest.raises(ModuleNotFoundError), told_if_missing():
        __import__(name)
