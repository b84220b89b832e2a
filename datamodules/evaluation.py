"""What the data sets that only evaluate share: one loader for every image size."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from datamodules.loading import eval_loader, rank_and_world_size
from errors import UserError

log = logging.getLogger(__name__)


class EvaluationDataModule(LightningDataModule, ABC):
    """Base of the data sets that only evaluate: they give one loader for every image size, named "<task>@<size>".

    Subclasses read their annotations in ``setup`` and nothing of their images.

    Args:
        image_sizes: the sizes to evaluate at, pixels.
        batch_size: samples a batch.
        num_workers: processes that load samples.
    """

    task: str
    collate: Callable[[list[Any]], Any]

    def __init__(self, image_sizes: Sequence[int], batch_size: int, num_workers: int):
        super().__init__()
        if not image_sizes or min(image_sizes) < 1 or len(set(image_sizes)) < len(image_sizes):
            raise UserError(f"image_sizes has to list different positive sizes in pixels, not {list(image_sizes)}")
        self.image_sizes, self.batch_size, self.num_workers = list(image_sizes), batch_size, num_workers

    @abstractmethod
    def dataset(self, size: int) -> Dataset:
        """Return the samples at one image size (pixels)."""

    def test_dataloader(self) -> dict[str, DataLoader]:
        """Return the loaders by "<task>@<size>"."""
        return {
            f"{self.task}@{size}": eval_loader(
                self.dataset(size),
                batch_size=self.batch_size,
                num_workers=self.num_workers,
                collate_fn=type(self).collate,
            )
            for size in self.image_sizes
        }

    val_dataloader = test_dataloader

    def train_dataloader(self) -> DataLoader:
        """Raise: there is nothing to train on."""
        name = type(self).__name__
        raise UserError(f"{name} only evaluates: run `python cli.py test` (or validate) with it, or fit on other data")


def listed(path: Path) -> list[str]:
    """Return the entries of a list file, one a line, whatever the line ends; blank lines do not count."""
    return [line.strip() for line in path.read_text().splitlines() if line.strip()]


def compare_count(name: str, things: str, found: int, published: int) -> None:
    """Warn, once for all processes, if there are more or fewer samples than the authors of the data set published."""
    if found != published and rank_and_world_size()[0] == 0:
        log.warning("%s has %d %s here, %d as published", name, found, things, published)
