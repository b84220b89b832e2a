"""Trainings with ``--trainer.deterministic=true`` on the pretended device; run by tests/test_pretended_cuda.py.

torch raises an error where CUDA has no deterministic implementation. A training that meets such an operator ends with a
line that names it; every other one goes through.
"""

import pytest
import torch
import yaml

import cli
from tests.helpers.pretended_cuda.findings import REFUSED_IF_DETERMINISTIC
from tests.helpers.runs import ROOT
from tests.test_lives import FEW_BATCHES, LIVES, QUIET

OPERATORS = yaml.safe_load((ROOT / "docs/varying_on_gpus.yaml").read_text())
TRAINED = {name: life for name, life in LIVES.items() if life.start}


@pytest.fixture(autouse=True)
def _as_before(monkeypatch):
    monkeypatch.chdir(ROOT)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("name", TRAINED)
def test_it_works_or_the_error_names_the_operator(name, tmp_path, capsys):
    words = [*TRAINED[name].start, *QUIET, *FEW_BATCHES[:1], f"--runs_dir={tmp_path}", "--test_after_fit=false"]
    command = ["fit", *words, "--trainer.limit_val_batches=0", "--trainer.deterministic=true"]
    refused = REFUSED_IF_DETERMINISTIC & set(OPERATORS[name])
    if not refused:
        assert cli.main(command).trainer.global_step > 0
        return
    with pytest.raises(SystemExit) as stopped:
        cli.main(command)
    error = capsys.readouterr().err
    assert stopped.value.code == 2
    assert any(operator in error for operator in refused)
    assert "--trainer.deterministic=warn" in error
