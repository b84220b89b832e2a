"""The commands ``python -m datamodules.<name>``, which stand in modules of their own so that their names stay."""

import runpy
import signal
import sys

import pytest

COMMANDS = (
    "datamodules.clips.talking_files",
    "datamodules.celeba_mask_hq",
    "datamodules.detection_scenes",
    "datamodules.sparse_annotations",
    "datamodules.voc_detection",
)


@pytest.fixture(autouse=True)
def handler_restored():
    """Put back what SIGTERM does: a command that runs in this process would have it end the process for good."""
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_says_how_it_is_called(monkeypatch, capsys, command):
    monkeypatch.setattr(sys, "argv", ["x", "--help"])
    with pytest.raises(SystemExit) as end:
        runpy.run_module(command, run_name="__main__")
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: python -m {command} ")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_without_arguments_is_refused(monkeypatch, capsys, command):
    monkeypatch.setattr(sys, "argv", ["x"])
    with pytest.raises(SystemExit) as end:
        runpy.run_module(command, run_name="__main__")
    assert end.value.code == 2
    assert "required" in capsys.readouterr().err
