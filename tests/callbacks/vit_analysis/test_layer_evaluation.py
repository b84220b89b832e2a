"""What the analyses share, on two protocols that are as small as can be."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_lightning import LightningModule
from torch import Tensor
from torch.utils.data import DataLoader
from torchmetrics import Metric

from callbacks.results.result import layer_results
from callbacks.vit_analysis.layer_evaluation import LayerEvaluation
from lightning_modules.vit_analysis.module import AnalysedViT, ViTAnalysis
from networks.vit_layers import BlockView, Layered, Observer
from tests.helpers.dense_case import TinyModule
from tests.helpers.quiet_trainer import quiet_trainer
from tests.helpers.tiny_vit import TINY
from visionscapes.errors import UserError

SIZE = 16
VIT = TINY | {"img_size": SIZE, "depth": 3}


class ImageCount(Metric):
    def __init__(self, depth: int):
        super().__init__()
        self.add_state("seen", torch.zeros(depth), dist_reduce_fx="sum")

    def update(self, layer: int, count: int) -> None:
        self.seen[layer] += count

    def compute(self) -> dict[str, Tensor]:
        return {"seen": self.seen}


class Counting(LayerEvaluation):
    """Counts the images that every layer sees."""

    protocol = "counting"
    tasks = ("images",)

    def __init__(self, step: int = 1):
        super().__init__()
        self.step = step

    def new_state(self, vit: Layered) -> Metric:
        return ImageCount(vit.depth)

    def observer(self, state: Metric, vit: Layered, batch: Mapping[str, Any]) -> Observer:
        def observe(view: BlockView) -> None:
            state.update(view.layer, self.step * len(batch["image"]))

        return observe

    def figures(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"images": arrays["seen"]}


class CountingBoth(Counting):
    protocol = "both"
    tasks = ("images", "saliency")
    needs_attention = True


def collate(samples: list[dict[str, Any]]) -> dict[str, Any]:
    return {"task": samples[0]["task"], "image": torch.stack([sample["image"] for sample in samples])}


def loaders(*tasks: str) -> dict[str, DataLoader]:
    samples = {task: [{"task": task, "image": torch.rand(3, SIZE, SIZE)} for _ in range(5)] for task in tasks}
    return {f"{task}@{SIZE}": DataLoader(samples[task], batch_size=2, collate_fn=collate) for task in tasks}  # type: ignore[arg-type]


def analysis(seed: int = 0, names: tuple[str, ...] = ("a", "b/c")) -> ViTAnalysis:
    torch.manual_seed(seed)
    return ViTAnalysis({name: AnalysedViT("vit_tiny_patch16_224", None, model_args=VIT) for name in names}, SIZE)


def passes(module: LightningModule) -> list[str]:
    """Return a list that grows by a name whenever a model does a pass."""
    done: list[str] = []
    for name, vit in module.layered().items():  # type: ignore[operator]
        vit.vit.register_forward_pre_hook(lambda *_: None)
        visit = vit.visit
        vit.visit = lambda *args, name=name, visit=visit, **options: (done.append(name), visit(*args, **options))
    return done


def run(folder: Path, callbacks: list[LayerEvaluation], module: LightningModule, *tasks: str) -> list[str]:
    done = passes(module)
    quiet_trainer(folder, callbacks).test(module, dataloaders=loaders(*tasks), verbose=False)  # type: ignore[arg-type]
    return done


def rows(folder: Path, protocol: str) -> dict[tuple[str, str], float]:
    with (folder / "results" / f"{protocol}.csv").open() as file:
        return {(row["metric"], row["method"]): float(row["value"]) for row in csv.DictReader(file)}


def test_one_pass_serves_all_protocols_and_every_sample_counts_once(tmp_path) -> None:
    done = run(tmp_path / "r", [Counting(), CountingBoth()], analysis(), "images", "saliency")
    assert sorted(done) == ["a"] * 6 + ["b/c"] * 6  # three batches of two tasks
    counted, both = rows(tmp_path / "r", "counting"), rows(tmp_path / "r", "both")
    assert counted["images @3", "a"] == counted["images", "b/c"] == 5
    assert both["images", "a"] == 10
    with np.load(tmp_path / "r" / "arrays" / "a" / "both.npz") as file:
        assert file["seen"].tolist() == [10, 10, 10]


def test_what_was_measured_is_not_measured_again(tmp_path) -> None:
    first = run(tmp_path / "1", [Counting()], analysis(), "images")
    again = run(tmp_path / "2", [Counting()], analysis(), "images")
    assert (len(first), len(again)) == (6, 0)
    assert rows(tmp_path / "1", "counting") == rows(tmp_path / "2", "counting")
    assert (tmp_path / "2" / "arrays" / "a" / "counting.npz").is_file()
    # One more model costs one model; other weights or settings are measured anew.
    assert set(run(tmp_path / "3", [Counting()], analysis(names=("a", "b/c", "mine")), "images")) == {"mine"}
    assert len(run(tmp_path / "4", [Counting()], analysis(seed=1), "images")) == 6
    assert len(run(tmp_path / "5", [Counting(step=2)], analysis(), "images")) == 6


class Dying(ViTAnalysis):
    """Dies at the first batch of the second task."""

    def test_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> None:
        if batch["task"] == "saliency":
            raise KeyError("killed")


def test_an_interrupted_run_keeps_the_tasks_that_were_through(tmp_path) -> None:
    module = analysis()
    module.__class__ = Dying
    with pytest.raises(KeyError, match="killed"):
        run(tmp_path / "1", [Counting(), CountingBoth()], module, "images", "saliency")
    done = run(tmp_path / "2", [Counting(), CountingBoth()], analysis(), "images", "saliency")
    assert rows(tmp_path / "2", "both")["images", "a"] == 10
    assert len(done) == 12  # for CountingBoth alone
    assert rows(tmp_path / "2", "counting")["images", "a"] == 5


def test_a_protocol_without_data_writes_nothing(tmp_path) -> None:
    run(tmp_path / "r", [Counting()], analysis(), "saliency")
    assert not (tmp_path / "r" / "results").exists()


def test_a_module_without_layers_is_refused(tmp_path) -> None:
    with pytest.raises(UserError, match=r"TinyModule offers no ViT layer by layer"):
        quiet_trainer(tmp_path, [Counting()]).test(TinyModule(), dataloaders=loaders("images"), verbose=False)


def test_rows_tell_the_best_layer() -> None:
    rows = layer_results("knn", "top-1", "FS", 64, np.array([0.1, 0.4, np.nan, 0.3]))
    assert [(row.metric, row.value) for row in rows[:2]] == [("top-1", 0.4), ("top-1 layer", 2)]
    assert [row.metric for row in rows[2:]] == ["top-1 @1", "top-1 @2", "top-1 @3", "top-1 @4"]
    assert [row.metric for row in layer_results("probe", "CLS", "FS", 64, np.array(0.5))] == ["CLS"]
    assert layer_results("knn", "top-1", "FS", 64, np.full(3, np.nan)) == []


def test_models_are_measured_in_groups_and_reported_together(tmp_path) -> None:
    """Two passes for three models: in the first two of them, in the last the third, next to what is kept."""
    entries = {name: AnalysedViT("vit_tiny_patch16_224", None, model_args=VIT) for name in ("a", "b", "c")}
    torch.manual_seed(0)
    module, folder = ViTAnalysis(entries, SIZE, models_at_once=2), tmp_path / "r"
    done = passes(module)
    trainer, seen = quiet_trainer(folder, [Counting()]), []
    for _ in module.passes():
        trainer.test(module, dataloaders=loaders("images"), verbose=False)
        seen.append(list(done))
        done.clear()
    assert [sorted(set(names)) for names in seen] == [["a", "b"], ["c"]]
    assert {method for _, method in rows(folder, "counting")} == {"a", "b", "c"}
    assert sum(1 for _ in ViTAnalysis(entries, SIZE).passes()) == 1
    with pytest.raises(UserError, match="models_at_once is 0"):
        ViTAnalysis(entries, SIZE, models_at_once=0)
