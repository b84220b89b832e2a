"""SyncNet through the real entry point: the embedded world in seconds, the thesis' recipe on a replica of clips.

configs/syncnet.yaml, configs/paper/syncnet.yaml, configs/paper/syncnet_lrw.yaml
"""

import csv
import math

import pytest
from safetensors import safe_open

import cli
from networks.sync_network import SyncNetwork
from tests.helpers.prepared_clips import make_prepared_clip
from tests.helpers.runs import ROOT
from tests.helpers.sync_runs import QUIET, SMALL, SYNCNET


@pytest.fixture(autouse=True)
def _at_home(monkeypatch):
    monkeypatch.chdir(ROOT)


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The run folder of the whole configuration on a few clips."""
    runs = tmp_path_factory.mktemp("syncnet")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return cli.main(["fit", f"--config={SYNCNET}", *SMALL, *QUIET, f"--runs_dir={runs}"]).run_folder


def test_training_ends_with_figures_and_the_histogram_of_offsets(trained):
    found = {row["metric"]: float(row["value"]) for row in table(trained / "results" / "lip_sync.csv")}
    assert {"accuracy", "AUC", "within 1 frame", "offset", "Sync_c", "Sync_d"} == found.keys()
    assert all(math.isfinite(value) for value in found.values())
    assert sum(int(row["clips"]) for row in table(trained / "results" / "offsets.csv")) == 2
    assert (trained / "pictures" / "offsets.png").is_file()
    with (trained / "metrics.csv").open(newline="") as file:
        header = next(csv.reader(file))
    assert {"train/loss", "val/bce", "val/accuracy", "val/auc", "test/auc"} <= set(header)


def test_the_weights_know_how_they_were_made_and_are_a_network(trained):
    file = trained / "backbone.safetensors"
    with safe_open(file, "pt") as content:
        assert {"command", "seed", "commit", "image_size", "norm"} <= content.metadata().keys()
    assert SyncNetwork.from_file(file).image_size == 24


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed", "bf16-true", "64-true"])
def test_every_precision_trains_both_objectives(tmp_path, precision):
    words = ["--trainer.max_epochs=2", "--model.contrastive_steps=2", f"--trainer.precision={precision}"]
    run = cli.main(["fit", f"--config={SYNCNET}", *SMALL, *QUIET, *words, f"--runs_dir={tmp_path}"]).run_folder
    rows = table(run / "metrics.csv")
    assert [float(row["train/contrastive"]) for row in rows if row["train/contrastive"]] == [1, 1, 0, 0]
    for name in ("train/loss", "val/bce", "test/bce"):
        values = [float(row[name]) for row in rows if row[name]]
        assert values
        assert all(math.isfinite(value) for value in values)


@pytest.mark.parametrize("source", ["weights", "weights of a checkpoint", "checkpoint"])
def test_prediction_writes_a_row_a_clip(trained, tmp_path, source, capsys):
    word = {
        "weights": f"--model.weights={trained / 'backbone.safetensors'}",
        "weights of a checkpoint": f"--model.weights={trained / 'checkpoints' / 'last.ckpt'}",
        "checkpoint": f"--ckpt_path={trained / 'checkpoints' / 'last.ckpt'}",
    }[source]
    run = cli.main(["predict", f"--config={SYNCNET}", *SMALL, *QUIET, f"--runs_dir={tmp_path}", word])
    rows = table(run.run_folder / "sync.csv")
    assert [row["name"] for row in rows] == ["clip-0", "clip-1"]
    assert all(-15 <= int(row["offset frames"]) <= 15 for row in rows)
    out, err = capsys.readouterr()
    assert "2 clips" in out
    assert "as its configuration builds it" not in out + err


PAPER = "configs/paper/syncnet.yaml"
THIN = ["--model.network.width=4", "--data.num_workers=0"]


def make_clips(folder):
    """Write prepared clips of three people, of whom the last is for the test."""
    for seed, name in enumerate(("train/a/x", "train/a/y", "train/b/x", "train/b/y", "test/c/x")):
        make_prepared_clip(folder / f"{name}.safetensors", 30, seed=seed)


def test_the_recipe_of_wav2lip_on_prepared_clips(tmp_path, monkeypatch):
    for name in ("voxceleb2_clips", "lrw_clips"):
        make_clips(tmp_path / name)
    monkeypatch.setenv("DATA_ROOT", str(tmp_path))
    quiet = [*QUIET, *THIN, f"--runs_dir={tmp_path / 'runs'}"]
    few = ["--data.batch_size=2", "--data.val_share=0.4", "--trainer.max_epochs=1"]
    fitted = cli.main(["fit", f"--config={PAPER}", *quiet, *few])
    assert fitted.model.objective == "pair"
    assert fitted.model.network.image_size == 96
    assert not hasattr(fitted.model, "log_temperature")
    checkpoint = f"--ckpt_path={fitted.run_folder / 'checkpoints' / 'last.ckpt'}"
    lrw = "--config=configs/paper/syncnet_lrw.yaml"
    tested = cli.main(["test", f"--config={PAPER}", lrw, *quiet, checkpoint])
    assert tested.trainer.datamodule.root.name == "lrw_clips"
    assert {row["metric"] for row in table(tested.run_folder / "results" / "lip_sync.csv")} >= {"Sync_c", "AUC"}


def test_any_clips_get_a_table_from_the_committed_weights(tmp_path):
    make_clips(tmp_path / "clips")
    words = [
        "--model.weights=weights/syncnet.safetensors",
        "--data=datamodules.Clips",
        f"--data.root={tmp_path / 'clips'}",
    ]
    run = cli.main(["predict", f"--config={SYNCNET}", *words, *QUIET, f"--runs_dir={tmp_path / 'runs'}"])
    rows = table(run.run_folder / "sync.csv")
    assert [row["name"] for row in rows] == ["test/c/x", "train/a/x", "train/a/y", "train/b/x", "train/b/y"]
    assert all(row["remarks"] == "not sure" for row in rows)  # noise that is no speech
