from pathlib import Path

import pytest

from visionscapes.bundled import ROOT, bundled, configurations, find_configuration, with_bundled_paths

DINO = "weights/dino.safetensors"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["configs/lift.yaml", "lift.yaml", "lift"])
def test_bundled_configurations_are_found_from_anywhere_and_the_users_own_comes_first(name, folder):
    assert find_configuration(name) == ROOT / "configs" / "lift.yaml"
    (folder / "configs").mkdir()
    (folder / "configs" / "lift.yaml").write_text("{}")
    assert find_configuration(name) == Path("configs/lift.yaml")
    (folder / name).write_text("{}")
    assert find_configuration(name) == Path(name)


@pytest.mark.parametrize(
    "name", ["", "configs", "../pyproject.toml", "pyproject.toml", "cli", "configs/../cli.py", "."]
)
def test_nothing_else_is_a_configuration(name):
    assert find_configuration(name) is None


def test_configurations_of_both_places_are_listed(folder):
    (folder / "configs").mkdir()
    for name in ("mine", "lift"):
        (folder / "configs" / f"{name}.yaml").write_text("{}")
    found = configurations()
    assert found["configs/mine.yaml"] == folder / "configs" / "mine.yaml"
    assert found["configs/lift.yaml"] == folder / "configs" / "lift.yaml"
    assert found["configs/paper/lift.yaml"] == ROOT / "configs" / "paper" / "lift.yaml"


@pytest.mark.parametrize("path", ["/etc/hostname", "weights/../pyproject.toml", "cli.py", "weights", "weights/none"])
def test_only_configurations_and_weights_are_bundled(path):
    assert bundled(path) is None


def test_bundled_configurations_name_bundled_files(folder):
    (folder / "weights" / "external").mkdir(parents=True)
    for own in (DINO, "weights/external/mine.pth"):
        (folder / own).write_text("own")
    given = {
        "weights": DINO,
        "list": [DINO, 3, None, "weights/none", "data/photos"],
        "own": "weights/external/mine.pth",
    }
    there = str(ROOT / DINO)
    assert with_bundled_paths(given) == {
        **given,
        "weights": there,
        "list": [there, 3, None, "weights/none", "data/photos"],
    }
