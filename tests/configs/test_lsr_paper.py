"""The thesis' configurations of LSR on replicas.

configs/paper/lsr_layout.yaml, configs/paper/lsr_voxceleb2.yaml, configs/paper/lsr_unet.yaml,
configs/paper/lsr_spade.yaml, configs/paper/lsr_segmentation.yaml, configs/paper/lsr_oracle.yaml,
configs/paper/lsr_finetune.yaml
"""

import csv
import json
import math
import os
from pathlib import Path

import pytest
import yaml

import cli
from tests.helpers.dubbing_runs import QUIET
from tests.helpers.face_files import needs_face_files
from tests.helpers.replicas_lsr import DATA, OF_IMAGES, OF_LAYOUTS, make_data, words
from tests.helpers.runs import ROOT

LAYOUT, FULL, THIRD = (f"configs/paper/lsr_{name}.yaml" for name in ("layout", "voxceleb2", "finetune"))
ROWS = {"unet": "none", "spade": "landmarks", "segmentation": "segmentation", "oracle": "oracle"}
FEW = [
    *("--trainer.max_epochs=1", "--trainer.max_steps=-1", "--trainer.limit_val_batches=1"),
    *words(DATA, "data"),
]


@pytest.fixture(autouse=True)
def _at_home(monkeypatch, tmp_path_factory):
    root = tmp_path_factory.getbasetemp() / "lsr_paper"
    if not root.exists():
        make_data(root)
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("DATA_ROOT", str(root))


def offline(config):
    """Return the callbacks of a configuration without what they would download."""
    callbacks = yaml.safe_load((ROOT / config).read_text())["trainer"]["callbacks"]
    for each in callbacks:
        options = each.get("init_args", {})
        options |= {key: None for key in options if options[key] == "download"}
    return f"--trainer.callbacks={json.dumps(callbacks)}"


def results(run, protocol):
    with (run / "results" / f"{protocol}.csv").open(newline="") as file:
        return {(row["metric"], row["method"]): float(row["value"]) for row in csv.DictReader(file)}


@needs_face_files
def test_the_first_stage(tmp_path):
    common = [*words(OF_LAYOUTS, "model"), *FEW, *QUIET, f"--runs_dir={tmp_path}"]
    run = cli.main(["fit", f"--config={LAYOUT}", *common])
    assert run.trainer.global_step == 2
    found = results(run.run_folder, "heads")
    assert math.isfinite(found["oracle agreement", "K = 1"])
    assert (run.run_folder / "backbone.safetensors").is_file()  # what the second stage takes
    assert (run.run_folder / "pictures" / "layouts.png").is_file()


@needs_face_files
def test_the_full_pipeline(tmp_path, capsys):
    common = [*words(OF_IMAGES, "model"), *FEW, *QUIET, f"--runs_dir={tmp_path}"]
    run = cli.main(["fit", f"--config={FULL}", *common, offline(FULL)])
    assert run.trainer.global_step == 2 * 2
    assert run.model.trained_on_drawn is False
    assert "the embedder has trained this generator, as in the thesis" in capsys.readouterr().out
    heads, fidelity = results(run.run_folder, "heads"), results(run.run_folder, "reconstruction")
    for method in ("K = 1", "K = 2"):
        assert math.isfinite(heads["ID-SIM", method])
        assert math.isfinite(fidelity["SSIM (uniform 7)", method])
    assert ("own is nearer", "own shots") in results(run.run_folder, "shot_control")
    with (run.run_folder / "metrics.csv").open(newline="") as file:
        logged = set(next(csv.reader(file)))
    terms = {"l1", "vgg", "vggface", "identity", "adversarial", "latent", "discriminator", "r1", "r2"}
    assert {f"train/{term}" for term in terms} <= logged
    pictures = {path.name for path in (run.run_folder / "pictures").iterdir()}
    assert {"layouts.png", "single_shot.png", "many_shots.png", "cross_subject.png", "shot_curves.png"} <= pictures


@pytest.mark.parametrize("row", ROWS)
def test_rows_of_table_6_2(row, tmp_path):
    config = f"configs/paper/lsr_{row}.yaml"
    common = [*words(OF_IMAGES, "model"), *FEW, *QUIET, f"--runs_dir={tmp_path}", "--trainer.callbacks=[]"]
    run = cli.main(["fit", f"--config={FULL}", f"--config={config}", *common])
    assert run.model.generator.spatial == ROWS[row]
    assert run.trainer.global_step == 2 * 2
    assert (run.model.generator.layout is not None) == (row == "segmentation")


def test_the_third_stage(tmp_path):
    options = {name: value for name, value in OF_IMAGES.items() if not name.startswith("evaluation")}
    root = Path(os.environ["DATA_ROOT"])
    common = [*words(options, "model"), *QUIET, f"--runs_dir={tmp_path}", "--trainer.callbacks=[]"]
    drawn = ["--data.image_size=32", "--data.shots=2", "--data.sources=2", "--data.num_workers=0"]
    weights = f"--model.weights={root / 'lsr.safetensors'}"
    run = cli.main(["fit", f"--config={THIRD}", *common, *drawn, weights])
    assert run.trainer.global_step == 2 * 24  # of less than 4 shots
    assert run.model.generator.style.first.weight.grad is None  # encoders stay as they are
    assert yaml.safe_load((ROOT / THIRD).read_text())["model"]["init_args"]["weights"].endswith("/lsr.ckpt")


def test_the_third_stage_has_what_the_second_was_trained_with():
    third, second = (yaml.safe_load((ROOT / config).read_text())["model"]["init_args"] for config in (THIRD, FULL))
    for group in ("network", "experts", "discriminator", "adversarial"):
        assert third[group] == second[group]
    assert third["losses"].items() <= second["losses"].items()
    assert all(third[name] == second[name] for name in ("classes", "image_size", "spatial"))


BEYOND = {
    "straight_through": "--model.network.layout=straight_through",
    "latent_penalty": "--model.losses.latent_penalty=norm",
    "lambda_id": "--model.losses.lambda_id=0",
    "penalty_of": "--model.adversarial.penalty_of=loss",
}


@pytest.mark.parametrize("option", BEYOND)
def test_what_the_head_of_the_file_names_is_an_option(option, tmp_path):
    assert BEYOND[option] in (ROOT / FULL).read_text()
    common = [*words(OF_IMAGES, "model"), *FEW, *QUIET, f"--runs_dir={tmp_path}", "--trainer.callbacks=[]"]
    run = cli.main(["fit", f"--config={FULL}", *common, BEYOND[option], "--test_after_fit=false"])
    assert run.trainer.global_step == 2 * 2


def test_without_vggface_the_message_says_what_to_do(tmp_path, capsys):
    common = [*words(OF_IMAGES, "model"), *FEW, *QUIET, f"--runs_dir={tmp_path}", "--trainer.callbacks=[]"]
    with pytest.raises(SystemExit) as caught:
        cli.main(["fit", f"--config={FULL}", *common, f"--model.experts.vggface_weights={tmp_path / 'none.pth'}"])
    assert caught.value.code == 2
    assert "no weights at" in capsys.readouterr().err
    run = cli.main(["fit", f"--config={FULL}", *common, "--model.experts.vggface_weights=null", *without_faces()])
    assert run.model.faces is None


def without_faces():
    """Return what the head of the file advises."""
    advice = "--model.losses.lambda_vggface=0 --model.losses.lambda_id=0"
    assert advice in (ROOT / FULL).read_text()
    return advice.split()


def test_values_are_those_of_the_official_code():
    contents = {config: yaml.safe_load((ROOT / config).read_text()) for config in (LAYOUT, FULL)}
    layout, full = (content["model"]["init_args"] for content in contents.values())
    assert (layout["losses"]["lambda_seg"], layout["losses"]["lambda_rgb"]) == (10, 0.01)
    terms = ("gan", "l1", "vgg", "vggface", "id", "z")
    assert [full["losses"][f"lambda_{name}"] for name in terms] == [1, 1, 0.1, 0.002, 1, 1]
    assert {layout["image_size"], full["image_size"]} == {224}
    assert layout["network"].items() <= full["network"].items()
    examples = 1_090_194  # clips of VoxCeleb2's dev set
    of_layout, of_full = (content["trainer"]["max_steps"] for content in contents.values())
    assert of_layout == math.ceil(examples / 4)
    assert of_full == 2 * math.ceil((15 * examples - examples) / 4)
    for config in (LAYOUT, FULL, THIRD, *(f"configs/paper/lsr_{row}.yaml" for row in ROWS)):
        for line in (ROOT / config).read_text().partition("\nmodel:")[2].splitlines():
            if line.rstrip().endswith((":", "download", "vggface.pth")) or "class_path: " in line or not line:
                continue
            assert "#" in line, f"{line}: where is this value from?"
