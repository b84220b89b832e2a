"""The configurations of GRIT and its baselines through the real entry point: faces in seconds, the thesis' on replicas.

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
from tests.helpers.replicas_translation import (
    make_celeba_mask_hq,
    make_edges2handbags,
    make_label_map,
    make_paired_folders,
)
from tests.helpers.runs import ROOT, run_apart, run_here
from tests.helpers.translation_runs import FACES, FEW_FACES, SIZE, small, words

PAPER = [
    f"configs/paper/{method}_{data}.yaml"
    for method in ("grit", "pix2pixhd", "spade")
    for data in ("256", "512", "handbags")
]
EVERYWHERE = {"reconstruction", "frechet_distance", "spectrum", "spectrum_curves", "health"}


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
    """Compare the files of a run with those that its callbacks promise."""
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
    rates = model["optimizer"]
    assert (model["classes"], model.get("condition_channels")) == ((None, 1) if "handbags" in config else (19, None))
    callbacks = {each["class_path"]: each.get("init_args", {}) for each in content["trainer"]["callbacks"]}
    assert callbacks["callbacks.ReconstructionEvaluation"] == {"window": "uniform", "lpips_weights": "download"}
    assert callbacks["callbacks.FrechetDistance"] == {"inception_weights": "download"}
    if "/grit" in config:
        generator = model["generator"]
        assert [generator[name] for name in ("base", "most", "downs", "style_dim")] == [64, 512, 6, 512]
        assert (rates["lr"], rates["beta1"], rates["beta2"], rates["decay_epochs"]) == (1e-3, 0, 0.999, 1)
        assert model["lambda_rec"] == 30
        assert callbacks["callbacks.NoiseVariation"]["draws"] == 20
    else:  # the defaults are those of the official codes
        lr, betas, decay = (2e-4, (0.5, 0.999), 100) if "pix2pixhd" in config else (2e-4, (0, 0.9), 0)
        assert (rates["lr"], (rates["beta1"], rates["beta2"]), rates["decay_epochs"]) == (lr, betas, decay)
        assert model["matching"] == {"lambda_features": 10, "lambda_vgg": 10, "vgg_weights": "torchvision"}


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
    assert all((picture.size, picture.mode) == ((48, 40), "RGB") for picture in pictures)
    assert len({picture.tobytes() for picture in pictures}) == 6
    assert (run / "pictures" / "style_transfer.png").stat().st_size > 0


SIZES = {"wide": (61, 17), "high": (5, 90), "large": (129, 131), "dot": (1, 1)}


@pytest.mark.parametrize("keep_aspect", ["false", "true"])
def test_images_come_back_in_the_size_of_their_label_maps(faces, tmp_path, keep_aspect):
    for name, size in SIZES.items():
        labels = make_label_map(tmp_path / "labels" / f"{name}.png", *size, classes=19)
        labels[::3] = 255
        Image.fromarray(labels).save(tmp_path / "labels" / f"{name}.png")
    save_photo(tmp_path / "styles" / "a.jpg", 70, 31)
    folders = [f"--data.labels={tmp_path / 'labels'}", f"--data.styles={tmp_path / 'styles'}"]
    run = predict(faces, tmp_path, *folders, "--data.ignore_label=255", f"--data.keep_aspect={keep_aspect}")
    written = {path.stem: Image.open(path).size for path in (run / "translations").iterdir()}
    assert written == {f"{name}__a": size for name, size in SIZES.items()}


def test_draws_are_the_same_whatever_the_batches(faces, tmp_path):
    runs = []
    for place, more in enumerate((["--data.batch_size=1"], ["--data.batch_size=4"], ["--data.draws=2"])):
        folders = furnish(tmp_path / str(place))
        runs.append(predict(faces, tmp_path / str(place), *folders, "--data.draws=3", *more))
    files = names(runs[0] / "translations")
    pairs = {f"{label}__{style}" for label in ("one", "two") for style in "abc"}
    assert files == {f"{pair}-{each}.png" for pair in pairs for each in (0, 1, 2, "std")}
    content = [{path.name: path.read_bytes() for path in (run / "translations").iterdir()} for run in runs]
    assert content[0] == content[1]
    assert len({content[0][f"one__a-{each}.png"] for each in range(3)}) == 3
    assert all(content[2][name] == content[0][name] for name in files if name.endswith(("-0.png", "-1.png")))
    assert (runs[0] / "translations.csv").read_text() == (runs[1] / "translations.csv").read_text()
    rows = list(csv.DictReader((runs[0] / "translations.csv").open()))
    assert [row["name"] for row in rows] == sorted(pairs)
    assert all(row["draws"] == "3" and 0 < float(row["std"]) < float(row["largest std"]) for row in rows)
    assert "variation.png" in names(runs[0] / "pictures")


@pytest.mark.slow
def test_draws_are_the_same_in_two_processes(faces, tmp_path):
    folders, checkpoint = furnish(tmp_path), f"--ckpt_path={faces / 'checkpoints' / 'last.ckpt'}"
    few = [*words(FEW_FACES, "data"), "--data.draws=2", *folders, checkpoint, f"--runs_dir={tmp_path / 'runs'}"]
    alone = run_here(["predict", *small(FACES, *few, "--name=alone")])
    status, error = run_apart(
        ["predict", *small(FACES, *few, "--name=two", "--trainer.devices=2", "--trainer.strategy=ddp")]
    )
    assert status == 0, error
    two = alone.parent / "two"
    for path in (alone / "translations").iterdir():
        assert (two / "translations" / path.name).read_bytes() == path.read_bytes(), path.name
    assert names(two / "translations") == names(alone / "translations")
    assert (two / "translations.csv").read_text() == (alone / "translations.csv").read_text()


def test_diversity_and_segmentation_beside_the_figures_of_before(faces, tmp_path):
    more = "[callbacks.DrawDiversity,{class_path: callbacks.SegmentationAgreement, init_args: {steps: 3}}]"
    few = [*words(FEW_FACES, "data"), f"--ckpt_path={faces / 'checkpoints' / 'last.ckpt'}", offline(FACES)]
    run = cli.main(["test", *small(FACES, *few, f"--trainer.callbacks+={more}"), f"--runs_dir={tmp_path}"]).run_folder
    assert values(run, "diversity").keys() == {("feature distance between draws (dense-contrastive ViT)", "image")}
    found = values(run, "segmentation")
    assert {name.partition(" (")[0] for name, _ in found} == {"mIoU", "pixel accuracy"}
    assert {method for _, method in found} == {"image", "reconstruction", "truth"}
    assert all(0 <= value <= 1 for value in found.values())
    for protocol in ("reconstruction", "noise_variation"):
        assert {name for name, _ in values(run, protocol)} == {name for name, _ in values(faces, protocol)}


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


# ------------------------------------------------------------------------------------------------- mistakes of users


@pytest.fixture
def folders(tmp_path):
    """Eight label maps with the labels 0 to 3 and the images that belong to them."""
    return make_paired_folders(tmp_path, tuple("abcdefgh"))


def train_on(folders, *more):
    few = words({"images": folders / "images", "image_size": SIZE, "batch_size": 2, "num_workers": 0}, "data")
    rest = ["--test_after_fit=false", "--trainer.callbacks=[]", f"--runs_dir={folders / 'runs'}"]
    return cli.main(["fit", *small(FACES, "--data=PairedImages", *few, *rest, *more)])


def refused(capsys, *command):
    """Return the error with which a command ends, and check that it is one of the user's."""
    with pytest.raises(SystemExit) as stopped:
        command[0](*command[1:])
    error = capsys.readouterr().err
    assert stopped.value.code == 2
    assert "Traceback" not in error
    return error


def test_two_folders_of_ones_own(folders):
    run = train_on(folders, f"--data.labels={folders / 'labels'}", "--data.classes=4", "--model.classes=4")
    assert run.trainer.global_step == 2 * 3
    edges = ["--data.channels=1", "--model.classes=null", "--model.condition_channels=1"]
    run = train_on(folders, f"--data.conditions={folders / 'edges'}", *edges)
    assert run.trainer.global_step == 2 * 3


@pytest.mark.parametrize(
    ("data", "model", "message"),
    [
        (3, "3", "holds the labels 0, 1, 2, 3, but there are 3 classes"),
        (4, "null", "the data have label maps, and the model was built for images"),
        (4, "3", "label maps of 4 classes, and the model was built for 3"),
        (4, "5", "label maps of 4 classes, and the model was built for 5"),
    ],
)
def test_wrong_numbers_of_classes(folders, capsys, data, model, message):
    options = [f"--data.classes={data}", f"--model.classes={model}"]
    options += ["--model.condition_channels=1"] * (model == "null")
    assert message in refused(capsys, train_on, folders, f"--data.labels={folders / 'labels'}", *options)


def test_a_missing_partner(folders, capsys):
    (folders / "images" / "c.jpg").unlink()
    options = [f"--data.labels={folders / 'labels'}", "--data.classes=4", "--model.classes=4"]
    error = refused(capsys, train_on, folders, *options)
    assert "1 label maps in" in error
    assert "have no partner" in error
    assert "(c)" in error


def test_predict_with_mistakes(faces, tmp_path, capsys):
    labels, styles = furnish(tmp_path)
    assert "only one is given" in refused(capsys, predict, faces, tmp_path, labels)
    make_label_map(tmp_path / "labels" / "three.png", classes=25)
    error = refused(capsys, predict, faces, tmp_path, labels, styles)
    assert "three.png" in error
    assert "there are 19 classes" in error
    assert "ignore_label" in error
    (tmp_path / "labels" / "three.png").unlink()
    (tmp_path / "labels" / "three.png").write_bytes(b"no picture")
    assert "three.png" in refused(capsys, predict, faces, tmp_path, labels, styles)
    missing = f"--data.styles={tmp_path / 'nowhere'}"
    assert "nowhere" in refused(capsys, predict, faces, tmp_path, labels, missing)
    assert not list((tmp_path / "runs").glob("**/translations/*"))


def test_predict_without_a_trained_network(tmp_path, capsys):
    few = [*words(FEW_FACES, "data"), f"--runs_dir={tmp_path / 'runs'}"]
    assert "untrained" in refused(capsys, cli.main, ["predict", *small(FACES, *few)])
