"""The processes of a run: which one this is, and how they put together what each has.

Every function works outside a process group, where there is one process. Within one, those that say "collective" are
called by all processes in the same order. What they exchange goes through a gloo group of their own, from memory to
memory: through NCCL it would pass the memory of the first GPU, and one process could wait for another no longer than
NCCL is patient.
"""

from collections.abc import Callable, Iterable
from datetime import timedelta
from itertools import chain
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch
import torch.distributed
from torch import Tensor

T = TypeVar("T")
Outcome = TypeVar("Outcome")

# The first process may evaluate or cluster for all. A process that dies is noticed at once, however long this is.
PATIENCE = timedelta(days=7)


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
        group: of some processes, under gloo; all of them if None.
    """
    if not in_process_group():
        return [mine]
    group = group or _patient_group()
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

    They may differ in shape, not in dtype; any dtype will do.

    Args:
        mine: of this process.
        group: of some processes, under gloo; all of them if None. That of a torchmetrics.Metric.
    """
    if not in_process_group():
        return [mine]
    group = group or _patient_group()
    shapes = [torch.Size(shape) for shape in gather_objects(list(mine.shape), group)]
    # Bytes, because gloo does not know every dtype; all of one length, because it gathers nothing else.
    sent = mine.detach().cpu().contiguous().flatten().view(torch.uint8)
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


def from_first(value: T) -> T:
    """Return what the process of rank 0 has, on every process. Collective.

    Args:
        value: counts on the first process alone; it can be pickled.
    """
    if not in_process_group():
        return value
    values: list[Any] = [value]
    torch.distributed.broadcast_object_list(values, group=_patient_group(), group_src=0)
    return values[0]


def overwrite_by_first(tensors: Iterable[Tensor]) -> None:
    """Give tensors of every process the values that those of the process of rank 0 have, in place. Collective.

    Args:
        tensors: as many, of the same shapes and dtypes, on every process.
    """
    if not in_process_group():
        return
    for tensor in tensors:
        sent = tensor.detach().cpu().contiguous()
        torch.distributed.broadcast(sent, group=_patient_group(), group_src=0)
        with torch.no_grad():
            tensor.copy_(sent)


def computed_once(mine: list[T], compute: Callable[[list[T]], Outcome]) -> Outcome:
    """Return on every process what ``compute`` gives for the records of all of them. Collective.

    Args:
        mine: records of this process, which can be pickled; may be empty.
        compute: called with all records, those of the first rank first, on the first rank alone.

    Raises:
        RuntimeError: on the other ranks if it failed on the first, which raises the error itself.
    """
    if not in_process_group():
        return compute(mine)
    everyone: list[Any] | None = [None] * torch.distributed.get_world_size() if is_first() else None
    torch.distributed.gather_object(mine, everyone, group=_patient_group(), group_dst=0)
    outcome: tuple[str, Any] = ("failed", None)
    failure: Exception | None = None
    if everyone is not None:
        try:
            outcome = "done", compute(list(chain.from_iterable(everyone)))
        except Exception as error:  # the others wait for the outcome
            failure = error
    outcome = from_first(outcome)
    if failure is not None:
        raise failure
    if outcome[0] != "done":
        raise RuntimeError("the first process failed at what it computes for all; its error says why")
    return outcome[1]


# Of each default group; an entry goes with its default group, and torch closes both.
_patient: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()


def _patient_group() -> Any:
    """Return the gloo group of all processes, made when it is first asked for. Collective."""
    world = torch.distributed.group.WORLD
    if world not in _patient:
        _patient[world] = torch.distributed.new_group(backend="gloo", timeout=PATIENCE)
    return _patient[world]
