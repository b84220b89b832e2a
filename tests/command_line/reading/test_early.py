"""What is refused before torch is imported is refused by the parser too, in the same words."""

import subprocess
import sys

import pytest

import cli
from command_line.help import OPTIONS, SUBCOMMANDS
from command_line.lightning_cli import CommandLine
from command_line.own_command_line import OwnCommandLine, command_line_of
from command_line.reading.early import known_options, refuse_early
from command_line.subcommands.table import OWN
from visionscapes.bundled import ROOT
from visionscapes.errors import UserError

TINY = ["--model", "tests.helpers.tiny.TinyModule", "--data", "tests.helpers.tiny.TinyData"]
MISTAKES = [
    ["--nmae", "x"],
    ["--trainer.max_epoch=3"],
    ["--trainer.max_epoch", "3"],
    ["--trainer.callback+=callbacks.ResultTable"],
    ["--checkpoint.montior=val/loss"],
    ["--seed=3"],
    ["--epochs=3"],
    ["--modle=tests.helpers.tiny.TinyModule"],
    ["--lr=3"],
    ["--stages.k=3"],
]


@pytest.fixture(autouse=True)
def from_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def refused(command, *args) -> str:
    with pytest.raises(UserError) as caught:
        command(["fit", *TINY, *args])
    return str(caught.value)


@pytest.mark.parametrize("mistake", MISTAKES, ids=" ".join)
def test_options_are_refused_in_the_words_of_the_parser(mistake):
    assert refused(refuse_early, *mistake) == refused(CommandLine, *mistake)


@pytest.mark.parametrize(
    "content",
    [
        "modle: 3",
        "nonsense: [1, 2]",
        "trainr: {max_epochs: 3, devices: 1}",
        "trainer: {max_epochs: 1}\nb: {c: {d: 3}}\na: 1",
    ],
)
def test_keys_are_refused_in_the_words_of_the_parser(tmp_path, content):
    file = tmp_path / "mine.yaml"
    file.write_text(content)
    words = ["--config", str(file)]
    assert refused(refuse_early, *words) == refused(CommandLine, *words)


@pytest.mark.parametrize("subcommand", SUBCOMMANDS)
def test_the_options_are_those_of_the_parser(subcommand, monkeypatch):
    """More may be known than the parser has, never less: then the parser refuses."""

    class Stopped(Exception):
        pass

    def stop(self, parser, args):
        self.found = self.options(subcommand)
        raise Stopped(self.found)

    monkeypatch.setattr(OwnCommandLine if subcommand in OWN else CommandLine, "parse_arguments", stop)
    with pytest.raises(Stopped) as caught:
        command_line_of([subcommand])
    assert set(caught.value.args[0]) == set(known_options(subcommand))


@pytest.mark.parametrize("path", sorted(ROOT.glob("configs/**/*.yaml")), ids=lambda path: path.stem)
def test_no_configuration_is_refused(path):
    if "sweeps" not in path.parts:
        for subcommand in SUBCOMMANDS:
            command = [subcommand, "--config", str(path), "--config=lift"]
            refuse_early(command)
            with pytest.raises(UserError, match="max_epoch"):  # the same words with a mistake at their end
                refuse_early([*command, "--trainer.max_epoch=3"])


def test_what_the_parser_accepts_is_not_refused(tmp_path):
    dotted = tmp_path / "dotted.yaml"
    dotted.write_text("model.lr: 0.1\ntrainer.max_epochs: 3\nempty: {}\nnothing: null\nown: {class_path: a.B}\n")
    options = [
        option for rows in OPTIONS.values() for option, _, _ in rows if option not in ("--config", "--help_full")
    ]
    words = [f"{option.removesuffix('+')}{'+' * option.endswith('+')}=1" for option in options]
    words += ["--trainer.callbacks.monitor=x", "--trainer.strategy.help", "--trainer.logger+=x", "--model.a.b+=3"]
    words += [
        "--model.lr",
        "-3",
        "--help_full",
        "--print_config=skip_null",
        "--data.init_args.root=--x",
        "--config",
        str(dotted),
    ]
    refuse_early(["fit", *TINY, *words, "--test_after_fit", "--resume"])
    with pytest.raises(UserError, match="resum"):
        refuse_early(["fit", *TINY, *words, "--test_after_fit", "--resum"])
    refuse_early(["fit", *TINY, "--", "x"])
    refuse_early(["predict", "--config", "configs/grit.yaml", "--stages.k=3"])


def test_a_typo_is_answered_without_torch():
    code = (
        "import atexit, sys, cli\n"
        "atexit.register(lambda: print('torch' in sys.modules))\n"
        "cli.main(['fit', '--config', 'lift', '--trainer.max_epoch=3'])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == cli.USER_ERROR
    assert done.stderr == "error: unknown option --trainer.max_epoch: did you mean --trainer.max_epochs?\n"
    assert done.stdout == "False\n"
