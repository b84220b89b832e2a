"""Configurations of GAN discovery on folders: those of the thesis on a replica of the authors', and that of owners.

configs/paper/gan_discovery.yaml, configs/paper/gan_discovery_online.yaml, configs/gan_discovery_folders.yaml
"""

import csv

import pytest
import yaml

import cli
from tests.helpers.foreign_sources import write_world
from tests.helpers.image_files import save_photo
from tests.helpers.runs import ROOT

CONFIG, ONLINE = "configs/paper/gan_discovery.yaml", "configs/paper/gan_discovery_online.yaml"
FOLDERS = "configs/gan_discovery_folders.yaml"
SMALL = [
    *("--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"),
    *("--trainer.log_every_n_steps=1", "--data.init_args.image_size=16", "--data.init_args.batch_size=32"),
    *("--data.init_args.num_workers=0", "--model.network.backbone=plain_cnn", "--model.network.weights=null"),
    *("--model.init_args.epochs=1", "--model.init_args.epochs_later=1", "--model.network.hidden=16"),
    *("--model.stages.hashes=32", "--model.stages.k=4", "--model.stages.tau=1", "--model.stages.jobs=1"),
    "--model.init_args.lr=0.001",
]


def data_of(config):
    return yaml.safe_load((ROOT / config).read_text())["data"]["init_args"]


def make_sources(root, labelled, discovery):
    """Write the authors' layout: a few pictures of every source, and a source that nobody asks for."""
    for part, classes, count in (("train", labelled, 3), ("eval", discovery, 2)):
        for place, name in enumerate([*classes, "somegan_elsewhere"]):
            for number in range(count):
                seed = 1000 * place + 10 * number + (part == "eval")
                save_photo(root / "gan_discovery" / part / name / f"{number}.png", 20, 18, seed=seed)


@pytest.fixture
def fit(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("DATA_ROOT", str(tmp_path))
    monkeypatch.delenv("REAL_FAKE_SCORES", raising=False)

    def started(*words):
        return cli.main(["fit", f"--runs_dir={tmp_path / 'runs'}", *words, *SMALL])

    return started


def rows(run, protocol):
    with (run.run_folder / "results" / f"{protocol}.csv").open(newline="") as file:
        return {(row["metric"], row["method"]): row for row in csv.DictReader(file)}


def test_the_data_are_those_of_table_4_1(fit, tmp_path, monkeypatch):
    data = data_of(CONFIG)
    make_sources(tmp_path, data["classes"], data["discovery_classes"])
    scores = tmp_path / "scores.csv"
    names = [f"{name}/{number}.png" for name in data["discovery_classes"] for number in range(2)]
    scores.write_text("image,fake_probability\n" + "".join(f"{name},{int('real' not in name)}\n" for name in names))
    monkeypatch.setenv("REAL_FAKE_SCORES", str(scores))
    run = fit(f"--config={CONFIG}", "--model.init_args.rounds=1")
    assert (len(run.datamodule.classes), len(run.datamodule.sources)) == (12, 20)
    assert run.datamodule.real == {"real_celeba", "real_hq", "real_imagenet", "real_lsun"}
    found = rows(run, "sources")
    assert found["sources", "last"]["count"] == "20"
    assert int(found["purity", "last"]["image_size"]) == 16
    assert ("AUROC", "WTA") in rows(run, "ood")
    assert ("purity", "k=20") in rows(run, "k_means")
    assert float(rows(run, "real_fake")["accuracy", "last per image"]["value"]) == 1


def test_online_sources_come_in_the_order_of_section_4_5_2(fit, tmp_path):
    data = data_of(ONLINE)
    later = [folder.rsplit("/", 1)[1] for folders in data["arrivals"].values() for folder in folders]
    make_sources(tmp_path, data["classes"], [*data["discovery_classes"], *later])
    run = fit(f"--config={CONFIG}", f"--config={ONLINE}")
    assert len(run.datamodule.classes) == 13
    assert [run.datamodule.arrived(number) for number in range(1, 7)] == [34, 34, 40, 40, 46, 46]
    found = rows(run, "sources")
    assert [found["sources", f"round {n}"]["count"] for n in range(1, 7)] == ["17", "17", "20", "20", "23", "23"]
    assert ("accuracy", "last voted") in rows(run, "real_fake")  # without scores, of the classifier


def test_values_are_those_of_the_thesis():
    content = yaml.safe_load((ROOT / CONFIG).read_text())
    model, data = content["model"]["init_args"], content["data"]["init_args"]
    stages = model["stages"]
    assert (data["image_size"], data["batch_size"]) == (256, 256)
    assert (model["epochs"], model["epochs_later"], model["lr"], model["rounds"]) == (50, 100, 1e-4, 4)
    assert (stages["hashes"], stages["window"], stages["percentile"]) == (2048, 2, 0.9)
    assert (stages["k"], stages["epsilon"], stages["tau"]) == (500, 0.5, 100)


def test_folders_of_ones_own_are_trained_on_tested_and_predicted(tmp_path, monkeypatch):
    """One file for all three; how long it trains, and how it clusters, is told by what there is."""
    monkeypatch.chdir(ROOT)
    unknown = write_world(tmp_path, seed=0, known=2, unknown=2, least=9, most=12, new=3)
    small = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
    small += ["--data.image_size=16", "--data.batch_size=8", "--data.num_workers=0", "--model.network.hidden=16"]
    small += ["--model.steps=5", "--model.steps_later=3", "--model.stages.hashes=32", f"--runs_dir={tmp_path / 'runs'}"]
    run = cli.main(["fit", f"--config={FOLDERS}", *folders(tmp_path, "discovery"), *small])
    assert run.model.finished == 2
    assert set(run.datamodule.sources) - set(run.datamodule.classes) == set(unknown)
    found = rows(run, "sources")
    assert found["unknown sources", "last"]["count"] == "2"
    checkpoint = f"--ckpt_path={run.run_folder / 'checkpoints' / 'last.ckpt'}"
    tested = cli.main(["test", f"--config={FOLDERS}", *folders(tmp_path, "new"), checkpoint, *small])
    assert rows(tested, "sources")["named", "attributed"]["count"] == "6"
    predicted = cli.main(["predict", f"--config={FOLDERS}", f"--data.root={tmp_path / 'new'}", checkpoint, *small])
    with (predicted.run_folder / "attributions.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 4 * 3


def folders(root, discovery):
    return [f"--data.labelled={root / 'labelled'}", f"--data.discovery={root / discovery}"]
