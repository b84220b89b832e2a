"""The thesis' stages of Gen2Det before and after its training, on replicas, with a tiny GLIGEN and aesthetic predictor.

configs/paper/gen2det_generate_lvis.yaml, configs/paper/gen2det_generate_coco.yaml,
configs/paper/gen2det_filter_lvis.yaml, configs/paper/gen2det_filter_coco.yaml, configs/paper/gen2det_coco_o.yaml
"""

import csv
import json

import pytest
import yaml

import cli
from datamodules.detection.coco_o import DOMAINS, coco_categories
from tests.configs.test_detection import QUIET, SMALL, TINY, TINY_MASKS, fit, overrides
from tests.helpers.generated_pictures import write_generated
from tests.helpers.replica_coco_o import make_coco_o
from tests.helpers.replicas_detection import edit_json, make_coco_detection, make_lvis
from tests.helpers.runs import ROOT
from tests.helpers.tiny_aesthetics import write_clip, write_predictor
from tests.helpers.tiny_gligen import write_gligen

MAKE = {"lvis": make_lvis, "coco": make_coco_detection}
COPIES = {"lvis": 2, "coco": 4}
CLASSES = {"lvis": 4, "coco": 3}
PICTURES = 3  # of the replicas that have boxes
FEW_DETECTIONS = {"test_cfg.rpn.max_per_img": 50, "test_cfg.rcnn.max_per_img": 20}


def stacked(stage, data):
    """Return the configurations of a stage, that of COCO on top of that of LVIS."""
    names = ["lvis"] if data == "lvis" else ["lvis", data]
    return [f"--config=configs/paper/gen2det_{stage}_{name}.yaml" for name in names]


def predict(root, *words):
    return cli.main(["predict", f"--runs_dir={root / 'runs'}", *QUIET, *words])


@pytest.fixture(params=MAKE)
def data(request, tmp_path_factory, monkeypatch):
    """Name of a data set and the folder of its replica; generated pictures stay there from one test to the next."""
    root = tmp_path_factory.getbasetemp() / f"gen2det_{request.param}"
    if not root.exists():
        MAKE[request.param](root)
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("DATA_ROOT", str(root))
    return request.param, root


def generate(data, root):
    """Generate pictures, or find that they are there."""
    gligen = root / "gligen"
    if not gligen.is_dir():
        write_gligen(gligen)
    tiny = [f"--model.inpainter.model={gligen}", "--model.inpainter.steps=2", "--data.num_workers=0"]
    return predict(root, *stacked("generate", data), *tiny)


def test_pictures_are_drawn_into_the_layouts_of_the_training_set(data):
    name, root = data
    run = generate(name, root)
    folder = root / "gen2det" / name
    assert run.datamodule.output == folder
    entries = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    assert {entry["inpainter"]["class"].rsplit(".", 1)[-1] for entry in entries} == {"GLIGENInpainter"}
    assert len(entries) == COPIES[name] * PICTURES
    assert {entry["source"]["copy"] for entry in entries} == set(range(COPIES[name]))
    assert all((folder / "images" / f"{entry['name']}.png").is_file() for entry in entries)
    content = json.loads((folder / "annotations.json").read_text())
    assert len(content["categories"]) == CLASSES[name]
    assert all(("frequency" in each) == (name == "lvis") for each in content["categories"])


def predictor(root):
    clip, weights = root / "clip", root / "predictor.pth"
    if not clip.is_dir():
        write_predictor(weights, mean=5.0)
        write_clip(clip)
    options = {"clip": clip, "weights": weights}
    return [f"--model.image_score.{key}={value}" for key, value in options.items()] + ["--data.num_workers=0"]


@pytest.fixture
def generated(data):
    """The same, with generated pictures, and a detector of the real ones that has hardly learnt anything."""
    name, root = data
    generate(name, root)
    config = f"configs/paper/detector_{name}.yaml"
    small = overrides(config, TINY | FEW_DETECTIONS | (TINY_MASKS if name == "lvis" else {}))
    few = [f"--model.init_args.num_classes={CLASSES[name]}", "--test_after_fit=false", "--trainer.limit_val_batches=0"]
    run = fit(root, f"--config={config}", small, *SMALL, *few)
    return name, root, run.run_folder


def test_they_are_filtered_by_the_thesis_thresholds(generated):
    """The detector sees next to nothing, so that any of its scores counts here, anywhere."""
    name, root, detector = generated
    words = [*stacked("filter", name), *predictor(root)]
    any_score = ["--model.tau_s=0", "--model.tau_iou=0", "--model.class_aware=false"]
    predict(root, *words, f"--model.detector={detector}", *any_score)
    folder = root / "gen2det" / name
    summary = json.loads((folder / "filter.json").read_text())
    assert summary["tau_a"] == 4.5
    lines = [json.loads(line) for line in (folder / "filter.jsonl").read_text().splitlines()]
    assert len(lines) == COPIES[name] * PICTURES
    assert all(line["kept"] == (line["score"] >= 4.5) for line in lines)
    assert len(json.loads((folder / "filtered.json").read_text())["annotations"]) > 0


@pytest.mark.parametrize(("name", "tau_s"), [("lvis", 0.2), ("coco", 0.1)])
def test_thresholds(name, tau_s, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("DATA_ROOT", str(tmp_path))
    with pytest.raises(SystemExit) as end:
        cli.main(["predict", *stacked("filter", name), "--model.detector=runs/real", "--print_config"])
    assert end.value.code == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    model = printed["model"]["init_args"]
    assert (model["tau_a"], model["tau_s"], model["tau_iou"]) == (4.5, tau_s, 0.3)
    assert printed["data"]["init_args"]["generated"] == str(tmp_path / "gen2det" / name)


def test_without_a_detector_it_is_told_which_one(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as end:
        predict(tmp_path, *stacked("filter", "lvis"), *predictor(tmp_path))
    assert end.value.code == 2
    assert "give --model.detector=" in capsys.readouterr().err


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Words for a detector of the eighty classes of COCO, and a checkpoint of Gen2Det that has hardly learnt them."""
    root = tmp_path_factory.mktemp("trained")
    coco = make_coco_detection(root)
    for part in ("train", "val"):
        names = [{"id": number, "name": name} for number, name in coco_categories().items()]
        edit_json(coco / "annotations" / f"instances_{part}2017.json", lambda content: content.update(categories=names))  # noqa: B023
    write_generated(root / "gen2det" / "coco", count=18, names=list(coco_categories().values()))
    config = "configs/paper/gen2det_coco.yaml"
    words = ["--config=configs/paper/gen2det_lvis.yaml", f"--config={config}"]
    small = [overrides(config, TINY | FEW_DETECTIONS | TINY_MASKS), "--model.init_args.backbone_weights=null"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setenv("DATA_ROOT", str(root))
        run = fit(root, *words, *small, *SMALL, "--test_after_fit=false")
    return words, small, run.run_folder / "checkpoints" / "last.ckpt"


def on_coco_o(root, trained, *more):
    words, small, checkpoint = trained
    few = ["--data.init_args.num_workers=0", "--data.init_args.test_size=64", f"--ckpt_path={checkpoint}"]
    words = [*words, "--config=configs/paper/gen2det_coco_o.yaml", *small, *few]
    return cli.main(["test", f"--runs_dir={root / 'runs'}", *QUIET, *words, *more])


def test_coco_o(trained, tmp_path, monkeypatch, capsys):
    make_coco_o(tmp_path)
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("DATA_ROOT", str(tmp_path))
    run = on_coco_o(tmp_path, trained)
    with (run.run_folder / "results" / "domains.csv").open(newline="") as file:
        found = {(row["metric"], row["method"]): float(row["value"]) for row in csv.DictReader(file)}
    assert [method for metric, method in found if metric == "AP"] == [*DOMAINS, "mean"]
    assert found["AP", "mean"] == pytest.approx(sum(found["AP", domain] for domain in DOMAINS) / len(DOMAINS))
    printed = capsys.readouterr().out
    assert "Average precision (COCO) by domain" in printed
    assert all(domain in printed for domain in DOMAINS)
    assert (run.run_folder / "pictures" / "detections.png").is_file()
    with pytest.raises(SystemExit) as end:
        on_coco_o(tmp_path, trained, f"--data.init_args.root={tmp_path / 'nowhere'}")
    assert end.value.code == 2
    assert "COCO-O was not found." in capsys.readouterr().err
