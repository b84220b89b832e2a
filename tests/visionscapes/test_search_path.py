"""Packages of the user's in the working directory, through processes started there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import cli
from callbacks import ResultTable
from visionscapes.bundled import ROOT
from visionscapes.search_path import OURS, append_working_directory, out_of_reach, taken_instead

MODEL = """
import sys
import torch
from pytorch_lightning import Callback, LightningDataModule, LightningModule


class MyModel(LightningModule):
    def __init__(self, lr: float = 0.1):
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)

    def training_step(self, batch, batch_idx):
        return self.layer(batch).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


class MyCallback(Callback):
    def on_train_start(self, trainer, pl_module):
        from pathlib import Path
        Path(f"rank-{trainer.global_rank}").write_text(str(trainer.world_size))


class Numbers(torch.utils.data.Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, index):
        return torch.full((4,), float(index))


class MyData(LightningDataModule):
    def __init__(self, spawned: bool = True):
        super().__init__()
        self.spawned = spawned

    def train_dataloader(self):
        workers = {"num_workers": 1, "multiprocessing_context": "spawn"} if self.spawned else {}
        return torch.utils.data.DataLoader(Numbers(), 4, **workers)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A folder with a package of the user's, and with packages and files that have names of ours."""
    files = {
        "my_package/__init__.py": "from my_package.model import MyModel, MyData, MyCallback\n",
        "my_package/model.py": MODEL,
        "uses_metrics.py": "from metrics import accuracy\n",
        "uses_helper.py": "import callbacks.my_helper\n",
        "errors.py": "raise RuntimeError('imported in place of ours')\n",
        "callbacks/__init__.py": "class Mine: ...\nclass ResultTable: ...\n",
    }
    files |= {f"{name}/__init__.py": "accuracy = 1\n" for name in ("metrics", "networks", "datamodules")}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def python(*words: str, status: int = 0) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    return done.stdout if status == 0 else done.stderr


def test_a_users_package_is_found_and_ours_are_not_hidden(folder, capsys):
    trainer = {"max_epochs": 1, "enable_progress_bar": False, "enable_model_summary": False}
    data = {"class_path": "my_package.MyData", "init_args": {"spawned": False}}
    config = {"model": "my_package.MyModel", "data": data, "trainer": trainer}
    config["trainer"]["callbacks"] = [{"class_path": "my_package.MyCallback"}, {"class_path": "callbacks.ResultTable"}]
    (folder / "mine.yaml").write_text(yaml.safe_dump(config))
    command = cli.main(["fit", "--config", "mine.yaml", "--config", "hardware/cpu"])
    assert any(isinstance(each, ResultTable) for each in command.trainer.callbacks)
    told = capsys.readouterr().out
    assert f"note: --config hardware/cpu is the bundled {ROOT}/configs/hardware/cpu.yaml\n" in told
    assert "note: callbacks.ResultTable is not your own: callbacks/ in this folder cannot be reached" in told
    assert (folder / "rank-0").read_text() == "1"
    assert str(folder) not in sys.path, "the command has left the path as it was"


@pytest.mark.slow
def test_a_users_package_is_found_by_processes_that_are_launched_and_workers_that_are_spawned(folder):
    words = ["fit", "--model", "my_package.MyModel", "--data", "my_package.MyData"]
    words += ["--trainer.callbacks=my_package.MyCallback", "--trainer.callbacks+=callbacks.ResultTable"]
    words += ["--trainer.accelerator=cpu", "--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.max_epochs=1"]
    told = python(str(ROOT / "cli.py"), *words)
    assert told.count("note: callbacks.ResultTable is not your own") == 1, "by the first process alone"
    assert {file.name: file.read_text() for file in folder.glob("rank-*")} == {"rank-0": "2", "rank-1": "2"}


def test_an_installed_program_puts_the_working_directory_last(folder):
    """The program lies elsewhere and the repository is no part of Python's path, as after an editable installation."""
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import cli; sys.path.remove({str(ROOT)!r})\n"
        "import json; from command_line import help\n"
        "help.answer = lambda args: json.dumps(sys.path)\n"
        "cli.main([])"
    )
    path = json.loads(python("-c", code))
    assert path[-2:] == [str(ROOT), str(folder)]
    assert "" not in path


def test_commands_of_modules_do_not_put_it_first(folder):
    (folder / "callbacks" / "results.py").write_text("raise RuntimeError('imported in place of ours')")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "experiments", "list", "table_8_1", "--json"], env=environment, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["tables"]) == 1


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            "callbacks.Mine",
            "callbacks/ in this folder cannot be reached, the name is taken by a package of visionscapes",
        ),
        ("uses_helper.X", "callbacks/ in this folder cannot be reached"),
        ("uses_metrics.X", "metrics/ in this folder cannot be reached"),
    ],
)
def test_a_package_that_cannot_be_reached_is_told(folder, model, message, capsys, monkeypatch):
    with pytest.raises(SystemExit) as caught:
        cli.main(["fit", "--model", model, "--data", "my_package.MyData"])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert f"error: model: there is no class {model}: {message}" in error
    assert error.endswith(": rename it\n")


def test_what_can_be_reached_or_is_not_there_is_not_told_of(folder, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    append_working_directory()
    append_working_directory()
    assert sys.path.count(str(folder)) == 1
    assert sys.path[-1] == str(folder)
    assert [out_of_reach(name) for name in ("errors", "lightning_modules.LiFT", "", "no such")] == [""] * 4
    assert out_of_reach("metrics.accuracy").startswith("metrics/ in this folder")
    (folder / "timm.py").write_text("")
    assert "taken by the module timm of " in out_of_reach("timm.X")
    assert taken_instead("callbacks.FeatureWriter") == "", "it has no class of that name"
    monkeypatch.chdir(ROOT)
    assert out_of_reach("callbacks.Mine") == ""
    assert taken_instead("callbacks.ResultTable") == ""


def test_the_names_that_are_ours_are_those_of_the_packages():
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "benchmarks", "visionscapes"}
    assert set(OURS) == packages
