"""Bad input of every kind through the real entry point: what all cases share.

Every case ends with exit status 2 and one readable message that names the thing and the remedy, without a traceback,
and leaves what was saved before as it was.
"""

import contextlib
import re
import shutil
from pathlib import Path

import pytest

from tests.helpers.survival import content, fit, furnish, run, saved


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working directory with four photographs, a configuration of the real method, and nothing else."""
    monkeypatch.chdir(tmp_path)
    furnish()
    return tmp_path


@pytest.fixture
def refused(place, capsys):
    """Return what asserts that a command is refused with a message that has all these patterns."""

    def check(args, *patterns, after_steps=False):
        before = saved()
        capsys.readouterr()
        status = run(*args)
        output = capsys.readouterr().err
        assert status == 2, output
        assert "Traceback" not in output
        message = output.partition("error: ")[2]
        assert 0 < len(message) < 1500
        for pattern in patterns:
            assert re.search(pattern, message), f"{pattern!r} is not in: {message}"
        if not after_steps:  # else newer checkpoints may have taken the place of older ones
            assert saved().items() >= before.items()
        assert len(saved()) >= len(before)
        assert all(content(path) for path in saved())

    return check


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A finished run; every test that needs one takes a copy."""
    folder = tmp_path_factory.mktemp("finished")
    with contextlib.chdir(folder):
        furnish()
        assert run(*fit()) == 0
    return folder / "runs"


@pytest.fixture
def checkpoint(place, finished):
    """The last checkpoint of a finished run."""
    shutil.copytree(finished, "runs")
    return Path("runs/lift/first/checkpoints/last.ckpt")
