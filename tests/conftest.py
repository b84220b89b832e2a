"""Commands on a module and data that take milliseconds."""

import os

import pytest

import cli
from tests.helpers.tiny_runs import ROOT, TINY


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Return a function that runs a command on the tiny module, with its runs in a temporary folder."""
    monkeypatch.chdir(ROOT)
    for name in [name for name in os.environ if name.startswith(("SLURM_", "WANDB_", "TORCHELASTIC"))]:
        monkeypatch.delenv(name)

    def command(*args: str, subcommand: str = "fit", tiny: tuple[str, ...] = tuple(TINY), epochs: int = 2):
        common = [f"--runs_dir={tmp_path}", f"--trainer.max_epochs={epochs}", "--trainer.enable_model_summary=false"]
        return cli.main([subcommand, *tiny, *common, "--trainer.log_every_n_steps=1", *args])

    return command


@pytest.fixture
def fails(run, capsys):
    """Return a function that runs a command which has to fail, and gives its one line on stderr."""

    def command(*args: str, status: int = 2, **kwargs) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            run(*args, **kwargs)
        assert caught.value.code == status
        lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
        assert len(lines) == (1 if status == 2 else 0)
        return lines[0] if lines else ""

    return command
