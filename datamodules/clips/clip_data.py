"""What every data module of clips shares: its loaders."""

from abc import ABC

from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset
from typing_extensions import override

from datamodules.clips.windows import SyncWindows, WholeClips
from datamodules.common.evaluation import Stacked
from datamodules.common.loading import eval_loader, train_loader


class ClipData(LightningDataModule, ABC):
    """Base of the data modules whose training samples are windows and whose other samples are whole clips.

    A subclass makes its sets in ``setup``: "sync" is the task of training batches, "clip" that of validation and test,
    "predict" that of prediction, of one clip a batch each.

    Args:
        batch_size: training samples a batch and process.
        num_workers: processes that load.
        seed: of the order of training.
    """

    train_set: SyncWindows
    val_set: WholeClips
    test_set: WholeClips
    predict_set: WholeClips

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
            collate_fn=Stacked("sync"),
            trainer=self.trainer,
        )

    @override
    def val_dataloader(self) -> DataLoader | list[DataLoader]:
        """Return the loader of the validation clips; none if there are none."""
        return self._in_order(self.val_set, "clip") if len(self.val_set) else []

    @override
    def test_dataloader(self) -> DataLoader:
        return self._in_order(self.test_set, "clip")

    @override
    def predict_dataloader(self) -> DataLoader:
        return self._in_order(self.predict_set, "predict")

    def _in_order(self, dataset: Dataset, task: str) -> DataLoader:
        return eval_loader(
            dataset, batch_size=1, num_workers=self.num_workers, collate_fn=Stacked(task), trainer=self.trainer
        )
