"""``ResumeModule`` that takes its time, so that a signal finds the processes at different places."""

import time
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from tests.helpers.resume_module import ResumeData, ResumeModule


class SlowModule(ResumeModule):
    """Logs its weights when it is tested.

    Args:
        seconds: what a training step takes on the last rank; the others wait for it in the exchange of gradients.
    """

    def __init__(self, seconds: float = 0.0):
        super().__init__()
        self.seconds = seconds

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        if self.global_rank == self.trainer.world_size - 1:
            time.sleep(self.seconds)
        return super().training_step(batch, batch_idx)

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        weights = torch.cat([parameter.detach().flatten() for parameter in self.parameters()])
        self.log("test/weights", weights.double().abs().sum(), batch_size=1, sync_dist=True)


class SlowData(ResumeData):
    def test_dataloader(self) -> dict[str, DataLoader]:
        return self.val_dataloader()
