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
    return [
        *_fit(runs_dir, name, processes),
        *("--model", MODULE, "--data", DATA, "--trainer.max_epochs", "2", "--checkpoint.every_n_train_steps", "2"),
        *options,
    ]


def lift_words(runs_dir: Path, name: str, *options: str, processes: int = 1) -> list[str]:
    """The words of a command line that trains LiFT as ``configs/lift.yaml`` does, on a tenth of the images."""
    data = {"tasks": "[images]", "scenes": "40", "crops": "8", "held_out": "9"}
    data |= {"image_sizes": "[64]", "image_size": "64", "batch_size": str(8 // processes)}
    return [
        *_fit(runs_dir, name, processes),
        *("--config", "configs/lift.yaml", "--test_after_fit", "false", "--trainer.callbacks", "[]"),
        *(word for key, value in data.items() for word in (f"--data.init_args.{key}", value)),
        *("--trainer.max_epochs", "2", "--trainer.log_every_n_steps", "1", *options),
    ]


def _fit(runs_dir: Path, name: str, processes: int) -> list[str]:
    return [
        *("fit", "--runs_dir", str(runs_dir), "--name", name),
        *("--trainer.accelerator", "cpu", "--trainer.devices", str(processes)),
        *("--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"),
        *(["--trainer.strategy", "ddp"] if processes > 1 else []),
    ]


def run_here(command: list[str]) -> Path:
    """Run a command line in this process, with one thread as ``start`` has; return the run folder.

    On some processors sums are rounded differently with another number of threads.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return cli.main(command).run_folder
    finally:
        torch.set_num_threads(threads)


def start(command: list[str], **options: Any) -> subprocess.Popen:
    """Start ``python cli.py`` with the words of ``command``."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "cli.py", *command], cwd=ROOT, env=environment, text=True, **options)


def run_apart(command: list[str]) -> tuple[int, str]:
    """Run ``python cli.py`` in a process of its own; return its exit status and what it wrote to stderr."""
    with start(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        _, errors = process.communicate(timeout=300)
    return process.returncode, errors


def events(folder: Path, rank: int = 0) -> list[list[Any]]:
    """What ``ResumeModule`` wrote down on one rank: samples, losses and places, in order."""
    return [json.loads(line) for line in (folder / f"trace-{rank}.jsonl").read_text().splitlines()]


def parameters(folder: Path) -> dict[str, torch.Tensor]:
    """The state of the network in the run's last checkpoint."""
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
