"""Data loaders that deal exactly: to processes, to workers, and after a resume.

Training order and augmentations are pure functions of (seed, epoch, index), so neither the number of workers or
processes nor an interruption changes what a run sees. Evaluation deals every sample once, without padding.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.accelerators import CUDAAccelerator
from pytorch_lightning.utilities import rank_zero_warn
from torch.utils.data import DataLoader, Dataset, Sampler

from visionscapes.errors import UserError
from visionscapes.processes import rank_and_world_size
from visionscapes.seeding import derived_seed

Draw = tuple[int, int]  # (index, epoch)


def step_generator(seed: int, step: int) -> torch.Generator:
    """Return the CPU generator for what a whole training batch draws: a function of (seed, step, rank)."""
    return torch.Generator().manual_seed(derived_seed(seed, step, rank_and_world_size()[0]) % 2**63)


class SeededDataset(Dataset):
    """A map-style dataset whose random transforms depend on (seed, epoch, index) alone.

    torch's CPU generator, numpy and random are seeded for the sample and put back afterwards, so that loading in the
    main process leaves its random numbers alone.

    Args:
        dataset: the dataset to wrap.
        seed: any integer.
    """

    def __init__(self, dataset: Dataset, seed: int):
        self.dataset, self.seed = dataset, seed

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __getitem__(self, draw: Draw | int) -> Any:
        # Trainer(overfit_batches=...) puts its own sampler of plain indices in place of ours.
        index, epoch = draw if isinstance(draw, tuple) else (draw, 0)
        seed = derived_seed(self.seed, epoch, index)
        states = torch.get_rng_state(), np.random.get_state(), random.getstate()
        try:
            torch.default_generator.manual_seed(seed)
            np.random.seed(seed % 2**32)
            random.seed(seed)
            return self.dataset[index]
        finally:
            torch.set_rng_state(states[0])
            np.random.set_state(states[1])
            random.setstate(states[2])


class GlobalPermutation(Sampler[Draw]):
    """One permutation an epoch for all processes together, dealt like cards.

    Rank r gets order[r::world_size]: batch k of W processes with B samples each is batch k of one process with W*B.
    The tail that does not fill a global batch is left out; it is another one every epoch.

    Args:
        size: number of samples of the dataset.
        batch_size: samples a batch of one process.
        seed: any integer.
        rank: this process, in [0, world_size).
        world_size: number of processes.

    Raises:
        UserError: fewer samples than one global batch.
    """

    def __init__(self, size: int, batch_size: int, seed: int = 0, rank: int = 0, world_size: int = 1):
        check_global_batch(size, batch_size, world_size)
        self.global_batch_size = batch_size * world_size
        self.size, self.batch_size, self.seed = size, batch_size, seed
        self.rank, self.world_size = rank, world_size
        self.epoch = 0
        self.first_batch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the permutation; Lightning calls this before every epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.size // self.global_batch_size * self.batch_size

    def __iter__(self) -> Iterator[Draw]:
        generator = torch.Generator().manual_seed(derived_seed(self.seed, self.epoch))
        order = torch.randperm(self.size, generator=generator)[self.rank :: self.world_size]
        epoch = self.epoch
        for index in order[self.first_batch * self.batch_size : len(self)].tolist():
            yield index, epoch


def check_global_batch(size: int, batch_size: int, world_size: int | None = None) -> None:
    """Check that a training set fills a batch; a data module that draws its images asks before it draws them.

    Args:
        size: number of samples of the training set.
        batch_size: samples a batch of one process.
        world_size: number of processes; those of the process group if None.

    Raises:
        UserError: fewer samples than one global batch.
    """
    processes = rank_and_world_size()[1] if world_size is None else world_size
    if size < batch_size * processes:
        raise UserError(
            f"The training set has {size} samples, less than one global batch of {batch_size * processes}"
            f" ({batch_size} x {processes} process{'es' * (processes != 1)}): lower batch_size to at most"
            f" {size // processes}, use fewer processes (trainer.devices, trainer.num_nodes), or add data."
        )


class ResumableLoader(DataLoader):
    """A DataLoader whose position is stored in Lightning's checkpoints, so that a run resumes at its next batch.

    It counts the batches that were handed out, not the ones that workers have prepared. The position holds for the
    epoch it was taken in; any other epoch starts at its first batch.
    """

    _position: tuple[int, int] = (0, 0)  # (epoch, batches handed out)
    _resumed: bool = False
    _changed: Sequence[str] = ()  # how the data are dealt otherwise than in the interrupted run

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        # A generator, because Lightning asks for the iterator before it tells the sampler the epoch: nothing may be
        # drawn before the first batch is asked for.
        epoch, first = getattr(self.sampler, "epoch", 0), 0
        if self._resumed and epoch == self._position[0]:
            first = self._position[1]
            if self._changed and first:
                rank_zero_warn(f"The resumed epoch will differ from the interrupted one: {', '.join(self._changed)}.")
        self._resumed = False
        self._position = epoch, first
        if isinstance(self.sampler, GlobalPermutation):
            self.sampler.first_batch = first
        for count, batch in enumerate(super().__iter__(), first + 1):
            self._position = epoch, count
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Return the position, and what has to be equal for it to mean the same."""
        return {"epoch": self._position[0], "batches": self._position[1], **self._identity()}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on at the position of ``state_dict``, with a warning if the data are dealt differently in that epoch."""
        now = self._identity()
        self._changed = [
            f"{key} was {state_dict.get(key)}, is {now[key]}" for key in now if state_dict.get(key) != now[key]
        ]
        self._position, self._resumed = (state_dict["epoch"], state_dict["batches"]), True

    def _identity(self) -> dict[str, int]:
        if not isinstance(self.sampler, GlobalPermutation):
            return {}
        return {name: getattr(self.sampler, name) for name in ("seed", "size", "global_batch_size")}


def train_loader(
    dataset: Dataset,
    *,
    batch_size: int,
    num_workers: int = 0,
    seed: int = 0,
    collate_fn: Callable[[list[Any]], Any] | None = None,
    trainer: Trainer | None = None,
    sampler: GlobalPermutation | None = None,
) -> ResumableLoader:
    """Return the loader of one process for training: shuffled, exact across processes, workers and resumes.

    Args:
        dataset: map-style; its random transforms may use torch, numpy or random.
        batch_size: samples a batch of one process; the global batch is ``batch_size`` times the number of processes.
        num_workers: processes that load; 0 loads in the main process.
        seed: of order and augmentations.
        collate_fn: as in ``torch.utils.data.DataLoader``.
        trainer: that asks for the loader, whose accelerator the batches go to; None: they stay on the CPU.
        sampler: of another order than one permutation an epoch.

    Raises:
        UserError: fewer samples than one global batch.
    """
    rank, world_size = rank_and_world_size()
    if sampler is None:
        sampler = GlobalPermutation(len(dataset), batch_size, seed, rank=rank, world_size=world_size)  # type: ignore[arg-type]
    return ResumableLoader(
        dataset=SeededDataset(dataset, seed),
        sampler=sampler,
        batch_size=batch_size,
        drop_last=True,
        num_workers=num_workers,
        collate_fn=collate_fn,
        persistent_workers=num_workers > 0,
        pin_memory=trains_on_a_gpu(trainer),
        generator=torch.Generator(),  # else every epoch takes a number from the main process' generator
    )


def trains_on_a_gpu(trainer: Trainer | None) -> bool:
    """Return whether batches are copied to a GPU of CUDA, which is quicker from pinned memory."""
    return trainer is not None and isinstance(trainer.accelerator, CUDAAccelerator)


class Strided(Sampler[int]):
    """The samples rank, rank + world_size, ... in order: every sample once over all processes, without padding.

    Raises:
        UserError: an option is out of its bounds.
    """

    def __init__(self, size: int, rank: int = 0, world_size: int = 1):
        if size < world_size:
            raise UserError(
                f"The evaluation set has {size} samples for {world_size} processes, and each needs at least one:"
                f" use at most {size} processes (trainer.devices, trainer.num_nodes)."
            )
        self.indices = range(rank, size, world_size)

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)


def eval_loader(
    dataset: Dataset,
    *,
    batch_size: int = 1,
    num_workers: int = 0,
    collate_fn: Callable[[list[Any]], Any] | None = None,
    trainer: Trainer | None = None,
) -> DataLoader:
    """Return the loader of one process for validation, test or prediction: in order, each sample exactly once.

    Processes may get different numbers of batches, so collectives belong to the end of the epoch.

    Args:
        dataset: map-style.
        batch_size: samples a batch of one process.
        num_workers: processes that load; 0 loads in the main process.
        collate_fn: as in ``torch.utils.data.DataLoader``.
        trainer: that asks for the loader, whose accelerator the batches go to; None: they stay on the CPU.

    Raises:
        UserError: fewer samples than processes.
    """
    return DataLoader(
        dataset=dataset,
        sampler=Strided(len(dataset), *rank_and_world_size()),  # type: ignore[arg-type]
        batch_size=batch_size,
        num_workers=num_workers,
        collate_fn=collate_fn,
        persistent_workers=num_workers > 0,
        pin_memory=trains_on_a_gpu(trainer),
        generator=torch.Generator(),
    )


def as_it_is(sample: Any) -> Any:
    """Return a sample, of which a loader makes no batch: ``collate_fn`` where ``batch_size`` is None."""
    return sample
