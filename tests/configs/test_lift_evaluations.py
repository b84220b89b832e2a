"""The evaluations of configs/paper/lift_*.yaml, run through the entry point on tiny replicas of their data sets."""

import csv

import pytest

import cli
from tests.helpers.replicas import make_coco20k, make_davis, make_spair, make_voc

TINY = """
model:
  class_path: lightning_modules.LiFT
  init_args:
    backbone:
      class_path: networks.ViTFeatures
      init_args:
        model: vit_small_patch16_224.dino
        weights: null
        model_args: {depth: 1, embed_dim: 48, num_heads: 3}
"""
OVERRIDES = [
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--data.init_args.image_sizes=[56]",
    "--data.init_args.num_workers=0",
]
KEYPOINTS = {f"PCK@{alpha}{rule}" for alpha in ("0.1", "0.05", "0.01") for rule in ("", " (normalised)")}
EVALUATIONS = {
    "lift_spair": ("keypoints", KEYPOINTS, {"base", "bilinear", "random LiFT", "LiFT", "2x LiFT"}),
    "lift_davis": ("video", {"J", "F", "J&F"}, {"base", "bilinear", "LiFT"}),
    "lift_voc07": ("discovery", {"CorLoc"}, {"base", "bilinear", "LiFT"}),
    "lift_voc12": ("discovery", {"CorLoc"}, {"base", "bilinear", "LiFT"}),
    "lift_coco20k": ("discovery", {"CorLoc"}, {"base", "bilinear", "LiFT"}),
}


def run(name, tmp_path, monkeypatch):
    monkeypatch.setenv("DATA_ROOT", str(tmp_path / "data"))
    (tmp_path / "tiny.yaml").write_text(TINY)
    configs = [f"--config=configs/paper/{name}.yaml", f"--config={tmp_path / 'tiny.yaml'}"]
    return cli.main(["test", *configs, f"--runs_dir={tmp_path / 'runs'}", *OVERRIDES])


@pytest.mark.parametrize("name", EVALUATIONS)
def test_evaluation_writes_its_figures(name, tmp_path, monkeypatch):
    make_spair(tmp_path / "data")
    make_davis(tmp_path / "data")
    make_voc(tmp_path / "data", 2007)
    make_voc(tmp_path / "data", 2012)
    make_coco20k(tmp_path / "data")
    finished = run(name, tmp_path, monkeypatch)
    protocol, metrics, methods = EVALUATIONS[name]
    with (finished.run_folder / "results" / f"{protocol}.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {(row["metric"], row["method"]) for row in rows} == {(a, b) for a in metrics for b in methods}
    assert all(0 <= float(row["value"]) <= 1 and row["image_size"] == "56" for row in rows)


@pytest.mark.parametrize("name", EVALUATIONS)
def test_missing_data_end_with_the_tree_and_the_ways_out(name, tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit) as exit_:
        run(name, tmp_path, monkeypatch)
    message = capsys.readouterr().err
    assert exit_.value.code == 2
    assert f"Looked in: {tmp_path / 'data'}" in message
    assert "Expected:" in message
    assert "  1. If you have" in message
    assert "  2. " in message
