"""configs/gan_discovery_diffusion.yaml through the real entry point, and its file as a source of the world."""

import csv

import pytest
import yaml
from safetensors import safe_open

import cli
from datamodules.procedural.sources.diffusion import SIDE, PictureDiffusion
from networks.box_diffusion import BoxDiffusion
from tests.helpers.runs import ROOT

CONFIG = "configs/gan_discovery_diffusion.yaml"
QUIET = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
SMALL = ["--model.init_args.channels=[8,16]", "--data.init_args.pictures=8", "--data.init_args.test_pictures=1"]
SMALL += ["--data.init_args.image_size=16", "--data.init_args.batch_size=8"]
SHORT = ["--trainer.max_epochs=1", "--trainer.check_val_every_n_epoch=1"]
FEW = ["--data.init_args.images=6", "--data.init_args.discovery_images=4", "--data.init_args.image_size=16"]
FEW += ["--data.init_args.batch_size=8", "--data.init_args.setting=gans_0", "--model.rounds=1", "--model.epochs=1"]
FEW += ["--model.stages.tau=1", "--model.stages.k=8"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The file of a training of two steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        folder = tmp_path_factory.mktemp("diffusion")
        run = cli.main(["fit", f"--config={CONFIG}", f"--runs_dir={folder / 'runs'}", *QUIET, *SMALL, *SHORT])
        assert run.trainer.global_step == 2
    return run.run_folder / "backbone.safetensors"


def test_the_file_knows_how_it_was_made_and_is_a_network(trained):
    with safe_open(trained, "pt") as file:
        assert {"command", "seed", "commit", "steps", "classes", "channels", "cell"} <= file.metadata().keys()
    network = BoxDiffusion.from_file(trained)
    assert (network.classes, network.channels, network.cell) == (("faces", "rooms"), (8, 16), 2)


def test_what_it_draws_is_discovered_and_tested_beside_the_other_sources(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    words = ["--config=configs/gan_discovery.yaml", f"--runs_dir={tmp_path}", *QUIET, *FEW]
    words += [f"--data.init_args.diffusion={trained}"]
    run = cli.main(["fit", *words])
    assert {"faces_diffusion", "rooms_diffusion"} <= set(run.datamodule.sources) - set(run.datamodule.classes)
    assert run.datamodule.real == {f"{name}_real" for name in ("faces", "objects", "portraits", "rooms")}
    with (run.run_folder / "results" / "sources.csv").open(newline="") as file:
        found = {(row["metric"], row["method"]): row for row in csv.DictReader(file)}
    assert found["sources", "last"]["count"] == "14"
    assert {("ACC", "last"), ("AUROC", "last"), ("OSCR", "last"), ("count error", "last")} <= found.keys()
    own = ["--trainer.callbacks+=callbacks.AttributionRobustness", "--trainer.callbacks.jpeg=[50]"]
    checkpoint = run.run_folder / "checkpoints" / "last.ckpt"
    again = cli.main(["test", *words, f"--ckpt_path={checkpoint}", *own])
    with (again.run_folder / "results" / "robustness.csv").open(newline="") as file:
        rows = {(row["metric"], row["method"]): row["value"] for row in csv.DictReader(file)}
    with (again.run_folder / "results" / "sources.csv").open(newline="") as file:
        plain = {row["metric"]: row["value"] for row in csv.DictReader(file)}
    assert {metric: value for (metric, method), value in rows.items() if method == "as given"} == plain
    assert {method for _, method in rows} >= {"JPEG 50", "resize 0.5", "blur 2"}


def test_the_weights_of_the_repository_are_of_this_configuration():
    path = ROOT / "weights" / "source_diffusion.safetensors"
    options = yaml.safe_load((ROOT / CONFIG).read_text())["model"]["init_args"]
    model = PictureDiffusion(path)
    assert list(model.contents) == options["classes"]
    assert model.network.cell == options["cell"]
    assert SIDE % model.network.multiple == 0
