"""A table run for real, through cli.py, with the smallest world that has a figure for every cell."""

import pytest

from experiments.loading import load_table
from experiments.records import Records
from experiments.runs import Runner

SMALL = """
title: The smallest table
section: 8.3
embedded:
  runs:
    fit:
      config: configs/lift.yaml
      overrides: &small
        data.init_args.scenes: 4
        data.init_args.crops: 0
        data.init_args.batch_size: 4
        data.init_args.held_out: 4
        data.init_args.pairs: 2
        data.init_args.videos: 1
        data.init_args.frames: 3
        data.init_args.discoveries: 2
        data.init_args.image_sizes: [32]
        trainer.max_epochs: 1
        trainer.enable_progress_bar: false
    other facet:
      command: test
      config: [configs/lift.yaml, experiments/lift/configs/variant.yaml]
      overrides: {<<: *small, model.init_args.backbone.init_args.facet: token}
      checkpoints: {model.init_args.weights: fit}
  cell: {run: fit, image_size: 32}
  columns:
    PCK: {metric: PCK@0.1}
    PCK normalised: {metric: PCK@0.05 (normalised)}
    J&F: {metric: J&F}
    CorLoc: {metric: CorLoc}
    cost: {metric: GMACs, image_size: 64}
    cost in the thesis: {metric: GMACs (thesis), image_size: 64}
    parameters: {metric: parameters (M), image_size: 64}
  rows:
    base: {method: base}
    bilinear: {method: bilinear}
    random LiFT: {method: random LiFT}
    LiFT: {method: LiFT}
    2x LiFT: {method: 2x LiFT}
    ViT at 2S: {method: ViT at 2S}
claims: []
"""


@pytest.mark.slow
def test_table_is_run_through_the_command_line(tmp_path):
    path = tmp_path / "table_0_0.yaml"
    path.write_text(SMALL)
    grid = load_table(path).grids["embedded"]
    records = Records(tmp_path / "results")
    runner = Runner(records, "embedded", runs_dir=str(tmp_path / "runs"))
    record = runner.ensure(grid.runs["fit"], seed=1)
    missing = [labels for labels, cell in grid.cells.items() if records.figure(cell, "embedded", 1) is None]
    assert missing == [("2x LiFT", "CorLoc")]  # configs/lift.yaml leaves it out
    assert {"git", "versions", "hardware"} <= set(record.provenance)
    assert "weights/dense_contrastive.safetensors" in record.inputs
    other = runner.ensure(grid.runs["other facet"], seed=1)
    assert {method for _, method, *_ in other.metrics} == {"LiFT"}
    assert f"--model.init_args.weights={record.id}" in other.command
    for written in (tmp_path / "results").iterdir():
        assert str(tmp_path) not in written.read_text()
