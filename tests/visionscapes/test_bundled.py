from pathlib import Path

import pytest

from visionscapes.bundled import ROOT, bundled, configurations, find_configuration, portable, with_bundled_paths

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


def test_bundled_files_are_written_as_on_any_machine(folder):
    there = str(ROOT / DINO)
    given = {"weights": there, "tuple": (there, 3), "run": f"{ROOT}/runs/lift/mine", "photos": "data/photos"}
    expected = {"weights": DINO, "tuple": [DINO, 3], "run": f"{ROOT}/runs/lift/mine", "photos": "data/photos"}
    assert portable(given) == expected
    assert with_bundled_paths(portable(there)) == there


def test_a_users_own_file_of_the_same_name_is_told_apart(folder):
    (folder / "weights").mkdir()
    (folder / DINO).write_text("own")
    assert portable(DINO) == str(folder / DINO)
    assert portable(str(ROOT / DINO)) == str(ROOT / DINO)
    assert with_bundled_paths(DINO, own_first=True) == DINO


def test_in_the_repository_there_is_no_other(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert portable(DINO) == portable(str(ROOT / DINO)) == DINO


def test_texts_that_no_file_system_takes_for_paths_stay_texts(folder):
    for text in (
        "a/" + "\u5b57" * 200,
        "weights/" + "\u5b57" * 100,
        "weights/" + "a" * 5000,
        "weights/\ud800",
        "weights/a\0b",
    ):
        assert with_bundled_paths([text], own_first=True) == portable([text]) == [text]
