"""A data set in parts: the loaders of training, validation, test and prediction, each made in one way."""

from abc import ABC
from collections.abc import Iterable
from typing import ClassVar

from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset
from typing_extensions import override

from datamodules.common.evaluation import Stacked
from datamodules.common.loading import eval_loader, train_loader


class DataInParts(LightningDataModule, ABC):
    """Base of data modules whose samples are stacked to batches of one task a part.

    A subclass makes ``train_set``, ``val_set``, which may be empty, ``test_set`` and ``predict_set`` in ``setup``.

    Args:
        batch_size: training samples a batch and process.
        num_workers: processes that load.
        seed: of the order of training.

    Attributes:
        train_task: task of training batches.
        eval_task: task of the batches of validation and test; that of prediction is "predict".
        one_by_one: whether batches but for training have one sample, because sizes differ.
    """

    train_task: ClassVar[str]
    eval_task: ClassVar[str]
    one_by_one: ClassVar[bool] = False
    train_set: Dataset
    val_set: Dataset
    test_set: Dataset
    predict_set: Dataset

    def __init__(self, batch_size: int, num_workers: int, seed: int):
        super().__init__()
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed

    @override
    def train_dataloader(self) -> DataLoader:
        return train_loader(
            self.train_set,
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            seed=self.seed,
            collate_fn=Stacked(self.train_task),
            trainer=self.trainer,
        )

    @override
    def val_dataloader(self) -> DataLoader | list[DataLoader]:
        """Return the loader of the validation part; none if it is empty."""
        return self._in_order(self.val_set, self.eval_task) if len(self.val_set) else []  # type: ignore[arg-type]

    @override
    def test_dataloader(self) -> DataLoader:
        return self._in_order(self.test_set, self.eval_task)

    @override
    def predict_dataloader(self) -> Iterable:
        return self._in_order(self.predict_set, "predict")

    def _in_order(self, dataset: Dataset, task: str) -> DataLoader:
        return eval_loader(
            dataset,
            batch_size=1 if self.one_by_one else self.batch_size,
            num_workers=self.num_workers,
            collate_fn=Stacked(task),
            trainer=self.trainer,
        )
