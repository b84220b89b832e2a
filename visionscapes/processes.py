"""The processes of a run: which one this is, and how they put together what each has.

Every function works outside a process group, where there is one process. Within one, those that say "collective" are
called by all processes in the same order; they work under gloo, for tensors on any device, and under NCCL.
"""

from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any, TypeVar

import torch
import torch.distributed
from torch import Tensor

T = TypeVar("T")
Outcome = TypeVar("Outcome")


def in_process_group() -> bool:
    """Return whether a process group is up."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def rank_and_world_size() -> tuple[int, int]:
    """Return this process' rank and the number of processes; (0, 1) outside a process group."""
    if in_process_group():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def is_first() -> bool:
    """Return whether this is the process of rank 0, which writes and speaks for all."""
    return rank_and_world_size()[0] == 0


def gather_objects(mine: T, group: Any = None) -> list[T]:
    """Return what every process has, by rank, on every process. Collective.

    Args:
        mine: of this process; it can be pickled.
        group: the process group; the default one if None.
    """
    if not in_process_group():
        return [mine]
    everyone: list[Any] = [None] * torch.distributed.get_world_size(group)
    torch.distributed.all_gather_object(everyone, mine, group=group)
    return everyone


def gather_entries(mine: dict[Any, T]) -> dict[Any, T]:
    """Return the entries of the dictionaries of all processes in one; of equal keys the last rank's. Collective."""
    return {key: value for entries in gather_objects(mine) for key, value in entries.items()}


def union_in_order(mine: list[T]) -> list[T]:
    """Return what any process has, each once, in the same order on every process. Collective."""
    return list(dict.fromkeys(chain.from_iterable(gather_objects(mine))))


def gather_tensors(mine: Tensor, group: Any = None) -> list[Tensor]:
    """Return the tensors of all processes, by rank, on every process and on the device of ``mine``. Collective.

    They may differ in shape, not in dtype; any dtype will do. They visit the device that the backend can send from.

    Args:
        mine: of this process.
        group: the process group; the default one if None.
    """
    if not in_process_group():
        return [mine]
    shapes = [torch.Size(shape) for shape in gather_objects(list(mine.shape), group)]
    # Bytes, because gloo and NCCL do not know every dtype; all of one length, because they gather nothing else.
    sent = mine.detach().to(_sending_device(group)).contiguous().flatten().view(torch.uint8)
    longest = max(shape.numel() for shape in shapes) * mine.element_size()
    if not longest:
        return [mine.new_empty(shape) for shape in shapes]
    padded = sent.new_zeros(longest)
    padded[: len(sent)] = sent
    received = [torch.empty_like(padded) for _ in shapes]
    torch.distributed.all_gather(received, padded, group=group)
    return [
        part[: shape.numel() * mine.element_size()].view(mine.dtype).reshape(shape).to(mine.device)
        for part, shape in zip(received, shapes, strict=True)
    ]


def from_first(value: T, group: Any = None) -> T:
    """Return what the process of rank 0 has, on every process. Collective.

    Args:
        value: counts on the first process alone; it can be pickled.
        group: the process group; the default one if None.
    """
    if not in_process_group():
        return value
    values: list[Any] = [value]
    torch.distributed.broadcast_object_list(values, group=group, group_src=0)
    return values[0]


def overwrite_by_first(tensors: Iterable[Tensor], group: Any = None) -> None:
    """Give tensors of every process the values that those of the process of rank 0 have, in place. Collective.

    Args:
        tensors: as many, of the same shapes and dtypes, on every process.
        group: the process group; the default one if None.
    """
    if in_process_group():
        for tensor in tensors:
            torch.distributed.broadcast(tensor, group=group, group_src=0)


def computed_once(mine: list[T], compute: Callable[[list[T]], Outcome], group: Any = None) -> Outcome:
    """Return on every process what ``compute`` gives for the records of all of them. Collective.

    Args:
        mine: records of this process, which can be pickled; may be empty.
        compute: called with all records, those of the first rank first, on the first rank alone.
        group: the process group; the default one if None.

    Raises:
        RuntimeError: on the other ranks if it failed on the first, which raises the error itself.
    """
    if not in_process_group():
        return compute(mine)
    first = torch.distributed.get_rank(group) == 0
    everyone: list[Any] | None = [None] * torch.distributed.get_world_size(group) if first else None
    torch.distributed.gather_object(mine, everyone, group=group, group_dst=0)
    outcome: tuple[str, Any] = ("failed", None)
    failure: Exception | None = None
    if everyone is not None:
        try:
            outcome = "done", compute(list(chain.from_iterable(everyone)))
        except Exception as error:  # the others wait for the outcome
            failure = error
    outcome = from_first(outcome, group)
    if failure is not None:
        raise failure
    if outcome[0] != "done":
        raise RuntimeError("the first process failed at what it computes for all; its error says why")
    return outcome[1]


def _sending_device(group: Any) -> torch.device:
    if torch.distributed.get_backend(group) == "nccl":
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")
