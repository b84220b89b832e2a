"""The sweep's own file, sampled, turned into a command by W&B's own builder, and run: what an agent does."""

import random
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import cli

ROOT = Path(__file__).parent.parent
SWEEP = yaml.safe_load((ROOT / "configs" / "sweeps" / "lift.yaml").read_text())


def sample(seed: int) -> dict[str, dict]:
    """Draw parameters as W&B's server sends them to an agent."""
    draw = random.Random(seed)
    values = {}
    for name, space in SWEEP["parameters"].items():
        drawn = draw.choice(space["values"]) if "values" in space else draw.uniform(space["min"], space["max"])
        values[name] = {"value": drawn}
    return values


def command(seed: int, *extra: str) -> list[str]:
    """Return the words that an agent would execute, with ``extra`` at the end."""
    from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

    arguments = create_sweep_command_args({"args": sample(seed)})["args"]
    words = []
    for part in create_sweep_command(SWEEP["command"]):
        if part == "${args}":
            words += arguments
        elif part != "${env}":
            words.append({"${interpreter}": sys.executable, "${program}": SWEEP["program"]}.get(part, part))
    return [*words, *extra]


@pytest.mark.parametrize("seed", range(4))
def test_every_sample_is_understood(seed, monkeypatch, capsys):
    """The real parser takes the arguments and gives the sampled values back."""
    monkeypatch.chdir(ROOT)
    words = command(seed)
    assert words[:2] == [sys.executable, "cli.py"]
    with pytest.raises(SystemExit) as caught:
        cli.main([*words[2:], "--print_config"])
    assert caught.value.code == 0
    config = yaml.safe_load(capsys.readouterr().out)
    for name, drawn in sample(seed).items():
        first, _, argument = name.partition(".")
        value = config[first]["init_args"][argument] if argument else config[first]
        assert value == drawn["value"], name


@pytest.mark.slow
def test_a_sampled_command_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    words = command(0, "--config", "configs/debug.yaml", f"--runs_dir={tmp_path}", "--trainer.accelerator=cpu")
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    (run,) = (tmp_path / "lift").iterdir()
    assert list(run.glob("wandb/offline-run-*"))
    header = (run / "metrics.csv").read_text().splitlines()[0].split(",")
    assert SWEEP["metric"]["name"] in header, "the sweep's metric is one that the run logs"
