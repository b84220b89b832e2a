"""slurm/train.sbatch: its syntax, the settings without which it fails on a cluster, and what it runs."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from command_line import help as cli_help

ROOT = Path(__file__).parent.parent
TEMPLATE = ROOT / "slurm" / "train.sbatch"
TEXT = TEMPLATE.read_text()
DIRECTIVES = dict(re.findall(r"^#SBATCH --([\w-]+)=?(.*)$", TEXT, re.MULTILINE))
JOB = {"SLURM_JOB_ID": "42", "SLURM_NNODES": "2", "SLURM_NTASKS_PER_NODE": "4", "SLURM_CPUS_PER_TASK": "8"}


def test_syntax():
    assert subprocess.run(["bash", "-n", TEMPLATE]).returncode == 0


def test_shellcheck():
    shellcheck = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run([shellcheck, TEMPLATE], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_directives():
    assert "ntasks" not in DIRECTIVES, "Lightning refuses --ntasks: it needs the tasks of every node"
    assert "ntasks-per-node" in DIRECTIVES
    signal, seconds = DIRECTIVES["signal"].split("@")
    assert signal == "SIGUSR1", "with B: only the batch shell would hear it"
    assert int(seconds) >= 60, "SLURM looks about once a minute"
    assert "requeue" in DIRECTIVES
    assert DIRECTIVES["open-mode"] == "append", "a requeued job must not overwrite its log"


def launched(tmp_path: Path, *args: str, **variables: str) -> tuple[list[str], dict[str, str]]:
    """Run the template with an ``srun`` that writes down how it was called."""
    srun = tmp_path / "srun"
    srun.write_text(f'#!/usr/bin/env bash\nprintf "%s\\n" "$@" > {tmp_path}/words\nenv > {tmp_path}/variables\n')
    srun.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", **JOB, **variables}
    done = subprocess.run(["bash", TEMPLATE, *args], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "variables").read_text().splitlines()
    return (tmp_path / "words").read_text().splitlines(), dict(line.split("=", 1) for line in lines if "=" in line)


def test_command(tmp_path):
    words, variables = launched(tmp_path, "configs/paper/lift.yaml", "--model.lr", "0.01 ")
    start = words.index("cli.py")
    assert words[:start] == ["--kill-on-bad-exit=1", ".venv/bin/python"]
    assert words[start + 1 :] == [
        *("fit", "--config", "configs/paper/lift.yaml", "--config", "configs/hardware/slurm.yaml"),
        *("--trainer.num_nodes=2", "--trainer.devices=4", "--name", "job-42", "--resume"),
        *("--model.lr", "0.01 "),
    ], "the user's words come last, unchanged, so that they win"
    assert variables["SRUN_CPUS_PER_TASK"] == variables["OMP_NUM_THREADS"] == "8"
    assert variables["WANDB_RUN_ID"] == "42"
    assert variables["VISIONSCAPES_LEAD_TIME"] == DIRECTIVES["signal"].split("@")[1]


def test_one_folder_per_task_of_an_array(tmp_path):
    array = {"SLURM_ARRAY_JOB_ID": "40", "SLURM_ARRAY_TASK_ID": "3"}
    words, variables = launched(tmp_path, "configs/lift.yaml", **array)
    assert words[words.index("--name") + 1] == "job-40_3"
    assert variables["WANDB_RUN_ID"] == "40_3"


def test_usage():
    done = subprocess.run(["bash", TEMPLATE], env={"PATH": os.environ["PATH"], **JOB}, capture_output=True, text=True)
    assert done.returncode == 2
    assert "usage: sbatch slurm/train.sbatch CONFIG" in done.stderr


@pytest.mark.parametrize("path", re.findall(r"--config (configs/\S+)", TEXT))
def test_fragments_exist(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    cli_help.check_config(path)
