"""The configurations of GRIT and its baselines, through the real entry point: faces in seconds, the thesis' on replicas.

configs/grit.yaml, configs/paper/grit_256.yaml, configs/paper/grit_512.yaml, configs/paper/grit_handbags.yaml,
configs/paper/pix2pixhd_256.yaml, configs/paper/pix2pixhd_512.yaml, configs/paper/pix2pixhd_handbags.yaml,
configs/paper/spade_256.yaml, configs/paper/spade_512.yaml, configs/paper/spade_handbags.yaml
"""

import csv
import json
import math

import pytest
import yaml
from PIL import Image

import cli
from tests.helpers.image_files import save_photo
from tests.helpers.replicas_translation import make_celeba_mask_hq, make_edges2handbags, make_label_map
from tests.helpers.runs import ROOT

FACES, SIZE = "configs/grit.yaml", 32
PAPER = [
    f"configs/paper/{method}_{data}.yaml"
    for method in ("grit", "pix2pixhd", "spade")
    for data in ("256", "512", "handbags")
]
QUIET = [
    *("--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"),
    *("--trainer.log_every_n_steps=1", "--trainer.precision=32-true", "--trainer.max_epochs=1"),
]
# Networks that a CPU trains in milliseconds.
SMALL = {
    "grit": {"style_dim": 8, "base": 4, "most": 8, "downs": 2, "discriminator_base": 128},
    "pix2pixhd": {"base": 4, "downs": 2, "blocks": 1, "discriminator_base": 4, "lambda_vgg": 0},
    "spade": {"base": 4, "hidden": 4, "style_dim": 8, "discriminator_base": 4, "lambda_vgg": 0},
}
FEW_FACES = {"images": 8, "test_images": 3, "image_size": SIZE, "batch_size": 4, "texture_draws": 2}
EVERYWHERE = {"reconstruction", "frechet_distance", "spectrum", "spectrum_curves", "health"}


def words(options, prefix):
    return [f"--{prefix}.{key}={value}" for key, value in options.items()]


def small(config, *more):
    """Return the words that start a configuration on small networks."""
    name = config.rsplit("/", 1)[1].removesuffix(".yaml").split("_")[0]
    return [f"--config={config}", *words(SMALL[name] | {"image_size": SIZE}, "model"), *QUIET, *more]


def offline(config):
    """Return the callbacks of a configuration with what they would download replaced, and quick ones."""
    callbacks = yaml.safe_load((ROOT / config).read_text())["trainer"]["callbacks"]
    for each in callbacks:
        options = each.setdefault("init_args", {})
        options |= {key: None for key in options if key.endswith("_weights")}
        options |= {"share": 1.0, "draws": 2} if each["class_path"].endswith("NoiseVariation") else {}
    return f"--trainer.callbacks={json.dumps(callbacks)}"


def values(run, protocol):
    with (run / "results" / f"{protocol}.csv").open(newline="") as file:
        return {(row["metric"], row["method"]): float(row["value"]) for row in csv.DictReader(file)}


def names(folder):
    return {path.name for path in folder.iterdir()}


@pytest.fixture(autouse=True)
def _at_home(monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("DATA_ROOT", str(tmp_path))


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """The run folder of configs/grit.yaml in seconds."""
    runs = tmp_path_factory.mktemp("faces")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        few = [*words(FEW_FACES, "data"), "--trainer.check_val_every_n_epoch=1", offline(FACES)]
        return cli.main(["fit", *small(FACES, *few), f"--runs_dir={runs}"]).run_folder


def check_results(run, expected):
    """Hold the files of a run against those that its callbacks promise."""
    assert {name.removesuffix(".csv") for name in names(run / "results")} == expected | {"summary.md"}
    reconstruction = values(run, "reconstruction")
    assert 0 < reconstruction["L1", "image"] < 255
    assert math.isfinite(reconstruction["PSNR", "image"])
    assert any(metric.startswith("SSIM") for metric, _ in reconstruction)
    assert values(run, "spectrum")["power share upper half", "truth"] > 0
    (distance,) = (value for (_, method), value in values(run, "frechet_distance").items() if method == "image")
    assert distance > 0
    summary = (run / "results" / "summary.md").read_text()
    assert "Fidelity to the true images" in summary
    assert "PSNR" in summary
    assert {"translations.png", "frequency_spectrum.png"} <= names(run / "pictures")


def test_the_embedded_world(faces):
    check_results(faces, EVERYWHERE | {"noise_variation"})
    assert ("L1", "reconstruction") in values(faces, "reconstruction")
    assert ("power upper half", "residual") in values(faces, "spectrum")
    variation = values(faces, "noise_variation")
    assert {("std ratio", "image"), ("Pearson", "image"), ("std", "hair")} <= variation.keys()
    assert json.loads((faces / "manifest.json").read_text())["status"] == "finished"
    assert "noise_variation.png" in names(faces / "pictures")


@pytest.mark.parametrize("config", PAPER)
def test_the_thesis_on_replicas(config, tmp_path):
    make_celeba_mask_hq(tmp_path)
    make_edges2handbags(tmp_path)
    few = [*words({"image_size": SIZE, "batch_size": 2, "num_workers": 0}, "data"), offline(config)]
    more = ["--trainer.check_val_every_n_epoch=1", f"--runs_dir={tmp_path / 'runs'}"]
    run = cli.main(["fit", *small(config, *few, *more)])
    handbags = "handbags" in config
    assert run.trainer.global_step == 2 * (2 if handbags else 1)  # two optimisers
    assert run.model.classes == (None if handbags else 19)
    check_results(run.run_folder, EVERYWHERE | ({"noise_variation"} if "/grit" in config else set()))
    assert int(rows(run.run_folder, "reconstruction")[0]["count"]) == 2  # of the test part


def rows(run, protocol):
    with (run / "results" / f"{protocol}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("config", PAPER)
def test_values_are_those_of_the_thesis_and_of_the_official_codes(config):
    content = yaml.safe_load((ROOT / config).read_text())
    model, data = content["model"]["init_args"], content["data"]["init_args"]
    assert model["image_size"] == data["image_size"] == (512 if "512" in config else 256)
    assert content["trainer"]["max_epochs"] == 200
    assert (model["classes"], model.get("condition_channels")) == ((None, 1) if "handbags" in config else (19, None))
    callbacks = {each["class_path"]: each.get("init_args", {}) for each in content["trainer"]["callbacks"]}
    assert callbacks["callbacks.ReconstructionEvaluation"] == {"window": "uniform", "lpips_weights": "download"}
    assert callbacks["callbacks.FrechetDistance"] == {"inception_weights": "download"}
    if "/grit" in config:
        assert (model["base"], model["most"], model["downs"], model["style_dim"]) == (64, 512, 6, 512)
        assert (model["lr"], model["beta1"], model["beta2"], model["decay_epochs"]) == (1e-3, 0, 0.999, 1)
        assert model["lambda_rec"] == 30
        assert callbacks["callbacks.NoiseVariation"]["draws"] == 20
    else:  # the defaults are those of the official codes
        lr, betas, decay = (2e-4, (0.5, 0.999), 100) if "pix2pixhd" in config else (2e-4, (0, 0.9), 0)
        assert (model["lr"], (model["beta1"], model["beta2"]), model["decay_epochs"]) == (lr, betas, decay)
        assert (model["lambda_features"], model["lambda_vgg"], model["vgg_weights"]) == (10, 10, "torchvision")


# ------------------------------------------------------------------------------------------------------- predict


def furnish(folder, mode="L"):
    """Write two label maps and three style images of other sizes; return the words that name their folders."""
    for name in ("one", "two"):
        make_label_map(folder / "labels" / f"{name}.png", 48, 40, classes=4, mode=mode)
    for name in ("a", "b", "c"):
        save_photo(folder / "styles" / f"{name}.jpg", 50, 60, seed=ord(name))
    return [f"--data.labels={folder / 'labels'}", f"--data.styles={folder / 'styles'}"]


def predict(faces, tmp_path, *more):
    few = [*words(FEW_FACES, "data"), f"--ckpt_path={faces / 'checkpoints' / 'last.ckpt'}"]
    return cli.main(["predict", *small(FACES, *few), f"--runs_dir={tmp_path / 'runs'}", *more]).run_folder


@pytest.mark.parametrize("mode", ["L", "P"])
def test_predict_translates_all_pairs(faces, tmp_path, mode):
    """The command of the file's first lines; label maps may be palette images, whose colours say nothing."""
    run = predict(faces, tmp_path, *furnish(tmp_path, mode))
    assert names(run / "translations") == {f"{label}__{style}.png" for label in ("one", "two") for style in "abc"}
    pictures = [Image.open(path) for path in sorted((run / "translations").iterdir())]
    assert all((picture.size, picture.mode) == ((SIZE, SIZE), "RGB") for picture in pictures)
    assert len({picture.tobytes() for picture in pictures}) == 6
    assert (run / "pictures" / "style_transfer.png").stat().st_size > 0


def test_predict_without_folders_takes_test_faces(faces, tmp_path):
    assert len(names(predict(faces, tmp_path) / "translations")) == 3 * 3


def test_predict_translates_edges(tmp_path):
    make_edges2handbags(tmp_path)
    config = "configs/paper/grit_handbags.yaml"
    few = [*words({"image_size": SIZE, "batch_size": 2, "num_workers": 0}, "data"), f"--runs_dir={tmp_path / 'runs'}"]
    trained = cli.main(["fit", *small(config, *few), "--test_after_fit=false", "--trainer.callbacks=[]"]).run_folder
    for folder, name in (("edges", "bag"), ("styles", "a"), ("styles", "b")):
        save_photo(tmp_path / folder / f"{name}.jpg", 40, 40, seed=ord(name[0]))
    folders = [f"--data.conditions={tmp_path / 'edges'}", f"--data.styles={tmp_path / 'styles'}"]
    checkpoint = f"--ckpt_path={trained / 'checkpoints' / 'last.ckpt'}"
    run = cli.main(["predict", *small(config, *few), offline(config), checkpoint, *folders]).run_folder
    assert names(run / "translations") == {"bag__a.png", "bag__b.png"}
