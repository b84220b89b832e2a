"""Subcommands of our own end to end: one that is given a module with its weights, and one that needs no module."""

import json
import re
from dataclasses import replace

import pytest
import torch

import cli
from command_line.subcommands.table import OWN, Subcommand
from tests.helpers.tiny_runs import ROOT, TINY, manifest, weights
from visionscapes.errors import UserError

DATA_ALONE = ["--data", "tests.helpers.tiny.TinyData"]
CALLS = []


def count(built, *, at_least: int = 1, spoil: str | None = None) -> None:
    """Count something.

    Args:
        built: the datamodule.
        at_least: fewer are an error.
        spoil: what goes wrong.
    """
    CALLS.append((built, at_least))
    if spoil == "after":
        (built.folder / "figures.json").write_text("{}")
    if spoil == "bug":
        raise RuntimeError("a bug")
    if spoil:
        raise UserError(f"there are too few, {at_least} are needed")


OWN_OPTIONS = (("--at_least", "1", "fewer are an error"), ("--spoil", "null", "what goes wrong"))
COUNT = Subcommand(
    function=f"{__name__}.count", meaning="count data", needs=("data",), builds=("data",), options=OWN_OPTIONS
)


@pytest.fixture(autouse=True)
def two_subcommands(monkeypatch):
    """Have one with a hyphen that needs data alone, and one that gets the module too."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setitem(OWN, "count-data", COUNT)
    monkeypatch.setitem(OWN, "count-all", replace(COUNT, needs=("model",), builds=("model", "data")))
    monkeypatch.setattr("command_line.help.SUBCOMMANDS", {"fit": "train", **dict.fromkeys(OWN, "count data")})
    CALLS.clear()


def refused(capsys, *args: str, status: int = 2) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        cli.main(list(args))
    assert caught.value.code == status
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_data_alone_are_enough_and_no_module_is_built(tmp_path, capsys):
    command = cli.main(["count-data", *DATA_ALONE, f"--runs_dir={tmp_path}", "--at_least=3"])
    ((built, at_least),) = CALLS
    assert at_least == 3
    assert type(built.datamodule).__name__ == "TinyData"
    assert built.module is None
    assert built.checkpoint is None
    assert built.folder == command.run_folder
    assert re.fullmatch(r"\d{8}-\d{6}-count-data", built.folder.name)
    record = manifest(built.folder)
    assert record["status"] == "finished"
    assert record["command"][:2] == ["cli.py", "count-data"]
    assert record["hardware"]["cores"] >= 1
    assert (built.folder / "cli_config.yaml").is_file()
    assert "the run is in" in capsys.readouterr().out


def test_a_configuration_may_say_everything_that_fit_takes(tmp_path):
    """What is not built is not even asked whether it could be: here the module's width and the trainer's callback."""
    config = tmp_path / "mine.yaml"
    callback = {"class_path": "callbacks.ResultTable"}
    model = {"class_path": "tests.helpers.tiny.TinyModule", "init_args": {"width": -1}}
    content = {"model": model, "data": "tests.helpers.tiny.TinyData", "test_after_fit": True}
    config.write_text(json.dumps(content | {"trainer": {"max_epochs": 3, "callbacks": [callback]}}))
    command = cli.main(["count-data", "--config", str(config), f"--runs_dir={tmp_path}", "--name=x"])
    assert command.run_folder == tmp_path / "mine" / "x"
    assert CALLS[0][0].module is None
    again = cli.main(["count-data", "--config", str(command.run_folder / "cli_config.yaml"), f"--runs_dir={tmp_path}"])
    assert again.run_folder.parent == tmp_path / "mine", "the saved configuration runs the same again"


def test_a_module_has_the_weights_of_the_checkpoint(run, tmp_path, capsys):
    folder = run("--name=first").run_folder
    capsys.readouterr()
    for words, told in (([f"--ckpt_path={folder}"], ""), (["--ckpt_path=last"], ""), ([], "using the newest run")):
        cli.main(["count-all", *TINY, f"--runs_dir={tmp_path}", *words])
        assert told in capsys.readouterr().out
    for built, _ in CALLS:
        assert built.checkpoint == folder / "checkpoints" / "last.ckpt"
        assert not built.module.training
        for name, weight in weights(folder).items():
            assert torch.equal(built.module.state_dict()[name], weight)
    assert CALLS[0][0].method == "tinymodule"


def test_a_checkpoint_of_another_network_is_refused(run, tmp_path, capsys):
    folder = run("--name=first").run_folder
    error = refused(
        capsys, "count-all", *TINY, "--model.width=3", f"--runs_dir={tmp_path}", f"--ckpt_path={folder}", "--name=n"
    )
    assert "does not fit TinyModule (width 2 there, 3 here)" in error
    assert not (tmp_path / "tinymodule" / "n").exists(), "nothing was run"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["count-data"], "no data was chosen"),
        (["count-all", *DATA_ALONE], "no model was chosen"),
        (["count-data", *DATA_ALONE, "--at_leas=3"], "unknown option --at_leas: did you mean --at_least?"),
        (["count-data", *DATA_ALONE, "--at_least=many"], "at_least: 'many' is not int"),
        (["count-data", *DATA_ALONE, "--ckpt_path=x"], "unknown option --ckpt_path"),
        (["count-data", *DATA_ALONE, "--resume"], "--resume is for fit"),
        (["count-data", *DATA_ALONE, "--data.root=0", "--data.nothing=3"], "no argument 'nothing'"),
        (["count-date", *DATA_ALONE], "did you mean count-data?"),
    ],
)
def test_mistakes_end_with_one_line_and_status_2(tmp_path, capsys, words, error):
    assert error in refused(capsys, *words, f"--runs_dir={tmp_path}")
    assert CALLS == []


def test_what_it_refuses_itself_leaves_no_folder_unless_something_was_written(tmp_path, capsys):
    words = ["count-data", *DATA_ALONE, f"--runs_dir={tmp_path}"]
    assert "error: there are too few, 9 are" in refused(capsys, *words, "--at_least=9", "--spoil=before", "--name=a")
    assert not (tmp_path / "tinydata" / "a").exists()
    refused(capsys, *words, "--spoil=after", "--name=b")
    assert manifest(tmp_path / "tinydata" / "b")["status"].startswith("failed: there are too few")
    with pytest.raises(RuntimeError, match="a bug"):
        cli.main([*words, "--spoil=bug", "--name=c"])
    assert manifest(tmp_path / "tinydata" / "c")["status"] == "failed: a bug"


def test_options_of_a_trainer_are_told_to_have_no_use(tmp_path, capsys):
    words = ["count-data", *DATA_ALONE, f"--runs_dir={tmp_path}", "--trainer.max_epochs=3", "--trainer.fast_dev_run"]
    command = cli.main(words)
    told = capsys.readouterr().out
    assert "runs no trainer and has no use for --trainer.max_epochs, --trainer.fast_dev_run" in told
    assert not command.run_folder.exists()
    assert "no run folder was kept" in told


def test_help_lists_what_the_function_takes(capsys):
    with pytest.raises(SystemExit):
        cli.main(["count-data", "--help"])
    quick = capsys.readouterr().out
    assert "--at_least" in quick
    assert "--ckpt_path" not in quick
    with pytest.raises(SystemExit):
        cli.main(["count-data", "--help_full"])
    full = capsys.readouterr().out
    assert "fewer are an error" in full
    assert "--trainer.max_epochs" in full
