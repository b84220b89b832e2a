import pytest

from visionscapes.errors import UserError
from visionscapes.json_lines import append_line, as_line, open_to_append, read_entries, read_lines


def test_lines_come_back_with_their_places(tmp_path):
    path = tmp_path / "a" / "lines.jsonl"
    entries = [{"name": "Übung"}, {"name": "b\nc", "value": [0.1, None]}]
    with open_to_append(path) as file:
        for entry in entries:
            append_line(file, entry)
    assert list(read_entries(path)) == entries
    content = path.read_bytes()
    assert [content[start:stop] for start, stop, _ in read_lines(path)] == [as_line(entry) for entry in entries]
    assert content.count(b"\n") == 2


@pytest.mark.parametrize("kept", range(1, len(as_line({"n": 2}))))
def test_a_torn_line_is_passed_over_and_cut_off(tmp_path, kept):
    path = tmp_path / "lines.jsonl"
    path.write_bytes(as_line({"n": 1}) + as_line({"n": 2})[:kept])
    assert list(read_entries(path)) == [{"n": 1}]
    with open_to_append(path) as file:
        append_line(file, {"n": 3})
    assert list(read_entries(path)) == [{"n": 1}, {"n": 3}]


def test_a_line_is_on_the_disk_before_the_file_is_closed(tmp_path):
    file = open_to_append(tmp_path / "lines.jsonl")
    append_line(file, {"n": 1})
    assert list(read_entries(tmp_path / "lines.jsonl")) == [{"n": 1}]
    file.close()


def test_a_file_that_is_not_there_has_no_lines(tmp_path):
    assert list(read_lines(tmp_path / "none")) == []


@pytest.mark.parametrize("damaged", [b"\x00\x00\n", b"[1]\n", b'{"n": \n'])
def test_damage_that_no_kill_does_is_an_error(tmp_path, damaged):
    path = tmp_path / "lines.jsonl"
    path.write_bytes(as_line({"n": 1}) + damaged + as_line({"n": 2}))
    with pytest.raises(UserError, match=r"line 2 of .* is no JSON object"):
        list(read_entries(path))
