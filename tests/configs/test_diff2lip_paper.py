"""The thesis' configurations of Diff2Lip on replicas, and the baselines of table 6.4 on the embedded world too.

configs/paper/diff2lip.yaml, configs/paper/diff2lip_lrw.yaml, configs/paper/diff2lip_256.yaml,
configs/paper/wav2lip.yaml
"""

import csv
import json
import math

import pytest
import yaml

import cli
from tests.helpers.dubbing_runs import NETWORK, QUIET
from tests.helpers.replicas_dubbing import ONE_PASS as SMALL_ONE_PASS
from tests.helpers.replicas_dubbing import SIZE, make_data, small_baseline, words
from tests.helpers.runs import ROOT

PAPER, LRW, LARGE, ONE_PASS = (
    f"configs/paper/{name}.yaml" for name in ("diff2lip", "diff2lip_lrw", "diff2lip_256", "wav2lip")
)
SETTINGS = {"reconstruction", "cross"}
FRECHET = "Frechet distance (dense-contrastive ViT)"


@pytest.fixture(autouse=True)
def _at_home(monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("DATA_ROOT", str(tmp_path))


def values(run, protocol):
    with (run / "results" / f"{protocol}.csv").open(newline="") as file:
        return {(row["metric"], row["method"]): float(row["value"]) for row in csv.DictReader(file)}


def offline(config):
    """Return the callbacks of a configuration without what they would download."""
    callbacks = yaml.safe_load((ROOT / config).read_text())["trainer"]["callbacks"]
    for each in callbacks:
        options = each.setdefault("init_args", {})
        options |= {key: None for key in options if key == "inception_weights"}
    return f"--trainer.callbacks={json.dumps(callbacks)}"


def check_results(run):
    """Compare the files of a test with those that its callbacks promise."""
    distances = values(run, "frechet_distance")
    assert {method for _, method in distances} == SETTINGS
    assert all(value > -1e-4 for value in distances.values())  # rounding
    reconstruction = values(run, "reconstruction")
    assert {method for _, method in reconstruction} == {"reconstruction"}  # there is no truth to be close to elsewhere
    assert {"PSNR", "SSIM (gaussian 11)"} <= {metric for metric, _ in reconstruction}
    dubbing = values(run, "dubbing")
    measured = [(metric, setting) for metric in ("Sync_c", "Sync_d", "offset") for setting in SETTINGS]
    assert all(math.isfinite(dubbing[each]) for each in measured)
    assert "Dubbing" in (run / "results" / "summary.md").read_text()


def test_one_pass_on_the_embedded_world(tmp_path):
    run = cli.main(["fit", *small_baseline("Wav2Lip"), "--data.val_clips=1", *QUIET, f"--runs_dir={tmp_path}"])
    assert type(run.model).__name__ == "Wav2Lip"
    assert run.trainer.global_step == 2 * 2  # two optimisers
    assert run.model.trained_on_drawn is True
    check_results(run.run_folder)
    assert ("r driving", "cross") in values(run.run_folder, "dubbing")
    with (run.run_folder / "metrics.csv").open(newline="") as file:
        assert {"train/l1", "train/gan", "train/discriminator", "val/sync"} <= set(next(csv.reader(file)))


def test_copying_is_tested_without_a_checkpoint(tmp_path):
    run = cli.main(["test", *small_baseline("Copying"), *QUIET, f"--runs_dir={tmp_path}"]).run_folder
    check_results(run)
    assert values(run, "frechet_distance")[FRECHET, "cross"] == pytest.approx(0, abs=1e-4)  # the videos as they were
    assert values(run, "frechet_distance")[FRECHET, "reconstruction"] > 1e-3
    assert values(run, "dubbing")["r own", "cross"] > 0.9


def test_copying_refuses_to_train(tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["fit", *small_baseline("Copying"), *QUIET, f"--runs_dir={tmp_path}"])
    assert caught.value.code == 2
    assert "Copying learns nothing" in capsys.readouterr().err


# The networks cut down, and clips that are there.
SMALL = {
    PAPER: NETWORK | {"experts.perceptual": "small", "audio.width": 4},
    ONE_PASS: SMALL_ONE_PASS | {"audio.width": 4},
}
FEW = [
    *words({"face_size": SIZE, "batch_size": 1, "num_workers": 0, "cross": 2}, "data"),
    *("--trainer.max_epochs=1", "--trainer.check_val_every_n_epoch=1", "--trainer.limit_val_batches=1"),
]


@pytest.mark.parametrize("config", [pytest.param(PAPER, marks=pytest.mark.slow), ONE_PASS])
def test_the_thesis_on_replicas(config, tmp_path):
    make_data(tmp_path)
    common = [*words(SMALL[config], "model"), *FEW, offline(config), *QUIET, f"--runs_dir={tmp_path / 'runs'}"]
    fitted = cli.main(["fit", f"--config={config}", *common])
    assert fitted.trainer.global_step == 2 * 2
    assert fitted.model.trained_on_drawn is False
    check_results(fitted.run_folder)
    checkpoint = f"--ckpt_path={fitted.run_folder / 'checkpoints' / 'last.ckpt'}"
    tested = cli.main(["test", f"--config={config}", f"--config={LRW}", *common, checkpoint])
    assert tested.trainer.datamodule.root.name == "lrw_clips"
    check_results(tested.run_folder)
    pictures = {path.name for path in (tested.run_folder / "pictures").iterdir()}
    assert {"dubbed_reconstruction.png", "dubbed_cross.png", "dubbed.mp4"} <= pictures
    assert ("denoising.png" in pictures) == (config == PAPER)  # figure 6.11


def test_256_pixels(tmp_path):
    """Six levels, thin ones; three blocks of attention."""
    make_data(tmp_path)
    thin = {"unet.base": 4, "unet.head_channels": 4, "unet.blocks": 1, "audio.width": 4, "discriminator.base": 4}
    more = {"losses.lambda_perceptual": 0, "experts.perceptual": "small", "sampling.steps": 1}
    run = cli.main(
        [
            *("fit", f"--config={PAPER}", f"--config={LARGE}", *words(thin | more, "model"), *QUIET),
            *words({"batch_size": 1, "num_workers": 0, "cross": 0, "reconstruction": 1}, "data"),
            *("--trainer.max_steps=4", "--trainer.limit_val_batches=0", "--trainer.limit_test_batches=0"),
            *("--trainer.callbacks=[]", f"--runs_dir={tmp_path / 'runs'}"),
        ]
    )
    assert run.model.face_size == run.trainer.datamodule.face_size == 256
    assert len(run.model.generator.unet.down_blocks) == 6


BEYOND = {
    "mask": ["--model.mask=landmarks"],
    "noise": ["--model.diffusion.noise=mixed", "--model.sampling.noise=mixed"],
    "guidance": ["--model.audio.dropout=0.5", "--model.sampling.guidance=2"],
    "v": ["--model.diffusion.prediction=v"],
    "sample": ["--model.diffusion.prediction=sample", "--model.losses.l2_weighting=alpha_bar"],
    "simple": [f"--model.losses.lambda_{name}=0" for name in ("l2", "sync", "perceptual", "gan")],
}


@pytest.mark.parametrize("option", BEYOND)
def test_what_the_head_of_the_file_names_is_an_option(option, tmp_path):
    make_data(tmp_path)
    text = (ROOT / PAPER).read_text()
    assert all(word.partition("=")[0].rpartition(".")[2] in text for word in BEYOND[option])
    common = [*words(SMALL[PAPER], "model"), *FEW, "--trainer.callbacks=[]", *QUIET, f"--runs_dir={tmp_path / 'runs'}"]
    run = cli.main(["fit", f"--config={PAPER}", *common, *BEYOND[option], "--test_after_fit=false"])
    assert run.trainer.global_step == (2 if option == "simple" else 4)


def test_values_are_those_of_the_thesis_the_author_and_the_code():
    content = yaml.safe_load((ROOT / PAPER).read_text())
    model, data = content["model"]["init_args"], content["data"]["init_args"]
    assert model["face_size"] == data["face_size"] == 128
    assert [model["losses"][f"lambda_{name}"] for name in ("l2", "sync", "perceptual", "gan")] == [1, 0.1, 0.25, 0.5]
    assert model["diffusion"] == {"steps": 1000, "prediction": "eps", "clamp": "hard", "noise": "independent"}
    assert model["unet"] | {"base": 128, "multipliers": [1, 1, 2, 3, 4], "blocks": 2} == model["unet"]
    assert (model["sampling"]["steps"], model["sampling"]["noise"], model["sampling"]["noise_seed"]) == (
        25,
        "shared",
        7,
    )
    assert (data["cross"], data["windows"]) == (4970, 2)
    for line in (ROOT / PAPER).read_text().partition("\nmodel:")[2].splitlines():
        if line.rstrip().endswith((":", "download")) or "class_path: " in line or not line:
            continue
        assert "#" in line, f"{line}: where is this value from?"


def test_one_pass_has_the_network_and_the_data_of_diff2lip():
    ours, theirs = (yaml.safe_load((ROOT / config).read_text()) for config in (PAPER, ONE_PASS))
    for group in ("unet", "audio"):
        both = ours["model"]["init_args"][group], theirs["model"]["init_args"][group]
        assert both[1].items() <= both[0].items()
    shared = ("root", "face_size", "windows", "batch_size", "cross")
    assert all(ours["data"]["init_args"][key] == theirs["data"]["init_args"][key] for key in shared)
    assert ours["trainer"]["callbacks"] == theirs["trainer"]["callbacks"]
