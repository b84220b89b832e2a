"""Real and generated pictures in one training: batches of the one or of the other, by a coin (thesis 7.2.4)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import ConcatDataset, Dataset
from typing_extensions import override

from datamodules.common.loading import Draw, GlobalPermutation, check_global_batch
from visionscapes.processes import rank_and_world_size
from visionscapes.seeding import derived_seed

COIN, GENERATED = 1, 2  # streams of random numbers, apart from that of the order of real pictures


class MixedPermutation(GlobalPermutation):
    """Batches that are wholly of real or wholly of generated pictures, for all processes alike (thesis 7.2.4).

    A coin says of each batch which: generated with a probability p. Either kind is gone through in an order of its own,
    which goes on where the last batch of that kind stopped, in a later epoch too: no picture is drawn twice before
    every other one was drawn once. An epoch has as many batches as the real pictures fill, whatever p is, so that
    trainings with other p have as many steps. With p = 0 the order is that of `GlobalPermutation`.

    Everything is a function of (seed, epoch, batch): a run that goes on after an interruption needs no state.

    Args:
        real: number of real samples, which have the indices from 0 on.
        generated: number of generated samples, which follow.
        probability: p, in [0, 1].
        batch_size: samples a batch of one process.
        seed: any integer.
        rank: this process, in [0, world_size).
        world_size: number of processes.

    Raises:
        UserError: fewer samples of a kind than one global batch.
    """

    def __init__(
        self,
        real: int,
        generated: int,
        *,
        probability: float,
        batch_size: int,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ):
        super().__init__(real, batch_size, seed, rank=rank, world_size=world_size)
        check_global_batch(generated, batch_size, world_size)
        self.generated, self.probability = generated, probability

    def coins(self, epoch: int) -> torch.Tensor:
        """Return (batches of an epoch,) bool, which batches are of generated pictures."""
        generator = torch.Generator().manual_seed(derived_seed(self.seed, epoch, COIN) % 2**63)
        return torch.rand(self._batches, generator=generator) < self.probability

    @override
    def __iter__(self) -> Iterator[Draw]:
        earlier = sum(int(self.coins(epoch).sum()) for epoch in range(self.epoch))
        coins = self.coins(self.epoch)
        before = torch.cumsum(coins.long(), 0) - coins.long()
        for batch in range(self.first_batch, self._batches):
            of_generated = earlier + int(before[batch])
            if coins[batch]:
                yield from self._dealt(of_generated, self.generated, self.size, GENERATED)
            else:
                yield from self._dealt(self.epoch * self._batches + batch - of_generated, self.size, 0)

    def _dealt(self, batch: int, size: int, first: int, *stream: int) -> Iterator[Draw]:
        """Yield this process' samples of a batch of one kind, with how often all of that kind were drawn before."""
        passes, place = divmod(batch, size // self.global_batch_size)
        generator = torch.Generator().manual_seed(derived_seed(self.seed, passes, *stream))
        order = torch.randperm(size, generator=generator)[self.rank :: self.world_size]
        for index in order[place * self.batch_size : (place + 1) * self.batch_size].tolist():
            yield first + index, passes

    @property
    def _batches(self) -> int:
        return self.size // self.global_batch_size


@dataclass(frozen=True)
class Flagged(Dataset):
    """Samples that say whether they were generated, under "synthetic"."""

    samples: Dataset
    synthetic: bool

    def __len__(self) -> int:
        return len(self.samples)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {**self.samples[index], "synthetic": self.synthetic}


def mixed_order(real: int, generated: int, *, probability: float, batch_size: int, seed: int) -> MixedPermutation:
    """Return the order of this process, see `MixedPermutation`."""
    rank, world_size = rank_and_world_size()
    return MixedPermutation(
        real,
        generated,
        probability=probability,
        batch_size=batch_size,
        seed=seed,
        rank=rank,
        world_size=world_size,
    )


def both(real: Dataset, generated: Dataset) -> ConcatDataset:
    """Return real samples and then generated ones, each with "synthetic"."""
    return ConcatDataset([Flagged(real, synthetic=False), Flagged(generated, synthetic=True)])
