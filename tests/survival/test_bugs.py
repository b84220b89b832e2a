"""What is no mistake of the user keeps its traceback, wherever it happens."""

import pytest
import torch
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch.utils.data import DataLoader

import cli
from command_line.errors.construction import of_lightning
from tests.helpers.tiny import TinyData, TinyModule

WORDS = ["fit", "--model=tests.helpers.tiny.TinyModule", "--data=tests.helpers.tiny.TinyData", "--trainer.devices=1"]
WORDS += ["--trainer.accelerator=cpu", "--trainer.max_epochs=1", "--trainer.enable_progress_bar=false"]
KINDS = [ValueError, TypeError, KeyError, RuntimeError, ZeroDivisionError, OSError, MisconfigurationException]


def failing(kind):
    def fail(*args, **kwargs):
        raise kind("a bug")

    return fail


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", ["training_step", "validation_step", "configure_optimizers", "setup", "loader"])
def test_a_bug_in_a_hook(tmp_path, monkeypatch, kind, place):
    owner, name = (TinyData, "train_dataloader") if place == "loader" else (TinyModule, place)
    monkeypatch.setattr(owner, name, failing(kind))
    with pytest.raises(kind, match="a bug"):
        cli.main([*WORDS, f"--runs_dir={tmp_path}"])


@pytest.mark.parametrize("kind", KINDS)
def test_a_bug_in_a_constructor(tmp_path, monkeypatch, kind):
    monkeypatch.setattr("tests.helpers.tiny.nn.Linear", failing(kind))
    with pytest.raises(kind, match="a bug"):
        cli.main([*WORDS, f"--runs_dir={tmp_path}"])
    assert not any(tmp_path.glob("*/*"))


def test_what_torch_refuses_in_a_step_is_a_bug(tmp_path, monkeypatch):
    monkeypatch.setattr(TinyModule, "training_step", lambda *_: torch.zeros(2) @ torch.zeros(3))
    with pytest.raises(RuntimeError, match="size"):
        cli.main([*WORDS, f"--runs_dir={tmp_path}"])


class Broken(torch.utils.data.Dataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        raise ValueError("a bug")


def test_a_bug_in_a_worker_of_a_loader():
    try:
        list(DataLoader(Broken(), num_workers=1))
    except ValueError as error:
        caught = error.with_traceback(error.__traceback__.tb_next)
    assert of_lightning(caught) is None
