"""What the data sets that only evaluate share: one loader for every task and image size."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset, default_collate
from typing_extensions import override

from datamodules.common.loading import eval_loader
from visionscapes.checks import ImageSizes, PositiveInt, Workers, check_options
from visionscapes.errors import UserError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluated:
    """What one loader goes through: the samples, what makes a batch of them, and how many a batch holds."""

    samples: Dataset
    collate: Callable[[list[Any]], Any]
    batch_size: int


class EvaluationLoaders(LightningDataModule, ABC):
    """Base of the data sets that only evaluate: they give one loader for every task and size, named "<task>@<size>".

    Subclasses read their annotations in ``setup`` and nothing of their images.

    Args:
        num_workers: processes that load samples.

    Raises:
        UserError: an option is out of its bounds.
    """

    dataset_name = ""  # as batches name it, in tasks that several data sets can serve in one run

    def __init__(self, num_workers: Workers):
        check_options(EvaluationLoaders, locals())
        super().__init__()
        self.num_workers = num_workers

    @abstractmethod
    def evaluated(self) -> dict[str, Evaluated]:
        """Return what there is to go through, in order, by "<task>@<size>"."""

    @override
    def test_dataloader(self) -> dict[str, DataLoader]:
        """Return the loaders by "<task>@<size>"."""
        return {
            name: eval_loader(
                each.samples,
                batch_size=each.batch_size,
                num_workers=self.num_workers,
                collate_fn=each.collate,
                trainer=self.trainer,
            )
            for name, each in self.evaluated().items()
        }

    @override
    def val_dataloader(self) -> dict[str, DataLoader]:
        """Return the same loaders."""
        return self.test_dataloader()

    @override
    def train_dataloader(self) -> DataLoader:
        """Raise: there is nothing to train on."""
        raise only_evaluates(self)


class EvaluationDataModule(EvaluationLoaders):
    """Base of the data sets with one task, ``task``, at one or several image sizes.

    Args:
        image_sizes: the sizes to evaluate at, pixels.
        batch_size: samples a batch.
        num_workers: processes that load samples.

    Raises:
        UserError: an option is out of its bounds.
    """

    task: str
    collate: Callable[[list[Any]], Any]

    def __init__(self, image_sizes: ImageSizes, batch_size: PositiveInt, num_workers: Workers):
        check_options(EvaluationDataModule, locals())
        super().__init__(num_workers)
        self.image_sizes, self.batch_size = list(image_sizes), batch_size

    @abstractmethod
    def dataset(self, size: int) -> Dataset:
        """Return the samples at one image size (pixels)."""

    @override
    def evaluated(self) -> dict[str, Evaluated]:
        return {
            f"{self.task}@{size}": Evaluated(self.dataset(size), type(self).collate, self.batch_size)
            for size in self.image_sizes
        }


class Stacked:
    """Makes a batch of samples that are dictionaries: "task", the samples' values, stacked, and what all have alike.

    Args:
        task: of the batches.
        listed: keys whose values stay a list.
        alike: other entries of the batches.
    """

    def __init__(self, task: str, listed: Sequence[str] = (), **alike: Any):
        self.task, self.listed, self.alike = task, listed, alike

    def __call__(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the batch."""
        stacked = default_collate([{k: v for k, v in each.items() if k not in self.listed} for each in samples])
        lists = {key: [each[key] for each in samples] for key in self.listed}
        return {"task": self.task, **stacked, **lists, **self.alike}


class OnlyEvaluatesError(UserError):
    """A data set has nothing to train on."""


def only_evaluates(datamodule: LightningDataModule) -> OnlyEvaluatesError:
    """Return the error of who asks a data set for training batches that has none."""
    name = type(datamodule).__name__
    return OnlyEvaluatesError(
        f"{name} only evaluates: run `python cli.py test` (or validate) with it, or fit on other data"
    )


def known_tasks(tasks: Iterable[str], known: Sequence[str], option: str = "tasks") -> list[str]:
    """Return the tasks in the order of ``known``, which is that of the loaders.

    Args:
        tasks: as a user names them.
        known: all there are.
        option: the name of the option, for the error.

    Raises:
        UserError: one is unknown, or there is none.
    """
    wanted = list(tasks)
    unknown = sorted(set(wanted) - set(known))
    if unknown or not wanted:
        raise UserError(f"{option} is {wanted}; it has to name one or more of {', '.join(known)}")
    return [task for task in known if task in wanted]
