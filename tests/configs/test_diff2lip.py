"""Diff2Lip through the real entry point: the embedded world in seconds.

configs/diff2lip.yaml
"""

import csv
import math

import pytest
import torch

import cli
from tests.helpers.dubbing_runs import DIFF2LIP, QUIET, SMALL
from tests.helpers.replicas_dubbing import small_baseline
from tests.helpers.runs import ROOT


@pytest.fixture(autouse=True)
def _at_home(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The run folder of the whole configuration on a few clips."""
    runs = tmp_path_factory.mktemp("diff2lip")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return cli.main(["fit", f"--config={DIFF2LIP}", *SMALL, *QUIET, f"--runs_dir={runs}"]).run_folder


def test_training_ends_with_figures_of_both_settings(trained):
    with (trained / "results" / "dubbing.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {"reconstruction", "cross"} <= {row["method"] for row in rows}
    with (trained / "metrics.csv").open(newline="") as file:
        logged = list(csv.DictReader(file))
    for name in ("simple", "l2", "sync", "perceptual", "gan", "discriminator"):
        values = [float(row[f"train/{name}"]) for row in logged if row.get(f"train/{name}")]
        assert values
        assert all(math.isfinite(value) for value in values)


def test_the_checkpoint_says_that_faces_were_drawn_and_where_they_were_cut(trained):
    content = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)
    assert content["trained_on_drawn"]
    assert content["face_box"] == [32, 6, 10, 26, 30]


def test_another_size_of_the_data_is_one_line(tmp_path, capsys):
    words = [*SMALL, *QUIET, f"--runs_dir={tmp_path}", "--data.face_size=24"]
    with pytest.raises(SystemExit) as end:
        cli.main(["fit", f"--config={DIFF2LIP}", *words])
    assert end.value.code == 2
    assert "--model.face_size and --data.face_size" in capsys.readouterr().err


def test_a_loss_without_its_expert_is_one_line(tmp_path, capsys):
    words = [*SMALL, *QUIET, f"--runs_dir={tmp_path}", "--model.experts.syncnet=null"]
    with pytest.raises(SystemExit) as end:
        cli.main(["fit", f"--config={DIFF2LIP}", *words])
    assert end.value.code == 2
    assert "--model.losses.lambda_sync=0" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("model", ["Diff2Lip", "Wav2Lip"])
@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed", "bf16-true", "64-true"])
def test_every_precision_trains_and_dubs(tmp_path, precision, model):
    start = [f"--config={DIFF2LIP}", *SMALL] if model == "Diff2Lip" else small_baseline(model)
    late = ["--model.objective.sync_start=1"] if model == "Wav2Lip" else []
    words = [*start, *late, *QUIET, f"--trainer.precision={precision}", f"--runs_dir={tmp_path}"]
    run = cli.main(["fit", *words]).run_folder
    with (run / "metrics.csv").open(newline="") as file:
        logged = list(csv.DictReader(file))
    for name in ("sync", "gan", "discriminator"):
        values = [float(row[f"train/{name}"]) for row in logged if row.get(f"train/{name}")]
        assert values
        assert all(math.isfinite(value) for value in values)
    assert (run / "results" / "dubbing.csv").is_file()
