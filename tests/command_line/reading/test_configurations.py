from pathlib import Path

import pytest

from command_line.reading.configurations import config_files, is_bundled, located
from visionscapes.bundled import ROOT
from visionscapes.errors import UserError

BUNDLED = ROOT / "configs" / "lift.yaml"


def test_configurations_get_their_places_and_what_was_not_named_so_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text("{}")
    words, told = located(["fit", "--config", "lift", "-c", "mine.yaml", "--config=none.yaml", "--name", "lift"])
    assert words == ["fit", "--config", str(BUNDLED), "-c", "mine.yaml", "--config=none.yaml", "--name", "lift"]
    assert told == [f"note: --config lift is the bundled {BUNDLED}"]
    assert config_files(words) == [str(BUNDLED), "mine.yaml", "none.yaml"]
    assert [is_bundled(file) for file in config_files(words)] == [True, False, False]
    assert located(words) == (words, [])


def test_an_option_at_the_end_of_a_command_has_no_configuration():
    assert config_files(["fit", "--config"]) == [""]
    assert config_files(["fit", "--config", "lift", "-c"]) == ["lift", ""]


def test_a_file_of_the_users_with_the_name_of_a_bundled_one_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("configs").mkdir()
    Path("configs/lift.yaml").write_text("{}")
    told = f"is your own file, not the bundled {BUNDLED}"
    assert located(["--config=configs/lift.yaml"]) == (
        ["--config=configs/lift.yaml"],
        [f"note: --config configs/lift.yaml {told}"],
    )
    assert located(["--config", "lift"])[1] == ["note: --config lift is configs/lift.yaml"]


def test_in_the_repository_nothing_is_told_of_its_own_files(monkeypatch):
    monkeypatch.chdir(ROOT)
    words = ["fit", "--config", "configs/lift.yaml"]
    assert located(words) == (words, [])
    told = "note: --config lift is the bundled configs/lift.yaml"
    assert located(["--config=lift"]) == (["--config=configs/lift.yaml"], [told])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["fit", "--config"], "--config needs the name"),
        (["fit", "--config="], "--config needs the name"),
        (["fit", "-c", "z" * 5000], "more than 255 characters"),
    ],
)
def test_what_names_no_file(words, told):
    with pytest.raises(UserError, match=told) as caught:
        located(words)
    assert len(str(caught.value)) < 200
