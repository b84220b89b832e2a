"""The configurations of detectors, started through the real entry point: scenes in seconds, the thesis' on replicas.

configs/detector.yaml, configs/sparsedet.yaml, configs/sparsedet_backbone.yaml, configs/paper/detector_coco.yaml,
configs/paper/detector_lvis.yaml, configs/paper/sparsedet_coco.yaml, configs/paper/sparsedet_voc.yaml,
configs/paper/sparsedet_ssl.yaml, configs/reports/detection.yaml
"""

import csv
import json
import math

import pytest
import torch
import yaml

import cli
from callbacks.detection.detection_report import PAGE
from callbacks.detection.detection_writer import COMPANION
from callbacks.detection.report.files import FILES, LABELS
from datamodules.detection.scenes import NAMES
from tests.helpers.image_files import save_photo, save_photos, truncate
from tests.helpers.replicas_detection import (
    COCO_CATEGORIES,
    COCO_SIZES,
    make_coco_detection,
    make_lvis,
    make_voc_detection,
)
from tests.helpers.runs import ROOT

QUIET = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
SCENES = [
    *("--data.init_args.scenes=4", "--data.init_args.test_scenes=3", "--data.init_args.image_size=64"),
    *("--data.init_args.batch_size=2", "--trainer.max_epochs=1", "--trainer.log_every_n_steps=1"),
]
# The thesis' detectors cut down to what two steps can pay for.
TINY = {
    "backbone.depth": 18,
    "backbone.base_channels": 8,
    "backbone.frozen_stages": -1,
    "neck.in_channels": [8, 16, 32, 64],
    "neck.out_channels": 16,
    "rpn_head.in_channels": 16,
    "rpn_head.feat_channels": 16,
    "roi_head.bbox_roi_extractor.out_channels": 16,
    "roi_head.bbox_head.in_channels": 16,
    "roi_head.bbox_head.fc_out_channels": 16,
}
TINY_MASKS = {
    "roi_head.mask_roi_extractor.out_channels": 16,
    "roi_head.mask_head.in_channels": 16,
    "roi_head.mask_head.conv_out_channels": 16,
}
SMALL = [
    *("--data.init_args.batch_size=2", "--data.init_args.num_workers=0", "--data.init_args.train_sizes=[64]"),
    *("--data.init_args.test_size=64", "--model.init_args.backbone_weights=null", "--trainer.max_steps=2"),
]


def fit(folder, *words):
    return cli.main(["fit", f"--runs_dir={folder / 'runs'}", *QUIET, *words])


def figures(run, protocol):
    with (run.run_folder / "results" / f"{protocol}.csv").open(newline="") as file:
        return {row["metric"]: float(row["value"]) for row in csv.DictReader(file)}


def overrides(config, tiny):
    own = yaml.safe_load((ROOT / config).read_text())["model"]["init_args"].get("overrides", {})
    return f"--model.init_args.overrides={json.dumps(own | tiny)}"


@pytest.fixture(autouse=True)
def _at_home(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("model", ["SparseDet", "Detector", "TwoViewDetector", "PseudoLabels", "CoMining"])
def test_sparsedet_and_what_it_is_compared_with(model, tmp_path, capsys):
    run = fit(tmp_path, "--config=configs/sparsedet.yaml", f"--model={model}", *SCENES)
    assert type(run.model).__name__ == model
    assert run.trainer.global_step == 2
    assert set(figures(run, "coco")) >= {"AP", "AP50", "AP75"}
    assert 0 <= figures(run, "proposals")["recall@0.5"] <= 1
    pictures = {path.name for path in (run.run_folder / "pictures").iterdir()}
    assert pictures == {"detections.png"} | ({"mined_boxes.png"} if model == "SparseDet" else set())
    assert "AP50" in capsys.readouterr().out  # the table on the terminal
    header = (run.run_folder / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"train/mined", "train/merged"} <= set(header) or model != "SparseDet"


def test_a_detector_of_the_collection_on_scenes(tmp_path):
    config = "--model.init_args.config=mmdet::retinanet/retinanet_r18_fpn_1x_coco.py"
    small = '--model.init_args.overrides={"backbone.base_channels": 8, "neck.in_channels": [8, 16, 32, 64]}'
    words = ["--config=configs/detector.yaml", config, small, "--model.init_args.backbone_weights=null", *SCENES]
    run = fit(tmp_path, *words)
    assert type(run.model.detector).__name__ == "RetinaNet"
    assert run.model.detector.bbox_head.num_classes == 12
    assert not math.isnan(figures(run, "coco")["AP"])


def test_the_backbone_fits_the_detector(tmp_path):
    few = ["--data.init_args.subjects=24", "--data.init_args.batch_size=12", "--trainer.max_steps=2"]
    run = fit(tmp_path, "--config=configs/sparsedet_backbone.yaml", *few)
    weights = run.run_folder / "backbone.safetensors"
    assert weights.stat().st_size < 3_000_000
    fit(tmp_path, "--config=configs/detector.yaml", f"--model.init_args.backbone_weights={weights}", *SCENES)


@pytest.mark.parametrize("config", ["configs/paper/sparsedet_coco.yaml", "configs/paper/detector_coco.yaml"])
def test_coco(config, tmp_path, monkeypatch):
    make_coco_detection(tmp_path)
    monkeypatch.setenv("DATA_ROOT", str(tmp_path))
    run = fit(tmp_path, f"--config={config}", overrides(config, TINY), *SMALL, "--model.init_args.num_classes=3")
    assert run.trainer.global_step == 2
    assert "AP" in figures(run, "coco")


@pytest.mark.parametrize("fragment", [[], ["--config=configs/paper/sparsedet_ssl.yaml"]])
def test_voc(fragment, tmp_path, monkeypatch):
    make_voc_detection(tmp_path)
    monkeypatch.setenv("DATA_ROOT", str(tmp_path))
    config = "configs/paper/sparsedet_voc.yaml"
    run = fit(tmp_path, f"--config={config}", *fragment, overrides(config, TINY), *SMALL)
    assert run.trainer.global_step == 2
    assert len(run.datamodule.training_images()) == (6 if fragment else 4)
    assert set(figures(run, "voc")) >= {"AP50 (VOC 11 points)", "AP50 (VOC area)", "AP50 (COCO)"}


def test_lvis(tmp_path, monkeypatch):
    make_lvis(tmp_path)
    monkeypatch.setenv("DATA_ROOT", str(tmp_path))
    config = "configs/paper/detector_lvis.yaml"
    run = fit(
        tmp_path, f"--config={config}", overrides(config, TINY | TINY_MASKS), *SMALL, "--model.init_args.num_classes=4"
    )
    assert run.trainer.global_step == 2
    assert set(figures(run, "lvis")) >= {"AP", "APr", "APc", "APf"}


def predicted(folder, *words):
    run = cli.main(["predict", f"--runs_dir={folder / 'runs'}", *QUIET, *words])
    return tuple(json.loads((run.run_folder / name).read_text()) for name in ("detections.json", COMPANION))


@pytest.mark.parametrize("model", ["SparseDet", "Detector", "TwoViewDetector"])
def test_detections_in_own_pictures(model, tmp_path, capsys):
    words = ["--config=configs/sparsedet.yaml", f"--model={model}", *SCENES]
    fit(tmp_path, *words, "--test_after_fit=false")
    photos = tmp_path / "photos"
    save_photos(photos, 3)
    truncate(save_photo(photos / "a_broken.jpg"))
    words = [*words, "--ckpt_path=last", f"--data.pictures={photos}"]
    found, companion = predicted(tmp_path, *words, "--data.skip_unreadable=true")
    numbered = {each["id"]: each["file_name"] for each in companion["images"]}
    assert numbered == {2: "bucket0/000.png", 3: "bucket0/002.png", 4: "bucket1/001.png"}  # the first is broken
    assert all(numbered[each["image_id"]] == each["file_name"] for each in found)
    assert [each["name"] for each in companion["categories"]] == list(NAMES)
    assert "3 pictures, " in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        predicted(tmp_path, *words)
    error = capsys.readouterr().err
    assert "broken.jpg" in error
    assert "--data.init_args.skip_unreadable=true" in error


def test_own_pictures_where_the_training_data_are_not(tmp_path, monkeypatch):
    """Names and numbers of the classes come out of the checkpoint."""
    make_coco_detection(tmp_path / "there")
    monkeypatch.setenv("DATA_ROOT", str(tmp_path / "there"))
    config = "configs/paper/detector_coco.yaml"
    words = [f"--config={config}", overrides(config, TINY), *SMALL, "--model.init_args.num_classes=3"]
    fit(tmp_path, *words, "--test_after_fit=false")
    monkeypatch.setenv("DATA_ROOT", str(tmp_path / "elsewhere"))
    photo = save_photo(tmp_path / "photo.jpg")
    found, companion = predicted(tmp_path, *words, "--ckpt_path=last", f"--data.pictures={photo}")
    assert companion["categories"] == [{"id": number, "name": name} for number, name in COCO_CATEGORIES.items()]
    assert {each["category_id"] for each in found} <= set(COCO_CATEGORIES)


def test_detections_in_the_pictures_that_are_evaluated(tmp_path, monkeypatch):
    """With their numbers and masks, as they would be handed in; the checkpoint is one of before names were kept."""
    make_coco_detection(tmp_path)
    monkeypatch.setenv("DATA_ROOT", str(tmp_path))
    config = "configs/paper/detector_coco.yaml"
    masks = "--model.init_args.config=mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py"
    words = [f"--config={config}", masks, overrides(config, TINY | TINY_MASKS), *SMALL, "--data.with_masks=true"]
    words += ["--model.init_args.num_classes=3"]
    run = fit(tmp_path, *words, "--test_after_fit=false")
    path = run.run_folder / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    del checkpoint["categories"]
    torch.save(checkpoint, path)
    found, companion = predicted(tmp_path, *words, f"--ckpt_path={path}")
    assert [(each["id"], each["file_name"]) for each in companion["images"]] == [
        (139, "000000000139.jpg"),
        (285, "000000000285.jpg"),
    ]
    assert companion["categories"] == [{"id": number, "name": name} for number, name in COCO_CATEGORIES.items()]
    for each in found:
        height, width = each["segmentation"]["size"]
        assert (width, height) == COCO_SIZES[each["image_id"]]


def test_the_report_on_a_detector(tmp_path):
    run = fit(tmp_path, "--config=configs/detector.yaml", "--config=configs/reports/detection.yaml", *SCENES)
    assert (run.run_folder / PAGE).stat().st_size > 50_000
    assert {path.name for path in (run.run_folder / "results").iterdir()} >= {*FILES, "coco.csv"}
    labels = json.loads((run.run_folder / "results" / LABELS).read_text())
    assert (labels["evaluated"]["pictures"], labels["trained"]["pictures"]) == (3, 4)
