"""A small network with every source of randomness that a run can have, which writes down what it sees."""

import json
import os
import random
import signal
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_lightning import LightningDataModule, LightningModule
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchmetrics import MeanMetric

from datamodules.common.loading import ResumableLoader, eval_loader, train_loader


class Interruption(Exception):
    """Stands for whatever may go wrong."""


class NoisyImages(Dataset):
    """Images that are their index, augmented with all three global generators."""

    def __init__(self, size: int, noise: bool = True):
        self.size, self.noise = size, noise

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> dict[str, Any]:
        image = torch.full((3, 4, 4), index / self.size)
        if self.noise:
            image = image + torch.rand(3, 4, 4) + np.random.rand() + random.random()
        return {"image": image, "index": index}


class ResumeData(LightningDataModule):
    def __init__(self, size: int = 22, eval_size: int = 22, batch_size: int = 4, num_workers: int = 0):
        super().__init__()
        self.size, self.eval_size, self.batch_size, self.num_workers = size, eval_size, batch_size, num_workers

    def train_dataloader(self) -> ResumableLoader:
        return train_loader(NoisyImages(self.size), batch_size=self.batch_size, num_workers=self.num_workers, seed=1)

    def val_dataloader(self) -> dict[str, DataLoader]:
        return {"images@4": eval_loader(NoisyImages(self.eval_size, noise=False), batch_size=4)}


class ResumeModule(LightningModule):
    """A network with dropout whose events are kept in ``events`` and appended to ``trace-<rank>.jsonl``.

    Args:
        batch_norm: normalise over the batch.
        dropout: probability.
        kill_at: global step at which every process kills itself with SIGKILL.
        interrupt_at: (event, global step) at which ``Interruption`` is raised; events "train", "val", "val_end".
        asks_for_steps: whether to ask for the number of steps while the optimiser is configured, as schedules do.
    """

    def __init__(
        self,
        batch_norm: bool = False,
        dropout: float = 0.5,
        kill_at: int = -1,
        interrupt_at: Any = None,
        asks_for_steps: bool = False,
    ):
        super().__init__()
        self.asks_for_steps = asks_for_steps
        self.layers = nn.Sequential(
            # A bias before batch norm has no gradient but rounding, of which Adam would make full steps.
            nn.Conv2d(3, 4, 3, padding=1, bias=not batch_norm),
            nn.BatchNorm2d(4) if batch_norm else nn.Identity(),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Conv2d(4, 1, 1),
        )
        self.kill_at, self.interrupt_at = kill_at, interrupt_at
        self.mean_index = MeanMetric()
        self.events: list[list[Any]] = []

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        self._interrupt("train")
        loss = functional.mse_loss(self.layers(batch["image"]), batch["image"].mean(1, keepdim=True))
        self.log("loss", loss)
        self._note("train", batch_idx, batch["index"].tolist(), loss.item())
        return loss

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        if batch_idx == 1:
            self._interrupt("val")
        self.mean_index.update(batch["index"].float())
        self.log("mean_index", self.mean_index)
        self._note("val", batch_idx, batch["index"].tolist())

    def on_validation_epoch_end(self) -> None:
        self._interrupt("val_end")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        if self.asks_for_steps:
            assert self.trainer.estimated_stepping_batches > 0
        return torch.optim.Adam(self.parameters(), lr=1e-2)

    def _interrupt(self, event: str) -> None:
        if event == "train" and self.global_step == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.interrupt_at is not None and self.interrupt_at == (event, self.global_step):
            raise Interruption

    def _note(self, event: str, *details: Any) -> None:
        if self.trainer.sanity_checking:
            return
        logged = self.trainer.fit_loop.epoch_loop._batches_that_stepped
        self.events.append([event, self.current_epoch, self.global_step, logged, *details])
        with Path(self.trainer.default_root_dir, f"trace-{self.global_rank}.jsonl").open("a") as file:
            file.write(json.dumps(self.events[-1]) + "\n")
