"""Runs of ``ResumeModule`` through the real entry point, and what they leave behind."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

import cli

ROOT = Path(__file__).parents[2]
MODULE = "tests.helpers.resume_module.ResumeModule"
DATA = "tests.helpers.resume_module.ResumeData"


def words(runs_dir: Path, name: str, *options: str, processes: int = 1) -> list[str]:
    """The words of a command line that fits ``ResumeModule`` into ``runs_dir`` on ``processes`` CPU processes."""
    parallel = ["--trainer.strategy", "ddp"] if processes > 1 else []
    return (
        ["fit", "--model", MODULE, "--data", DATA, "--runs_dir", str(runs_dir), "--name", name]
        + ["--trainer.accelerator", "cpu", "--trainer.devices", str(processes), *parallel]
        + ["--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"]
        + ["--trainer.max_epochs", "2", "--checkpoint.every_n_train_steps", "2", *options]
    )


def run_here(runs_dir: Path, name: str, *options: str) -> Path:
    """Run in this process; return the run folder."""
    return cli.main(words(runs_dir, name, *options)).run_folder


def run_apart(runs_dir: Path, name: str, *options: str, processes: int = 1) -> subprocess.CompletedProcess:
    """Run ``python cli.py`` in a process of its own."""
    command = [sys.executable, "cli.py", *words(runs_dir, name, *options, processes=processes)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


def events(folder: Path, rank: int = 0) -> list[list[Any]]:
    """What ``ResumeModule`` wrote down on one rank: samples, losses and places, in order."""
    return [json.loads(line) for line in (folder / f"trace-{rank}.jsonl").read_text().splitlines()]


def parameters(folder: Path) -> dict[str, torch.Tensor]:
    """The state of the network in the run's last checkpoint."""
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
