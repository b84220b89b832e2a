"""Clips of a world drawn on all cores."""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from datamodules.common.loading import as_it_is
from visionscapes.processes import is_first, rank_and_world_size
from visionscapes.progress import restart_clock, track

FRAMES_WORTH_PROCESSES = 1500  # rendering fewer takes less time than it takes to start processes and to hand over
Rendered = TypeVar("Rendered")


class Made(Dataset):
    """Clips that are made when they are asked for: make(index)."""

    def __init__(self, make: Callable[[int], Rendered], count: int):
        self.make, self.count = make, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Any:
        if index >= self.count:
            raise IndexError(index)
        return self.make(index)


def render(make: Callable[[int], Rendered], count: int, frames: int, what: str = "talking clips") -> list[Rendered]:
    """Return the clips make(0) to make(count - 1), made on all cores if they are many, and show progress.

    Args:
        make: a clip of its index.
        count: of the clips.
        frames: of all of them together.
        what: they are.
    """
    processes = min(cores() // rank_and_world_size()[1], count) if frames >= FRAMES_WORTH_PROCESSES else 0
    clips = DataLoader(
        Made(make, count),
        batch_size=None,
        num_workers=processes if processes > 1 else 0,
        collate_fn=as_it_is,
        generator=torch.Generator(),  # else it would take a number from the main process' generator
    )
    restart_clock()  # so that what takes a moment is not worth a line
    return list(track(clips, f"{what} rendered", count, shown=is_first()))


def cores() -> int:
    """Return how many cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1
