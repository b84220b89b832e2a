import csv

import pytest
import torch

from callbacks.run.run_log import RunLog
from tests.helpers.full_disk import largest_file
from visionscapes.errors import UserError


def rows(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_rows_are_on_disk_at_once(tmp_path):
    log = RunLog(tmp_path)
    log.log_metrics({"loss": torch.tensor(0.5), "epoch": 0}, step=0)
    assert rows(tmp_path) == [{"epoch": "0", "loss": "0.5", "step": "0"}]
    log.log_metrics({"new": 2.0}, step=1)
    assert [row["loss"] for row in rows(tmp_path)] == ["0.5", ""]
    assert [row["new"] for row in rows(tmp_path)] == ["", "2.0"]
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]


def test_earlier_sessions_are_kept_up_to_the_checkpoint(tmp_path):
    first = RunLog(tmp_path)
    for step in range(6):
        first.log_metrics({"loss": float(step)}, step=step)
    first.log_metrics({"val": 9.0}, step=3)
    resumed = RunLog(tmp_path, resumed_step=3)
    resumed.log_metrics({"loss": 3.0}, step=3)  # trained again
    resumed.log_metrics({"loss": 4.5, "extra": 1.0}, step=4)
    assert [row["loss"] for row in rows(tmp_path)] == ["0.0", "1.0", "2.0", "3.0", "", "4.5"]
    assert rows(tmp_path)[-1]["extra"] == "1.0"
    assert rows(tmp_path)[-2]["val"] == "9.0"


@pytest.mark.parametrize("cut", ["0,0.", "0,0.2,1", "0"])
def test_a_row_cut_off_by_a_crash_is_dropped(tmp_path, cut):
    (tmp_path / "metrics.csv").write_text(f"epoch,loss,step\n0,0.1,0\n{cut}")
    RunLog(tmp_path, resumed_step=14).log_metrics({"loss": 0.2}, step=15)
    assert [row["loss"] for row in rows(tmp_path)] == ["0.1", "0.2"]


FOREIGN = {
    "another table": b"hello,world\n1,2\n",
    "merged": b"<<<<<<< HEAD\nepoch,loss,step\n0,0.1,0\n",
    "UTF-16": "epoch,loss,step\n0,0.1,0\n".encode("utf-16"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_file_that_is_no_log_is_not_written_over(tmp_path, kind):
    path = tmp_path / "run" / "metrics.csv"
    path.parent.mkdir()
    path.write_bytes(FOREIGN[kind])
    with pytest.raises(UserError, match=r"metrics\.csv is no log of a run.*move it away.*--resume --name run$"):
        RunLog(path.parent, resumed_step=3).log_metrics({"loss": 0.2}, step=4)
    assert path.read_bytes() == FOREIGN[kind]
    RunLog(path.parent, resumed_step=-1).log_metrics({"loss": 0.2}, step=0)
    assert rows(path.parent) == [{"loss": "0.2", "step": "0"}], "the run begins again, and so does its log"


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("0,0.2\n", "left out 1 line that is no row"),
        ("0,0.2,1,5\n<<<<<<< HEAD\n0,\0,\0\n", "left out 3 lines that are no row"),
        ("0,0.2,", ""),
        ("\0\0\0", ""),
    ],
)
def test_lines_that_are_no_rows_are_counted(tmp_path, capsys, lines, told):
    (tmp_path / "metrics.csv").write_text(f"epoch,loss,step\n0,0.1,0\n{lines}")
    RunLog(tmp_path, resumed_step=14).log_metrics({"loss": 0.2}, step=15)
    assert [row["loss"] for row in rows(tmp_path)] == ["0.1", "0.2"]
    out = capsys.readouterr().out
    assert out == (f"note: {tmp_path / 'metrics.csv'}: {told}\n" if told else "")


def test_a_run_that_begins_again_begins_its_log_again(tmp_path):
    first = RunLog(tmp_path)
    first.log_metrics({"loss": 1.0, "of the first": 2.0}, step=0)
    RunLog(tmp_path, resumed_step=-1).log_metrics({"loss": 3.0}, step=0)
    assert rows(tmp_path) == [{"loss": "3.0", "step": "0"}]


def test_columns_that_only_later_rows_had_are_dropped_with_them(tmp_path):
    first = RunLog(tmp_path)
    first.log_metrics({"loss": 1.0}, step=0)
    first.log_metrics({"val": 1.0}, step=2)
    RunLog(tmp_path, resumed_step=1).log_metrics({"loss": 3.0}, step=1)
    assert rows(tmp_path) == [{"loss": "1.0", "step": "0"}, {"loss": "3.0", "step": "1"}]


def test_hyperparameters_make_no_file(tmp_path):
    RunLog(tmp_path).log_hyperparams({"lr": 0.1})
    assert not list(tmp_path.iterdir())


def test_rows_that_the_disk_has_no_space_for_are_taken_back(tmp_path):
    log, path = RunLog(tmp_path), tmp_path / "metrics.csv"
    with largest_file(3), pytest.raises(OSError, match="too large"):
        log.log_metrics({"loss": 0.25}, step=0)
    assert not path.exists()
    log = RunLog(tmp_path)
    log.log_metrics({"loss": 0.25}, step=0)
    whole = path.read_bytes()
    with largest_file(len(whole) + 5), pytest.raises(OSError, match="too large"):
        log.log_metrics({"loss": 0.123456789}, step=1)
    assert path.read_bytes() == whole
    log = RunLog(tmp_path)
    with largest_file(len(whole) + 20), pytest.raises(OSError, match="too large"):
        log.log_metrics({"another": "long" * 9}, step=1)  # there is space for a column, not for the row
    assert rows(tmp_path) == [{"another": "", "loss": "0.25", "step": "0"}]
