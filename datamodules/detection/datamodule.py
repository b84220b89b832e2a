"""What every data set for object detection shares: sizes, views, batches and loaders."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader
from typing_extensions import override

from datamodules.common.loading import eval_loader, train_loader
from datamodules.detection.annotations import AnnotatedImage
from datamodules.detection.samples import EvaluationSamples, TrainingSamples, collate
from datamodules.detection.second_view import SecondView
from visionscapes.checks import LARGEST_IMAGE, Among, AnyInt, Bounds, PositiveInt, Workers, check_options

PictureSide = Annotated[int, Bounds(least=2, most=LARGEST_IMAGE)]  # torch cannot resize to a single pixel


class DetectionDataModule(LightningDataModule, ABC):
    """Base of the data sets of annotated pictures; batches are described in ``datamodules.detection.samples``.

    Subclasses name their ``classes`` and read the records of their pictures; no picture is opened before it is needed.
    Pictures without any annotation are trained on like all others.

    Args:
        batch_size: pictures a batch and process.
        num_workers: processes that load.
        seed: of order, sizes, flips and views.
        train_sizes: shorter sides in pixels, one of which is drawn for every picture to train on.
        longest: most pixels of the longer side.
        test_size: shorter side in pixels of pictures to evaluate on.
        with_masks: whether training batches hold "masks".
        second_view: draws "second_view", for methods that compare two views of a picture.

    Raises:
        UserError: a size below 2, a batch size below 1.
    """

    classes: tuple[str, ...]

    def __init__(
        self,
        batch_size: PositiveInt,
        num_workers: Workers,
        seed: AnyInt,
        train_sizes: Sequence[Annotated[PictureSide, Among(1)]],
        longest: PictureSide,
        test_size: PictureSide,
        with_masks: bool,
        second_view: SecondView | None,
    ):
        check_options(DetectionDataModule, locals())
        super().__init__()
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self.train_sizes, self.longest, self.test_size = list(train_sizes), longest, test_size
        self.with_masks, self.second_view = with_masks, second_view

    @abstractmethod
    def training_images(self) -> Sequence[AnnotatedImage]:
        """Return the pictures to train on, after ``setup``."""

    @abstractmethod
    def evaluation_images(self) -> Sequence[AnnotatedImage]:
        """Return the pictures to evaluate on, after ``setup``."""

    def repeats(self) -> np.ndarray | None:
        """Return how often each training picture is gone through in an epoch; None for once."""
        return None

    @override
    def train_dataloader(self) -> DataLoader:
        samples = TrainingSamples(
            self.training_images(),
            self.train_sizes,
            self.longest,
            with_masks=self.with_masks,
            second_view=self.second_view,
            repeats=self.repeats(),
        )
        return train_loader(
            samples,
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            seed=self.seed,
            collate_fn=collate,
            trainer=self.trainer,
        )

    @override
    def val_dataloader(self) -> DataLoader:
        samples = EvaluationSamples(
            self.evaluation_images(), self.test_size, self.longest, second_view=self.second_view, seed=self.seed
        )
        return eval_loader(
            samples, batch_size=self.batch_size, num_workers=self.num_workers, collate_fn=collate, trainer=self.trainer
        )

    @override
    def test_dataloader(self) -> DataLoader:
        """Return the same loader as for validation."""
        return self.val_dataloader()
