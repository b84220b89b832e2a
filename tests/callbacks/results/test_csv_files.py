import csv
import os

import pytest

from callbacks.results.csv_files import write_csv


def test_names_of_files_come_back_whatever_bytes_they_hold(tmp_path):
    names = ['a,b "c".png', "line\nend.png", os.fsdecode(b"no\xffutf8.png"), "ä.png"]
    write_csv(tmp_path / "new" / "table.csv", ["name", "score"], ([name, 0.1 + 0.2] for name in names))
    with (tmp_path / "new" / "table.csv").open(newline="", errors="surrogateescape") as file:
        rows = list(csv.reader(file))
    assert rows == [["name", "score"], *([name, "0.30000000000000004"] for name in names)]


def test_a_table_that_cannot_be_finished_leaves_the_old_one(tmp_path):
    path = tmp_path / "table.csv"
    write_csv(path, ["name"], [["old"]])

    def rows():
        yield ["new"]
        raise KeyError("gone")

    with pytest.raises(KeyError):
        write_csv(path, ["name"], rows())
    assert path.read_text().split() == ["name", "old"]
    assert list(tmp_path.iterdir()) == [path]
