"""Mistakes of every kind through the real parser: the option by its full name, and what would be right."""

import pytest
import yaml

import cli
from command_line.errors.explanations import explain, missing_package, options_of_optimizer, placeholder

LIFT = ["--config=configs/lift.yaml"]


@pytest.fixture
def error(capsys, tmp_path):
    def command(*args: str, config: dict | None = None) -> str:
        if config is not None:
            path = tmp_path / "more.yaml"
            path.write_text(yaml.safe_dump(config))
            args = (*args, f"--config={path}")
        with pytest.raises(SystemExit) as caught:
            cli.main(["fit", f"--runs_dir={tmp_path / 'runs'}", *LIFT, *args])
        assert caught.value.code == 2
        lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("Seed set")]
        assert len(lines) == 1, lines
        assert not any(tmp_path.glob("runs/*/*"))
        return lines[0].removeprefix("error: ")

    return command


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["--model.backbone.init_args.model_args=5"], "model.backbone.model_args: '5' is not dict or null"),
        (["--model.backbone.layer=abc"], "model.backbone.layer: 'abc' is not int"),
        (["--model.backbone=5"], "model.backbone: 5 is no ViTFeatures; give a class, as in networks.ViTFeatures"),
        (["--model=5"], "model: 5 is no class; give a class, as in lightning_modules.LiFT"),
        (["--trainer.callbacks=[5]"], "trainer.callbacks: 5 is no Callback; give a class, as in callbacks.ResultTable"),
        (["--data=datamodules.ImageFolder"], "ImageFolder needs root: --data.root FOLDER"),
        (["--trainer.callbacks+=EarlyStopping"], "EarlyStopping needs monitor: --trainer.callbacks.monitor NAME"),
        (["--trainer.logger=CSVLogger"], "CSVLogger needs save_dir: --trainer.logger.save_dir FOLDER"),
        (["--model.backbone=null"], "LiFT needs backbone: --model.backbone CLASS"),
        (["--trainer=[1,2]"], "--trainer is [1,2]; it takes options by name"),
        (["--optimizer=SGD"], "unknown option --optimizer: LiFT says itself how it is optimised, by --model.lr"),
        (["--lr_scheduler.gamma=1"], "unknown option --lr_scheduler.gamma: LiFT says itself how it is optimised, by"),
        (["--lr=1"], "unknown option --lr: options of the module are --model.NAME, those of the data --data.NAME"),
        (["--model.lr"], "--model.lr needs a value: float"),
        (["--trainer.max_epochs"], "--trainer.max_epochs needs a value: int"),
        (["--name"], "--name needs a value"),
        (["--trainer.logger=MLFlowLogger"], "MLFlowLogger needs the package mlflow>=1.0.0, which is not installed"),
        ([""], "an empty word is no option"),
        (["more"], "'more' is no option: values follow their option, as in --trainer.max_epochs 3"),
        (
            ["README.md"],
            "'README.md' is no option: values follow their option, as in --trainer.max_epochs 3; a pattern of files",
        ),
    ],
)
def test_command_line(error, args, expected):
    assert error(*args).startswith(expected)


def callback(name: str, **arguments) -> dict:
    return {"trainer": {"callbacks": [{"class_path": f"pytorch_lightning.callbacks.{name}", "init_args": arguments}]}}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"model": 5}, "model: 5 is no LightningModule; give a class, as in lightning_modules.LiFT"),
        ({"optimizer": {"class_path": "SGD"}}, "unknown key optimizer"),
        (callback("Timer", interval="abc"), "Timer: Unsupported parameter value `Timer(interval=abc)`"),
        (callback("EarlyStopping", monitor="x", mode="y"), "EarlyStopping: `mode` can be min, max, got y"),
        ({"trainer": {"callbacks": [{"init_args": {}}]}}, "trainer.callbacks: {'init_args': {}} is no Callback"),
        (
            {"trainer": {"logger": {"class_path": "TensorBoardLogger", "init_args": {"save_dir": "x"}}}},
            "TensorBoardLogger needs the package tensorboard, which is not installed: pip install",
        ),
    ],
)
def test_configuration_file(error, config, expected):
    assert error(config=config).startswith(expected)


def test_an_unforeseen_message_becomes_one_line():
    assert explain("something\n  new " + "x" * 1000, []).startswith("something new xxx")
    assert len(explain("y" * 1000, [])) < 500


def test_placeholders_say_what_kind_of_value():
    early, lift = "pytorch_lightning.callbacks.EarlyStopping", "lightning_modules.LiFT"
    found = [placeholder(early, "monitor"), placeholder(early, "patience"), placeholder(lift, "backbone")]
    assert found == ["NAME", "NUMBER", "CLASS"]
    assert [placeholder(lift, name) for name in ("root", "weights", "nothing")] == ["FOLDER", "FILE", "NAME"]


def test_options_of_the_optimiser_are_those_of_the_module():
    assert {"--model.optimizer.lr", "--model.optimizer.beta1"} <= set(options_of_optimizer("GRIT"))
    assert {"--model.optimizer", "--model.lr", "--model.milestones"} <= set(options_of_optimizer("SparseDet"))
    assert options_of_optimizer("Nowhere") == []


def test_packages_are_found_in_what_libraries_say():
    assert missing_package("Requirement 'psutil' not met. HINT: Try running `pip install -U 'psutil'`") == "psutil"
    assert missing_package("everything is fine") == ""
