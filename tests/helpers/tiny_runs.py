"""Words for a module and data that take milliseconds, and what its runs leave."""

import csv
import json
from pathlib import Path

import torch

import cli
from tests.helpers.tiny import TinyModule

ROOT = Path(__file__).parents[2]
TINY = [
    "--model",
    "tests.helpers.tiny.TinyModule",
    "--data",
    "tests.helpers.tiny.TinyData",
    "--trainer.accelerator=cpu",
]


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def manifest(folder: Path) -> dict:
    return json.loads((folder / "manifest.json").read_text())


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def main_of(runs_dir: Path, *args: str):
    return cli.main(["fit", *TINY, f"--runs_dir={runs_dir}", "--trainer.max_epochs=2", *args])


def after_the_first_epoch(monkeypatch, spoil) -> None:
    """Call ``spoil`` with the run folder when one epoch is saved."""
    original = TinyModule.on_train_epoch_start

    def hook(self):
        original(self)
        if self.current_epoch == 1:
            spoil(Path(self.trainer.default_root_dir))

    monkeypatch.setattr(TinyModule, "on_train_epoch_start", hook)
