"""Features of a whole data set, gathered over batches and processes: what clustering, neighbours and probes need."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat
from typing_extensions import override

from callbacks.vit_analysis.pending_copies import PendingCopies
from visionscapes.errors import UserError
from visionscapes.processes import gather_tensors, rank_and_world_size

NAME_LENGTH = 64  # bytes


class Column(NamedTuple):
    """What a row holds in one column: an array of this shape and type."""

    shape: tuple[int, ...]
    dtype: torch.dtype


INTEGER = Column((), torch.int64)
NAME = Column((NAME_LENGTH,), torch.uint8)  # see ``encoded_name``


class FeatureBank(Metric):
    """Tables of features and labels on the CPU, so that the memory of an accelerator does not grow with the data.

    Columns are filled independently of each other, because blocks are seen one after the other; once a batch is
    through, those of a table have equally many rows. Processes may hold different numbers of rows, or none.

    Args:
        tables: columns by name, by name of the table. A column "index" identifies a row.
        summary: turns the gathered tables into what ``compute`` returns.
    """

    full_state_update = False

    def __init__(
        self,
        tables: Mapping[str, Mapping[str, Column]],
        summary: Callable[["FeatureBank"], dict[str, Any]],
        **kwargs: Any,
    ):
        super().__init__(dist_sync_fn=kwargs.pop("dist_sync_fn", gather_tensors), **kwargs)
        self.summary = summary
        self.columns = {f"{table}_{name}": column for table, own in tables.items() for name, column in own.items()}
        self._titles = {f"{table}_{name}": f"{name} of task {table}" for table, own in tables.items() for name in own}
        self._pending = PendingCopies()
        for name in self.columns:
            self.add_state(name, default=[], dist_reduce_fx="cat")

    @override
    def update(self, table: str, columns: Mapping[str, Tensor]) -> None:
        """Add rows to some columns of a table.

        Args:
            table: its name.
            columns: (n, ...) each, by name of the column.

        Raises:
            UserError: features that are not finite; of an accelerator, this or a later call raises it.
        """
        for name, values in columns.items():
            column = self.columns[f"{table}_{name}"]
            kept = values.detach().to(column.dtype).reshape(-1, *column.shape)
            if kept.device.type == "cpu":
                if f"{table}_{name}" in self._pending:
                    self._settle()
                self._append(f"{table}_{name}", kept)
            else:
                self._pending.add(f"{table}_{name}", kept)
        if self._pending.due:
            self._settle()

    def _settle(self) -> None:
        for name, kept in self._pending.take():
            self._append(name, kept)

    def _append(self, name: str, kept: Tensor) -> None:
        if self.columns[name].dtype.is_floating_point and not kept.isfinite().all():
            raise UserError(
                f"the features {self._titles[name]} hold infinite values or NaN: check the weights, and analyse "
                "in full precision (--trainer.precision=32)"
            )
        getattr(self, name).append(kept)

    @override
    def compute(self) -> dict[str, Any]:
        """Return the summary of the rows of all processes."""
        return self.summary(self)

    def raw(self, table: str, name: str) -> Tensor:
        """Return a column (N, ...) in the order of the processes, with whatever was shown twice."""
        self._settle()
        state = getattr(self, f"{table}_{name}")
        return dim_zero_cat(state) if len(state) else self._empty(f"{table}_{name}")

    @override
    def reset(self) -> None:
        """Forget all rows."""
        self._pending.take()
        super().reset()

    @override
    def merge_state(self, incoming_state: "dict[str, Any] | Metric") -> None:
        """Put the rows of another bank behind the own ones."""
        for bank in (self, incoming_state):
            if isinstance(bank, FeatureBank):
                bank._settle()
        super().merge_state(incoming_state)

    def rows(self, table: str) -> Tensor:
        """Return positions in ``raw`` sorted by "index", each index once: the same for any number of processes."""
        return first_of_each(self.raw(table, "index"))

    def labelled(self, table: str) -> Tensor:
        """Return ``rows`` whose "label" is not negative, which stands for none."""
        rows = self.rows(table)
        return rows[self.raw(table, "label")[rows] >= 0]

    def _empty(self, name: str) -> Tensor:
        column = self.columns[name]
        return torch.empty(0, *column.shape, dtype=column.dtype)

    @override
    def _sync_dist(self, dist_sync_fn: Callable = gather_tensors, process_group: Any = None) -> None:
        self._settle()
        # A process without rows would send an empty vector of floats, which fits no column of another shape or type.
        for name in self.columns:
            if not getattr(self, name):
                setattr(self, name, [self._empty(name)])
        super()._sync_dist(dist_sync_fn, process_group)


def first_of_each(index: Tensor) -> Tensor:
    """Return the positions of the first occurrence of every value of (N,) integers, values rising."""
    values, order = index.sort(stable=True)
    first = torch.ones_like(values, dtype=torch.bool)
    first[1:] = values[1:] != values[:-1]
    return order[first]


def positions(batch: Mapping[str, Any], before: int, count: int) -> Tensor:
    """Return which samples of the data set a batch holds, (count,).

    Args:
        batch: may say so itself in "index".
        before: samples that this process has seen before; they are dealt in turn.
        count: number of samples.
    """
    if "index" in batch:
        return torch.as_tensor(batch["index"]).reshape(-1).cpu()
    rank, world_size = rank_and_world_size()
    return (before + torch.arange(count)) * world_size + rank


def class_numbers(known: Tensor, asked: Tensor) -> tuple[Tensor, Tensor, int]:
    """Return labels as numbers from 0 of the classes in ``known``, and how many there are.

    Args:
        known: (N,) labels.
        asked: (M,) labels; those that are not among ``known`` become -1, which no prediction equals.
    """
    classes, numbers = known.unique(return_inverse=True)
    places = torch.searchsorted(classes, asked).clamp_max(len(classes) - 1)
    return numbers, torch.where(classes[places] == asked, places, -1), len(classes)


def encoded_name(name: str, count: int) -> Tensor:
    """Return a name as ``count`` rows (count, 64) of bytes, so that processes can gather it.

    Raises:
        UserError: it is longer.
    """
    code = name.encode()
    if len(code) > NAME_LENGTH:
        raise UserError(f"the name {name!r} of a data set is longer than {NAME_LENGTH} bytes: shorten it")
    return torch.tensor(list(code.ljust(NAME_LENGTH, b"\0")), dtype=torch.uint8).expand(count, -1)


def decoded_names(codes: Tensor) -> list[str]:
    """Return the names that rows (N, 64) of ``encoded_name`` stand for."""
    return [bytes(row).rstrip(b"\0").decode() for row in codes.tolist()]
