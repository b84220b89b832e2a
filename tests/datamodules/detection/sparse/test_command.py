"""What the command line takes and refuses."""

import os
import subprocess
import sys

import pytest

from tests.datamodules.detection.sparse.cases import failure, run


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--split", "6", "--percent", "50"], "no split '6'"),
        (["--split", "1"], "takes a percentage"),
        (["--split", "1", "--percent", "-1"], "from 0 to 100"),
        (["--split", "1", "--percent", "nan"], "from 0 to 100"),
        (["--split", "1", "--percent", "101"], "from 0 to 100"),
        (["--split", "1", "--percent", "50", "--level", "easy"], "no level"),
        (["--split", "4", "--percent", "50"], "no percentage"),
        (["--split", "1", "--percent", "50", "--seed", "-1"], "a seed is"),
        (["--split", "1", "--percent", "50", "--rounding", "up"], "rounding is"),
        (["--split", "1", "--percent", "50", "--refill"], "refill makes no difference"),
    ],
)
def test_settings_that_do_not_exist_are_refused(source, capsys, words, message):
    assert message in failure(capsys, *words, source, source.with_name("out.json"))
    assert list(source.parent.iterdir()) == [source]


def test_a_percentage_below_one_is_pointed_at(source, capsys):
    assert run(source, source.with_name("out.json"), "--split", "1", "--percent", "0.5") == 0
    assert "warning: --percent 0.5 is less than one in a hundred" in capsys.readouterr().err


def test_an_interruption_leaves_nothing_behind(source, tmp_path, capsys, monkeypatch):
    def interrupted(*paths):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    assert run(source, tmp_path / "out.json", "--split", "siod") == 130
    assert "stopped" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [source]


def test_the_module_runs_as_a_program(source, tmp_path):
    command = [sys.executable, "-m", "datamodules.sparse_annotations", "--split", "9", source, tmp_path / "out.json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: there is no split '9'")
    assert "Traceback" not in done.stderr
