"""Gen2Det trained on a few pictures that look generated.

configs/gen2det.yaml, configs/paper/gen2det_lvis.yaml, configs/paper/gen2det_coco.yaml,
configs/paper/gen2det_ld_coco.yaml, configs/paper/gen2det_centernet2.yaml
"""

import csv

import pytest

import cli
from datamodules import COCODetection, LVISDetection
from tests.configs.test_detection import SCENES, SMALL, TINY, TINY_MASKS, figures, fit, overrides
from tests.helpers.generated_pictures import write_generated
from tests.helpers.replicas_detection import make_coco_detection, make_lvis
from tests.helpers.runs import ROOT
from tests.helpers.small_detectors import CENTERNET
from tests.helpers.small_detectors import SMALL as SMALL_DETECTORS

CONFIG = "--config=configs/gen2det.yaml"


@pytest.fixture(autouse=True)
def _at_home(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_it_trains_on_either_kind(probability, tmp_path):
    generated = f"--data.synthetic.annotations={write_generated(tmp_path / 'generated')}"
    run = fit(tmp_path, CONFIG, generated, f"--data.synthetic.probability={probability}", *SCENES)
    assert type(run.model).__name__ == "Gen2Det"
    assert run.trainer.global_step == 2
    assert "AP50" in figures(run, "coco")
    with (run.run_folder / "metrics.csv").open(newline="") as file:
        logged = [row.get("train/ignored_background") for row in csv.DictReader(file)]
    assert any(each and float(each) == 1 for each in logged) == (probability == 1)


def test_the_naive_combination(tmp_path):
    generated = f"--data.synthetic.annotations={write_generated(tmp_path / 'generated')}"
    run = fit(tmp_path, CONFIG, generated, "--data.synthetic.mixing=concatenation", "--model.tau_i=null", *SCENES)
    assert run.trainer.global_step == (4 + 9) // 2


def test_the_detector_in_training_chooses_among_copies(tmp_path, capsys):
    words = [CONFIG, f"--data.synthetic.annotations={write_generated(tmp_path / 'generated', copies=3)}", *SCENES]
    words += ["--trainer.max_epochs=2", "--test_after_fit=false", "--trainer.callbacks+=callbacks.HardestCopies"]
    run = fit(tmp_path, *words, "--data.synthetic.probability=1", "--data.synthetic.copies=one")
    assert len(run.datamodule.shown) == 3
    with (run.run_folder / "metrics.csv").open(newline="") as file:
        changed = [row["feedback/changed_copies"] for row in csv.DictReader(file) if row["feedback/changed_copies"]]
    assert [0 <= float(each) <= 1 for each in changed] == [True]
    with pytest.raises(SystemExit) as ended:
        fit(tmp_path, *words)
    assert ended.value.code == 2
    assert "give --data.synthetic.annotations=<file> and --data.synthetic.copies=one" in capsys.readouterr().err


def test_generated_pictures_that_are_missing_end_it_with_the_commands_that_make_them(tmp_path, capsys):
    words = ["fit", CONFIG, f"--data.synthetic.annotations={tmp_path / 'none.json'}", f"--runs_dir={tmp_path}"]
    with pytest.raises(SystemExit) as ended:
        cli.main([*words, *SCENES, "--trainer.accelerator=cpu"])
    assert ended.value.code == 2
    assert "python cli.py predict --config configs/gen2det_generate.yaml" in capsys.readouterr().err


LVIS, COCO = "--config=configs/paper/gen2det_lvis.yaml", "--config=configs/paper/gen2det_coco.yaml"


def generated_for(data, folder):
    """Write generated pictures with the classes of a replica, where the thesis' configurations look for them."""
    data.setup("fit")
    return write_generated(folder, count=18, names=data.classes)


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_lvis(probability, tmp_path, monkeypatch):
    make_lvis(tmp_path)
    monkeypatch.setenv("DATA_ROOT", str(tmp_path))
    generated_for(LVISDetection(str(tmp_path / "coco")), tmp_path / "gen2det" / "lvis")
    small = overrides("configs/paper/gen2det_lvis.yaml", TINY | TINY_MASKS)
    words = [LVIS, small, *SMALL, "--model.init_args.num_classes=4", f"--data.synthetic.probability={probability}"]
    run = fit(tmp_path, *words)
    assert run.trainer.global_step == 2
    assert set(figures(run, "lvis")) >= {"AP", "APr", "APc", "APf"}


def test_centernet2_learns_how_frequent_classes_are(tmp_path, monkeypatch):
    make_lvis(tmp_path)
    monkeypatch.setenv("DATA_ROOT", str(tmp_path))
    data = LVISDetection(str(tmp_path / "coco"))
    generated_for(data, tmp_path / "gen2det" / "lvis")
    own = {key: value for key, value in SMALL_DETECTORS[CENTERNET].items() if not key.endswith("power")}
    small = overrides("configs/paper/gen2det_centernet2.yaml", own)
    fragment = "--config=configs/paper/gen2det_centernet2.yaml"
    run = fit(tmp_path, LVIS, fragment, small, *SMALL, "--model.init_args.num_classes=4")
    assert run.trainer.global_step == 2
    losses = [each.loss_cls for each in run.model.detector.roi_head.bbox_head]
    assert all(loss.frequencies.tolist() == data.pictures_by_class().tolist() for loss in losses)
    assert data.pictures_by_class().sum() > 0


@pytest.mark.parametrize("fragment", [[], ["--config=configs/paper/gen2det_ld_coco.yaml"]])
@pytest.mark.parametrize("mixing", ["sampling", "concatenation"])
def test_coco(fragment, mixing, tmp_path, monkeypatch):
    make_coco_detection(tmp_path)
    monkeypatch.setenv("DATA_ROOT", str(tmp_path))
    folder = "ld_coco_10" if fragment else "coco"
    path = generated_for(COCODetection(str(tmp_path / "coco")), tmp_path / "gen2det" / folder)
    path.rename(path.with_name("annotations.json" if fragment else "filtered.json"))
    small = overrides("configs/paper/gen2det_coco.yaml", TINY | TINY_MASKS)
    words = [LVIS, COCO, *fragment, small, *SMALL, "--model.init_args.num_classes=3", "--model.tau_i=null"]
    if fragment:
        words.append("--data.init_args.train_images_percent=100")
    run = fit(tmp_path, *words, f"--data.synthetic.mixing={mixing}")
    assert run.trainer.global_step == 2
    assert "AP" in figures(run, "coco")


def test_scenes_in_other_styles(tmp_path):
    words = [CONFIG, *SCENES, "--data.synthetic.annotations=null"]
    trained = fit(tmp_path, *words, "--test_after_fit=false")
    run = cli.main(
        [
            *("test", CONFIG, "--config=experiments/gen2det/configs/styles.yaml", f"--runs_dir={tmp_path / 'runs'}"),
            *(*SCENES, f"--ckpt_path={trained.run_folder / 'checkpoints' / 'last.ckpt'}"),
        ]
    )
    with (run.run_folder / "results" / "domains.csv").open(newline="") as file:
        methods = [row["method"] for row in csv.DictReader(file) if row["metric"] == "AP"]
    assert methods == ["sketch", "grey", "weather", "cartoon", "mean"]
