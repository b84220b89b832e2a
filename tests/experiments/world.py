"""A small repository with one table, and a launcher in the place of cli.py that makes up results."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from experiments.loading import load_table
from experiments.records import Records
from experiments.runs import Runner

TABLE = """
title: Two methods and a variant
section: 9.1
unit: "%"
digits: 1
embedded:
  runs:
    default: {config: configs/m.yaml}
    variant: {config: configs/m.yaml, overrides: {model.distance: l1}}
    default again: {config: configs/m.yaml}
    elsewhere: {command: test, config: configs/other.yaml, checkpoints: {ckpt_path: default}}
    made: {command: predict, config: configs/other.yaml, checkpoints: {ckpt_path: default}}
    deep: {config: configs/m.yaml, seeded: [seed_everything, data.real.seed]}
    on made: {config: configs/m.yaml, files: {data.root: made/made/set.json}}
  cell: {run: default, factor: 100, metric: PCK@0.1}
  columns: {image_size: [32, 64]}
  rows:
    base: {method: base}
    LiFT: {method: LiFT}
    LiFT again: {run: default again, method: LiFT}
    variant: {run: variant, method: LiFT}
    elsewhere: {run: elsewhere, method: LiFT}
claims:
  - {text: Better than base., section: 9.1, embedded: {more: LiFT, less: base}}
  - {text: Worse than base., section: 9.1, embedded: {more: base, less: LiFT}}
"""
MANIFEST = {"command": ["/somewhere/cli.py"], "git": {"commit": "0123456789", "dirty": False}, "hardware": {"cpu": "C"}}
HEAD = "protocol,metric,method,image_size,value,standard_error,count\n"


@dataclass
class World:
    """Repository, records and launcher; ``failing`` holds words of command lines that end with ``status``."""

    root: Path
    calls: list[list[str]] = field(default_factory=list)
    failing: set[str] = field(default_factory=set)
    status: int = 1

    def __post_init__(self):
        (self.root / "configs").mkdir()
        (self.root / "weights").mkdir()
        (self.root / "weights" / "vit.safetensors").write_bytes(b"0")
        (self.root / "configs" / "m.yaml").write_text("model: {weights: weights/vit.safetensors}\n")
        (self.root / "configs" / "other.yaml").write_text("data: elsewhere\n")
        path = self.root / "table_9_1.yaml"
        path.write_text(TABLE)
        self.table = load_table(path)
        self.runs = self.table.grids["embedded"].runs

    @property
    def records(self):
        return Records(self.root / "results")

    def runner(self, force=False):
        return Runner(self.records, "embedded", force, launcher=self.launch, root=self.root)

    def run_all(self, seeds):
        """Run everything that the table shows, with every seed, and return the records."""
        runner = self.runner()
        for run in self.table.grids["embedded"].shown_runs():
            for seed in seeds:
                runner.ensure(run, seed)
        return runner.records

    def launch(self, arguments):
        self.calls.append(arguments)
        options = dict(word.removeprefix("--").split("=", 1) for word in arguments if "=" in word)
        folder = self.root / options["runs_dir"] / "m" / options["name"]
        (folder / "results").mkdir(parents=True, exist_ok=True)
        if any(word in self.failing for word in arguments):
            return self.status
        (folder / "checkpoints").mkdir(exist_ok=True)
        (folder / "checkpoints" / "last.ckpt").touch()
        if arguments[0] == "predict":
            (folder / "made").mkdir(exist_ok=True)
            (folder / "made" / "set.json").touch()
        (folder / "manifest.json").write_text(json.dumps(MANIFEST))
        seed, l1 = int(options["seed_everything"]), "model.distance" in options
        rows = [
            f"keypoints,PCK@0.1,{method},{size},{value + 0.1 * seed + 0.01 * l1 + 0.001 * seed * (size == 64)},nan,7\n"
            for size in (32, 64)
            for method, value in (("base", 0.1), ("LiFT", 0.2))
        ]
        (folder / "results" / "keypoints.csv").write_text(HEAD + "".join(rows))
        return 0
