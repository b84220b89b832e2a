"""Speed of detector training and evaluation, side by side with the plain way of doing the same work.

    python benchmarks/detection.py [--quick] [--device cpu|cuda] [--only step sparsedet loading] [--output FOLDER]

* step: a step of ``lightning_modules.Detector`` under Lightning, with everything around it, against the same mmdet
  model in a bare PyTorch loop. Both load their batches. The two take turns, step by step, in one training.
* sparsedet: a step of SparseDet that mines and merges against one of the plain detector, forward, backward, optimiser.
* loading: how long a training that has two workers waits for its batches, as a share of its time; where a step is as
  slow as on a CPU that says little about a GPU.

COCO's evaluation is timed by benchmarks/coco_evaluation.py. Ratios are ours / plain, medians over rounds that alternate
between the two in one process, because times from different runs on a shared machine say little.
"""

import copy
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader
from typing_extensions import override

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.reports import finish, new_report, parser_of
from benchmarks.timing import Times, interleave, summary, synchronise
from datamodules.detection.scenes import DetectionScenes
from datamodules.detection.second_view import SecondView
from lightning_modules.detector import Detector
from lightning_modules.sparsedet.module import SparseDet
from networks.detection.samples import to_samples

SCENES = "configs/detectors/faster_rcnn_scenes.py"


@dataclass(frozen=True)
class Settings:
    """Sizes of the work; the defaults are those that the reached ratios are stated for."""

    config: str = "mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"
    image_size: int = 320
    batch: int = 2
    rounds: int = 11
    loading_steps: int = 20
    device: str = "cpu"


QUICK = Settings(config=SCENES, image_size=64, rounds=2, loading_steps=6)


def world(settings: Settings, workers: int = 0, scenes: int = 8, two_views: bool = True) -> DetectionScenes:
    """Return the data: scenes of which half of the annotations are missing."""
    data = DetectionScenes(
        scenes=scenes,
        test_scenes=1,
        image_size=settings.image_size,
        split="1",
        percent=50,
        batch_size=settings.batch,
        num_workers=workers,
        second_view=SecondView() if two_views else None,
    )
    data.setup("fit")
    return data


class BareLoop:
    """Training as one would write it around mmdet without any framework.

    Args:
        module: whose detector and optimiser are copied.
        batches: to train on.
    """

    def __init__(self, module: Detector, batches: DataLoader):
        self.batches, self.iterator = batches, iter(batches)
        self.detector = copy.deepcopy(module.detector).to(module.device).train()
        parameters = [each for each in self.detector.parameters() if each.requires_grad]
        self.optimizer = torch.optim.SGD(parameters, lr=module.lr, momentum=0.9, weight_decay=module.weight_decay)

    def next_batch(self) -> dict[str, Any]:
        """Return the next batch; after the last comes the first again."""
        try:
            return next(self.iterator)
        except StopIteration:
            self.iterator = iter(self.batches)
            return next(self.iterator)

    def step(self) -> None:
        """Load a batch, make mmdet's samples of it and take a step."""
        batch = self.next_batch()
        data = {"inputs": [image.flip(0) for image in batch["image"]], "data_samples": to_samples(batch)}
        inputs = self.detector.data_preprocessor(data, True)
        loss, _ = self.detector.parse_losses(self.detector(**inputs, mode="loss"))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


class TakingTurns(pl.Callback):
    """Times Lightning's steps, and after each of them one of a bare loop."""

    def __init__(self, device: str):
        self.ours, self.plain, self.device = Times([], []), Times([], []), device
        self.started: tuple[float, float] | None = None
        self.bare: BareLoop | None = None

    @override
    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        ended = self._now()
        self.bare = self.bare or BareLoop(pl_module, trainer.datamodule.train_dataloader())
        begun = self._now()
        self.bare.step()
        if self.started is not None:  # the first step warms both up
            self.ours.add(self.started, ended)
            self.plain.add(begun, self._now())
        self.started = self._now()

    def _now(self) -> tuple[float, float]:
        synchronise(self.device)
        return time.perf_counter(), time.process_time()


def step(settings: Settings) -> dict[str, Any]:
    """Return the time of a step under Lightning over that of a bare loop."""
    data, turns = world(settings, two_views=False), TakingTurns(settings.device)
    module = Detector(settings.config, num_classes=12, lr=1e-4, warmup_steps=1)
    trainer(settings, settings.rounds + 1, turns).fit(module, datamodule=data)
    bare = turns.bare
    assert bare is not None
    pairs = zip(module.detector.parameters(), bare.detector.parameters(), strict=True)
    apart = max(float((a.detach() - b.detach()).abs().max()) for a, b in pairs)
    return summary(turns.ours, turns.plain, 1.05, apart)


def trainer(settings: Settings, steps: int, *callbacks: pl.Callback) -> pl.Trainer:
    """Return a trainer that does nothing on the side."""
    return pl.Trainer(
        max_steps=steps,
        max_epochs=-1,
        limit_val_batches=0,
        accelerator="gpu" if settings.device == "cuda" else "cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        callbacks=list(callbacks),
    )


def sparsedet(settings: Settings) -> dict[str, Any]:
    """Return the time of a step of SparseDet, mining and merging at low thresholds, over one of the plain detector.

    The two do different work on purpose, so that there are no results to compare.
    """
    batch = next(iter(world(settings).train_dataloader()))
    plain = Detector(settings.config, num_classes=12)
    thresholds = {"tau_ppm": 0.45, "tau_m": 0.1}
    ours = SparseDet(settings.config, num_classes=12, **thresholds)  # type: ignore[arg-type]
    ours.mining_start = -1  # the first step is timed too
    moved = {key: [each.to(settings.device) for each in value] for key, value in batch.items() if is_tensors(value)}
    batch = batch | moved

    def stepper(module: Detector) -> Any:
        module.to(settings.device).train()
        optimizer = torch.optim.SGD((p for p in module.parameters() if p.requires_grad), lr=1e-5)

        def take(_: int) -> None:
            losses = module.losses(batch)
            optimizer.zero_grad()
            torch.stack([value for name, value in losses.items() if "loss" in name]).sum().backward()
            optimizer.step()

        return take

    variants = {"sparsedet": stepper(ours), "plain": stepper(plain)}
    times = interleave(variants, settings.rounds, settings.device)
    report = summary(times["sparsedet"], times["plain"], 1.9, float("nan"))
    return {name: value for name, value in report.items() if name != "difference"}


def is_tensors(value: Any) -> bool:
    """Return whether a part of a batch is a list of tensors."""
    return isinstance(value, list) and all(isinstance(each, torch.Tensor) for each in value)


class Waiting(pl.Callback):
    """Times how long a training waits for its batches."""

    def __init__(self) -> None:
        self.waited, self.worked, self.mark = 0.0, 0.0, 0.0

    @override
    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        now = time.perf_counter()
        if self.mark and batch_idx > 1:  # workers start with the first
            self.waited += now - self.mark
        self.mark = now

    @override
    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        now = time.perf_counter()
        if batch_idx > 1:
            self.worked += now - self.mark
        self.mark = now


def loading(settings: Settings) -> dict[str, Any]:
    """Return which share of a SparseDet training with two workers is spent waiting for batches of two views."""
    scenes = settings.loading_steps * settings.batch
    waiting = Waiting()
    module = SparseDet(settings.config, num_classes=12, warmup_steps=1)
    data = world(settings, workers=2, scenes=scenes)
    trainer(settings, settings.loading_steps, waiting).fit(module, datamodule=data)
    share = waiting.waited / (waiting.waited + waiting.worked)
    return {"waiting_share": round(share, 4), "reach": 0.05, "reached": share <= 0.05}


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the benchmark; returns what it prints."""
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    names = ["step", "sparsedet", "loading"]
    parser = parser_of(__doc__, names)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    settings = replace(QUICK if options.quick else Settings(), device=options.device)
    report = new_report(settings, options.device)
    cases: dict[str, Callable[[], dict[str, Any]]] = {
        "step": lambda: step(settings),
        "sparsedet": lambda: sparsedet(settings),
        "loading": lambda: loading(settings),
    }
    for name in (name for name in cases if name in options.only):
        torch.manual_seed(0)  # how much is mined depends on the weights
        report[name] = cases[name]()
        print(f"{name}: {report[name]}", file=sys.stderr)
    finish(report, "detection", options)
    return report


if __name__ == "__main__":
    main()
