import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import cli
from command_line.help import OPTIONS, SUBCOMMANDS
from command_line.subcommands.table import OWN

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def from_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def answered(capsys, *args: str) -> str:
    with pytest.raises(SystemExit) as caught:
        cli.main(list(args))
    assert caught.value.code == 0
    return capsys.readouterr().out


def refused(capsys, *args: str) -> str:
    with pytest.raises(SystemExit) as caught:
        cli.main(list(args))
    assert caught.value.code == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert len(output.err.splitlines()) == 1
    return output.err


@pytest.mark.parametrize("args", [(), ("-h",), ("--help",)])
def test_overview_names_subcommands_and_configurations(capsys, args):
    text = answered(capsys, *args)
    assert all(f"  {name} " in text for name in SUBCOMMANDS)
    assert "configs/hardware/ddp.yaml" in text
    assert "python cli.py fit --config configs/lift.yaml" in text


@pytest.mark.parametrize("subcommand", SUBCOMMANDS)
def test_help_of_a_subcommand(capsys, subcommand):
    text = answered(capsys, subcommand, "--config", "configs/debug.yaml", "--help")
    assert ("--trainer.max_epochs" in text) == (subcommand not in OWN), "a subcommand of our own runs no trainer"
    assert "--help_full" in text
    assert ("--test_after_fit" in text) == (subcommand == "fit")


def test_version(capsys):
    assert "pytorch-lightning 2." in answered(capsys, "--version")


@pytest.mark.parametrize(
    ("args", "hint"),
    [
        (("fitt",), "did you mean fit?"),
        (("xyz",), "which comes first: fit, validate, test, predict, export"),
        (("--config", "configs/debug.yaml", "fit"), "which comes first"),
        (("fit", "--config", "configs/debg.yaml"), "did you mean configs/debug.yaml?"),
        (("fit", "--config=configs/debg.yaml"), "did you mean configs/debug.yaml?"),
        (("fit", "--config", "configs"), "configs is a folder"),
        (("fit", "--config", "cli.py"), "cli.py is no "),
        (("fit", "--config"), "--config needs a file"),
        (("fit", "--config", "lift", "-c"), "--config needs a file"),
    ],
)
def test_mistakes_that_need_no_torch(capsys, args, hint):
    assert hint in refused(capsys, *args)


def test_broken_yaml_is_named(capsys, tmp_path):
    path = tmp_path / "broken.yaml"
    path.write_text("model:\n  class_path: [\n")
    error = refused(capsys, "fit", "--config", str(path))
    assert f"{path} is no valid YAML" in error
    assert "line 3" in error


def test_listed_options_are_those_of_the_parser(capsys):
    """The list is written by hand: every option exists, with the default that is shown."""
    tiny = ["--model=tests.helpers.tiny.TinyModule", "--data=tests.helpers.tiny.TinyData"]
    defaults = yaml.safe_load(answered(capsys, "fit", *tiny, "--print_config"))
    for option, shown, _ in (row for rows in OPTIONS.values() for row in rows):
        if option in ("--config", "--print_config", "--help_full", "--model.help"):
            continue
        value = defaults
        for key in option.strip("-+").split("."):
            value = value[key]
        if shown:
            assert value == yaml.safe_load(shown), option


def test_full_help_and_help_of_a_class(capsys):
    assert "--trainer.sync_batchnorm" in answered(capsys, "fit", "--help_full")
    assert "learning rate" in answered(capsys, "fit", "--model.help", "tests.helpers.tiny.TinyModule")


def test_help_of_the_class_that_is_chosen(capsys, tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text("model: {class_path: tests.helpers.tiny.TinyModule}\n")
    assert "learning rate" in answered(capsys, "fit", "--config", str(path), "--model.help")
    assert "--data.help needs a class" in refused(capsys, "fit", "--config", str(path), "--data.help")


@pytest.mark.parametrize(("args", "limit"), [(["--help"], 3), (["fit", "--help"], 6), (["--version"], 3)])
def test_help_comes_at_once(args, limit):
    """CPU time of the process, which does not depend on how busy the machine is; measured 0.1 s each."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "cli.py", *args], cwd=ROOT, env=environment, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0
    assert done.stderr == ""
    assert (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime) < limit / 3


def test_importing_the_entry_point_does_not_import_torch():
    code = "import sys, cli; sys.exit('torch' in sys.modules or 'pytorch_lightning' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
