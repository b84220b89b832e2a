"""The three stages of LSR through the real entry point, each from what the one before has left, in seconds.

configs/lsr_layout.yaml configs/lsr.yaml configs/lsr_finetune.yaml
"""

import csv
import math
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

import cli
from lightning_modules.lsr.module import LSR as Module
from lightning_modules.lsr.stage_files import below
from lightning_modules.lsr.subject import LSRFineTuning as Tuned
from tests.helpers.face_files import needs_face_files
from tests.helpers.head_runs import QUIET
from tests.helpers.reenacting_runs import FINETUNE, LAYOUT, LSR, SMALL, SMALL_FINETUNE, SMALL_LAYOUT
from tests.helpers.runs import ROOT

pytestmark = needs_face_files


@pytest.fixture(autouse=True)
def _at_home(monkeypatch):
    monkeypatch.chdir(ROOT)


def fit(config: str, *words: str, runs: Path) -> Path:
    """Return the run folder of a training of an epoch."""
    short = ["--trainer.max_epochs=1", f"--runs_dir={runs}"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return cli.main(["fit", f"--config={config}", *QUIET, *short, *words]).run_folder


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    return fit(LAYOUT, *SMALL_LAYOUT, runs=tmp_path_factory.mktemp("layout"))


@pytest.fixture(scope="module")
def trained(layout, tmp_path_factory):
    weights = layout / "backbone.safetensors"
    return fit(LSR, *SMALL, f"--model.layout_weights={weights}", runs=tmp_path_factory.mktemp("lsr"))


@pytest.fixture(scope="module")
def tuned(trained, tmp_path_factory):
    weights = trained / "checkpoints" / "last.ckpt"
    return fit(FINETUNE, *SMALL_FINETUNE, f"--model.weights={weights}", runs=tmp_path_factory.mktemp("tuned"))


def table(run: Path, name: str) -> list[dict[str, str]]:
    with (run / "results" / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def figures(run: Path, name: str, metric: str) -> dict[str, float]:
    return {row["method"]: float(row["value"]) for row in table(run, name) if row["metric"] == metric}


def test_the_first_stage_ends_with_the_accuracy_of_layouts_beside_that_of_their_oracle(layout):
    assert {"K = 1", "noisy oracle"} <= set(figures(layout, "heads", "layout accuracy"))
    assert (layout / "pictures" / "layouts.png").is_file()


def test_the_second_stage_ends_with_figures_of_one_and_four_shots_and_pictures(trained):
    assert {"K = 1", "K = 4", "source unmoved"} <= set(figures(trained, "heads", "L1"))
    assert {"own shots", "another's shots"} <= set(figures(trained, "shot_control", "L1"))
    assert {"K = 1", "K = 4"} <= set(figures(trained, "reconstruction", "PSNR"))
    assert (trained / "pictures" / "many_shots.png").is_file()


def test_every_loss_of_equation_6_4_is_finite(trained):
    with (trained / "metrics.csv").open(newline="") as file:
        logged = list(csv.DictReader(file))
    for name in ("l1", "vgg", "adversarial", "latent", "discriminator", "r1", "r2"):
        values = [float(row[f"train/{name}"]) for row in logged if row.get(f"train/{name}")]
        assert values, name
        assert all(math.isfinite(value) for value in values), name


def test_the_second_stage_begins_with_the_layout_of_the_first(layout, trained):
    """One epoch of two steps moves weights of Adam by less than two steps' rates."""
    first = load_file(layout / "backbone.safetensors")
    content = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    name = next(name for name in first if name.endswith("weight"))
    assert (content[f"generator.layout.{name}"] - first[name]).abs().max() < 0.1


def test_the_third_stage_evaluates_the_person(tuned):
    assert set(figures(tuned, "heads", "L1")) >= {"K = 2, fine-tuned", "source unmoved"}


def test_a_third_stage_of_no_step_leaves_the_network_of_the_second(trained, tmp_path):
    """It reenacts with the codes of the person who is given."""
    weights = trained / "checkpoints" / "last.ckpt"
    words = [*SMALL_FINETUNE, "--model.finetune.steps=0", "--test_after_fit=false"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        common = [f"--config={FINETUNE}", *QUIET, f"--runs_dir={tmp_path}", *words]
        run = cli.main(["fit", *common, f"--model.weights={weights}"]).run_folder
        last = run / "checkpoints" / "last.ckpt"
        first, second = (torch.load(path, weights_only=True)["state_dict"] for path in (weights, last))
        for theirs, ours in (("average.module", "generator"), ("average.module", "kept"), ("discriminator",) * 2):
            begun = below(f"{theirs}.", first)
            assert begun
            assert all(torch.equal(second[f"{ours}.{name}"], value) for name, value in begun.items())
        again = cli.main(["predict", *common, f"--ckpt_path={last}"])
        (film,) = (again.run_folder / "reenacted").glob("*.mp4")
        assert film.stat().st_size > 0
        longer = cli.main(["fit", *common, f"--model.weights={last}", "--model.finetune.steps=1"])
    assert longer.trainer.global_step == 2
    loaded = Tuned.load_from_checkpoint(last)
    assert torch.equal(loaded.shown.style.first.weight, first["average.module.style.first.weight"])


def test_the_weights_of_the_repository_fit_the_network_that_the_configuration_describes():
    options = yaml.safe_load((ROOT / LSR).read_text())["model"]["init_args"]
    first = load_file(ROOT / options["layout_weights"])
    model = Module(**options)
    for name, value in first.items():
        assert torch.equal(model.generator.layout.get_parameter(name), value.float()), name


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed", "bf16-true", "64-true"])
def test_every_precision_trains_and_reenacts(tmp_path, precision):
    run = fit(LSR, *SMALL, f"--trainer.precision={precision}", runs=tmp_path)
    assert all(math.isfinite(value) for value in figures(run, "heads", "L1").values())
