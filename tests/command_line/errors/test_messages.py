"""Typos of every kind, through the real parser: one line that names the thing and what was probably meant."""

import pytest
import yaml

import cli
from command_line.errors.messages import arguments_of, did_you_mean

MODEL, DATA = "tests.helpers.tiny.TinyModule", "tests.helpers.tiny.TinyData"


@pytest.fixture
def error(capsys, tmp_path):
    def command(*args: str, config: dict | None = None) -> str:
        if config is not None:
            path = tmp_path / "config.yaml"
            path.write_text(yaml.safe_dump({"model": {"class_path": MODEL}, "data": DATA} | config))
            args = ("--config", str(path), *args)
        elif "--model" not in args:
            args = ("--model", MODEL, "--data", DATA, *args)
        with pytest.raises(SystemExit) as caught:
            cli.main(["fit", f"--runs_dir={tmp_path / 'runs'}", *args])
        assert caught.value.code == 2
        lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("Seed set")]
        assert len(lines) == 1, lines
        assert not (tmp_path / "runs").exists()
        return lines[0].removeprefix("error: ")

    return command


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["--trainer.max_epoch=3"], "unknown option --trainer.max_epoch: did you mean --trainer.max_epochs?"),
        (["--trainer.max_epo", "3"], "unknown option --trainer.max_epo: did you mean --trainer.max_epochs?"),
        (["--modle.lr=3"], "unknown option --modle.lr: did you mean --model.lr?"),
        (["--resme"], "unknown option --resme: did you mean --resume?"),
        (["--model.widht=3"], f"model: {MODEL} has no argument 'widht': did you mean width?"),
        (["--data.init_args.batch=3"], f"data: {DATA} has no argument 'batch': did you mean batch_size?"),
        (["--model.zzz=3"], f"model: {MODEL} has no argument 'zzz' (TinyModule takes lr, width"),
        (["--model", f"{MODEL}s"], f"model: there is no class {MODEL}s: did you mean {MODEL}?"),
        (["--model", "nowhere.Foo"], "model: there is no class nowhere.Foo"),
        (["--model", "torch.nn.Linear"], "model: torch.nn.Linear is no LightningModule"),
        (["--trainer.max_epochs=abc"], "trainer.max_epochs: 'abc' is not int or null"),
        (["--model.lr=abc"], "model.lr: 'abc' is not float"),
        (["--trainer.precision=bf17"], "did you mean bf16?"),
        (["--trainer.callbacks+=EarlyStoping"], "did you mean pytorch_lightning.callbacks.EarlyStopping?"),
        (["extra"], "'extra' is no option"),
        (["--name", "a/b"], "--name 'a/b' is no name of a folder"),
        (["--trainer.default_root_dir=x"], "choose it with --runs_dir and --name"),
    ],
)
def test_command_line(error, args, expected):
    assert expected in error(*args)


@pytest.mark.parametrize(
    ("data", "word", "expected"),
    [
        ("datamodules.SceneWorld", "pictures", "has no argument 'pictures': did you mean root?"),
        ("datamodules.SceneWorld", "photos", "has no argument 'photos': did you mean root?"),
        ("datamodules.ImageFolder", "pictures", "has no argument 'pictures': did you mean root?"),
        ("datamodules.DetectionScenes", "photos", "has no argument 'photos': did you mean pictures?"),
        ("datamodules.SceneWorld", "pair", "has no argument 'pair': did you mean pairs?"),
        ("datamodules.FaceWorld", "pictures", "has no argument 'pictures' (FaceWorld takes "),
    ],
)
def test_files_to_predict_are_called_otherwise_by_other_data(error, data, word, expected):
    assert expected in error("--model", MODEL, "--data", data, f"--data.{word}=photos")


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            {"trainr": {"max_epochs": 3}},
            "unknown key trainr.max_epochs in a configuration file: did you mean trainer.max",
        ),
        (
            {"trainer": {"max_epoch": 3}},
            "unknown key trainer.max_epoch in a configuration file: did you mean trainer.max",
        ),
        ({"model": {"class_path": MODEL, "init_args": {"widht": 3}}}, "has no argument 'widht': did you mean width?"),
        (
            {"model": {"class_path": MODEL, "init_arg": {"width": 3}}},
            "model has no key 'init_arg': did you mean init_args?",
        ),
        ({"model": {"class_path": MODEL, "init_args": {"width": "abc"}}}, "model.width: 'abc' is not int"),
        ({"model": {"class_path": "torch.nn.Linear"}}, "model: torch.nn.Linear is no LightningModule"),
        (
            {
                "trainer": {
                    "callbacks": [{"class_path": "pytorch_lightning.callbacks.Timer", "init_args": {"durtion": 1}}]
                }
            },
            "has no argument 'durtion': did you mean duration?",
        ),
        (
            {"model": {"class_path": MODEL, "init_args": {"lr": "${oc.env:NOT_SET_ANYWHERE}"}}},
            "'NOT_SET_ANYWHERE' not found",
        ),
    ],
)
def test_configuration_file(error, config, expected):
    assert expected in error(config=config)


def test_nothing_chosen(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["fit", "--trainer.max_epochs=1"])
    assert caught.value.code == 2
    assert "error: no model and no data was chosen: name a configuration" in capsys.readouterr().err


def test_suggestions_are_close():
    assert did_you_mean("lr", ["width", "batch_size"]) == ""
    assert did_you_mean("BATCH_SIZE", ["width", "batch_size"]) == ": did you mean batch_size?"


def test_arguments_include_those_of_the_bases():
    assert arguments_of(DATA) == ["batch_size", "samples", "root"]
    assert "monitor" in arguments_of("callbacks.run.checkpointing.Checkpointing")
