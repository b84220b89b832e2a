"""Timing the training steps of a module under Lightning in turns with those of a bare loop."""

import time
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import pytorch_lightning as pl
from typing_extensions import override

from benchmarks.timing import Times, summary, synchronise
from visionscapes.precision import quick_precision


class Bare(Protocol):
    """A bare loop.

    Attributes:
        steps: that it has taken.
    """

    steps: int

    def step(self) -> dict[str, float]:
        """Take a step; returns the terms of the losses by name."""
        ...


class TakingTurns(pl.Callback):
    """Times Lightning's steps, and after each of them one of the bare loop; the first round is not counted.

    Args:
        bare: starts from the same weights.
        steps: of a round.
        compared: losses that both ways have to have alike at the first step.
        device: waited for on "cuda".
    """

    def __init__(self, bare: Bare, steps: int, *, compared: Sequence[str], device: str):
        self.ours, self.plain, self.bare, self.steps, self.device = Times([], []), Times([], []), bare, steps, device
        self.compared = compared
        self.rounds: list[np.ndarray] = []  # (4,): wall and CPU seconds of ours and of plain, summed up
        self.first: dict[str, float] = {}  # relative differences of the first losses
        self.started = (0.0, 0.0)

    @override
    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self.started = self._now()

    @override
    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        ended = self._now()
        begun = self._now()
        losses = self.bare.step()
        finished = self._now()
        if self.bare.steps == 1:
            self.first = {name: _apart(trainer, name, losses) for name in self.compared}
        if self.bare.steps % self.steps == 1 or self.steps == 1:
            self.rounds.append(np.zeros(4))
        self.rounds[-1] += np.subtract(ended + finished, self.started + begun)
        self.started = self._now()

    def result(self, reach: float) -> dict[str, Any]:
        """Return medians over the rounds, their ratio and the difference of the first losses, ready for JSON."""
        for ours_wall, ours_cpu, plain_wall, plain_cpu in (np.array(self.rounds[1:]) / self.steps).tolist():
            self.ours.add((0, 0), (ours_wall, ours_cpu))
            self.plain.add((0, 0), (plain_wall, plain_cpu))
        return summary(self.ours, self.plain, reach, max(self.first.values()))

    def _now(self) -> tuple[float, float]:
        synchronise(self.device)
        return time.perf_counter(), time.process_time()


def _apart(trainer: pl.Trainer, name: str, losses: dict[str, float]) -> float:
    return abs(float(trainer.callback_metrics[f"train/{name}"]) / losses[name] - 1)


def bare_trainer(batches: int, *callbacks: pl.Callback, device: str, optimizers: int = 2) -> pl.Trainer:
    """Return a trainer of so many batches, in the quickest precision of the device, that does nothing on the side.

    Args:
        batches: to train on.
        *callbacks: its only ones.
        device: "cpu" or "cuda".
        optimizers: of the module, whose steps Lightning counts.
    """
    return pl.Trainer(
        max_steps=optimizers * batches,
        max_epochs=-1,
        limit_val_batches=0,
        precision=quick_precision(device).precision,
        accelerator="gpu" if device == "cuda" else "cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        callbacks=list(callbacks),
    )
