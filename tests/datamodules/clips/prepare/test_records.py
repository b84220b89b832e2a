import pytest

from datamodules.clips.prepare.records import (
    COLUMNS,
    digest_of,
    left_out_before,
    manifest_row,
    read_records,
    record_file,
    write_records,
)

ABOUT = {
    "source": "a.mp4",
    "settings": {"size": 224},
    "frames": 50,
    "seen": 48,
    "interpolated": 2,
    "without_face": 0,
    "damaged_packets": 0,
    "sound": "there",
    "sync": {"offset": -2, "confidence": 0.5, "distance": None, "moved": 0},
}


def left(name, reason="no face"):
    row = {"file": f"{name}.mp4", "reason": reason, "message": f'{name}: "no", face\nat all', "name": name}
    return row | {"offset": "", "confidence": "", "settings": "0" * 8}


def test_rows_come_back_sorted_whatever_bytes_their_names_have(tmp_path):
    rows = [manifest_row(name, ABOUT | {"source": name + ".mp4"}) for name in ("b", 'a "x",\r\ny', "\udcff", "é")]
    assert rows[0]["offset"] == "-2"
    assert rows[0]["distance"] == ""
    assert list(rows[0]) == list(COLUMNS["manifest"])
    path = record_file(tmp_path, "manifest", None)
    write_records(path, rows)
    assert path.name == "manifest.csv"
    assert read_records(path) == sorted(rows, key=lambda row: row["name"])
    assert path.read_text(errors="surrogateescape").startswith("name,source,frames,seen,")


def test_what_any_shard_left_out_is_known(tmp_path):
    write_records(record_file(tmp_path, "left_out", (1, 2)), [left("a")])
    write_records(record_file(tmp_path, "left_out", (2, 2)), [left("b", "unreadable"), left("c")])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["left_out.1-of-2.csv", "left_out.2-of-2.csv"]
    before = left_out_before(tmp_path)
    assert {name: row["reason"] for name, row in before.items()} == {"a": "no face", "b": "unreadable", "c": "no face"}
    assert before["a"] == left("a")


@pytest.mark.parametrize("content", [b"", b"\x00\xff", b"name\nx\n", b"file,reason\n1\n"])
def test_records_that_were_changed_beyond_recognition_are_none(tmp_path, content):
    (tmp_path / "left_out.csv").write_bytes(content)
    assert read_records(tmp_path / "left_out.csv") == []
    assert read_records(tmp_path / "manifest.csv") == []


def test_settings_are_told_apart_whatever_their_order():
    assert digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1}) != digest_of({"a": 1, "b": 3})
