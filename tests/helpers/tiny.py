"""The smallest module and datamodule that the command line can run: a linear map fitted to a fixed linear map."""

import os
import signal
import time
from typing import Any

import torch
from pytorch_lightning import LightningDataModule, LightningModule
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from visionscapes.errors import UserError


class TinyModule(LightningModule):
    """Linear regression.

    Args:
        lr: learning rate.
        width: number of outputs.
        bad_step: the loss of this batch is NaN.
        term_step: the process sends itself SIGTERM in this batch, as a cluster would.
        pause: seconds that every step takes.
    """

    def __init__(
        self,
        lr: float = 0.1,
        width: int = 2,
        bad_step: int | None = None,
        term_step: int | None = None,
        pause: float = 0.0,
    ):
        super().__init__()
        self.save_hyperparameters()
        self.layer = nn.Linear(4, width)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        loss = (self.layer(batch[0]) - batch[0].sum(dim=1, keepdim=True)).square().mean()
        self.log("train/loss", loss)
        time.sleep(self.hparams["pause"])
        if self.global_step == self.hparams["term_step"]:
            os.kill(os.getpid(), signal.SIGTERM)
        return loss * float("nan") if self.global_step == self.hparams["bad_step"] else loss

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("val/loss", (self.layer(batch[0]) - batch[0].sum(dim=1, keepdim=True)).square().mean())

    def test_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("test/loss", (self.layer(batch[0]) - batch[0].sum(dim=1, keepdim=True)).square().mean())

    def predict_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return self.layer(batch[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), self.hparams["lr"])


class OtherModule(LightningModule):
    """A module with other weights, as another method has.

    Args:
        depth: number of layers.
        lr: learning rate.
    """

    def __init__(self, depth: int = 2, lr: float = 0.1):
        super().__init__()
        self.save_hyperparameters()
        self.layers = nn.Sequential(*(nn.Linear(4, 4) for _ in range(depth)))

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return self.layers(batch[0]).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), self.hparams["lr"])


class TinyData(LightningDataModule):
    """Normally distributed vectors.

    Args:
        batch_size: vectors a batch.
        samples: vectors in all.
        root: stands for the folder of a data set; missing if it is "missing".
    """

    def __init__(self, batch_size: int = 4, samples: int = 16, root: str = ""):
        super().__init__()
        self.batch_size, self.samples, self.root = batch_size, samples, root

    def setup(self, stage: str) -> None:
        if self.root == "missing":
            raise UserError("no data set in 'missing': put it there, or name another folder with --data.root")

    def loader(self, *_: Any) -> DataLoader:
        vectors = torch.randn(self.samples, 4, generator=torch.Generator().manual_seed(0))
        return DataLoader(TensorDataset(vectors), batch_size=self.batch_size)

    train_dataloader = val_dataloader = test_dataloader = predict_dataloader = loader
