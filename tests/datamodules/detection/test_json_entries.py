import json

import pytest

from datamodules.detection.json_entries import EntryProblem, JsonFile, read_json_file, shortened
from visionscapes.errors import UserError

CONTENT = {
    "info": {"images": [1, 2]},  # not the list of that name
    "categories": [],
    "images": [{"id": 1, "a": [{}, {}]}, {"id": 2, "name": '"images": ['}, {"id": 3}],
}


@pytest.mark.parametrize("indent", [1, 4, "\t"])
def test_the_line_of_an_entry_is_that_of_its_brace(tmp_path, indent):
    text = json.dumps(CONTENT, indent=indent)
    file = JsonFile(tmp_path, text)
    for place, number in enumerate((1, 2, 3)):
        lines = text.splitlines()
        before = next(k for k, line in enumerate(lines) if line.strip().strip(",") == f'"id": {number}')
        assert file.line("images", place) == f"line {before}"


def test_in_one_line_the_character_is_named(tmp_path):
    text = json.dumps(CONTENT)
    position = int(JsonFile(tmp_path, text + "\n").line("images", 1).removeprefix("character "))
    assert text[position - 1 :].startswith('{"id": 2')


@pytest.mark.parametrize(("name", "place"), [("images", 4), ("annotations", 0), ("info", 5)])
def test_an_entry_that_is_not_there_has_no_line(tmp_path, name, place):
    assert JsonFile(tmp_path, json.dumps(CONTENT)).line(name, place) == ""


def test_an_error_names_file_entry_field_and_what_to_do(tmp_path):
    problem = EntryProblem("images", 1, '"id" is 2', fix="take it out", entry_id="x" * 99)
    message = str(JsonFile(tmp_path / "a.json", json.dumps(CONTENT, indent=1)).error(problem))
    assert message.startswith(f"{tmp_path}/a.json: picture 'xxx")
    assert message.endswith('xxx... (entry 2 of "images", line 17): "id" is 2: take it out')
    assert len(shortened("x" * 99)) == 63


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(UserError, match=r"a\.json cannot be read \(No such file or directory\): give a file of"):
        read_json_file(tmp_path / "a.json")
