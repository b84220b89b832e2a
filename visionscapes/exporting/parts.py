"""What a module says of the networks that it offers to be exported: their inputs, outputs and the sizes that may vary.

A module offers them by one method, ``exportable()``; ``visionscapes.exporting.export`` does the rest.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Size:
    """A size of inputs that may be another one whenever the exported network runs.

    Attributes:
        exported: its value in the example that the network is exported with.
        checked: its values in the examples that the file is checked with, as many for each size of a network.
        multiple: what it has to be a multiple of.
        fixed: its value where an exporter does not let it vary; None for a size that has to.
    """

    exported: int
    checked: tuple[int, ...]
    multiple: int = 1
    fixed: int | None = None


BATCH = Size(2, (3, 1))


@dataclass(frozen=True, kw_only=True)
class Input:
    """An input of an exported network.

    Attributes:
        shape: a number for a size that is fixed, a name for one that may vary.
        meaning: what it is, in a few words.
        kind: "uniform" between low and high, "normal" for noise of variance 1, "integers" from low to high - 1, or
            "boxes", xyxy with corners between low and high.
        low: smallest value, None where there is none.
        high: largest value, or for integers the first that is too large; None where there is none.
    """

    shape: tuple[int | str, ...]
    meaning: str
    kind: Literal["uniform", "normal", "integers", "boxes"] = "uniform"
    low: float | None = 0.0
    high: float | None = 1.0

    @property
    def dtype(self) -> torch.dtype:
        """Type of its numbers."""
        return torch.int64 if self.kind == "integers" else torch.float32

    def drawn(self, sizes: Mapping[str, int], generator: torch.Generator) -> Tensor:
        """Return random values of the right shape and range.

        Args:
            sizes: of those that may vary, by name.
            generator: where the numbers come from.
        """
        shape = [sizes[size] if isinstance(size, str) else size for size in self.shape]
        if self.kind == "normal":
            return torch.randn(shape, generator=generator)
        low, high = self.low or 0.0, 1.0 if self.high is None else self.high
        if self.kind == "integers":
            return torch.randint(int(low), int(high), shape, generator=generator)
        drawn = low + (high - low) * torch.rand(shape, generator=generator)
        if self.kind != "boxes":
            return drawn
        first, second = drawn.split(2, dim=-1)
        return torch.cat([torch.minimum(first, second), torch.maximum(first, second) + 1], -1)

    def described(self) -> dict[str, Any]:
        """Return plain values that describe it."""
        values = {"normal": ["-inf", "inf"], "integers": [int(self.low or 0), int((self.high or 1) - 1)]}
        return {
            "shape": list(self.shape),
            "dtype": str(self.dtype).removeprefix("torch."),
            "range": values.get(self.kind, [self.low, self.high]),
            "meaning": self.meaning,
        }


@dataclass(frozen=True, kw_only=True)
class Exportable:
    """A network that a module offers to be exported.

    Attributes:
        name: of its files, without a suffix.
        network: takes the inputs by position, and returns a tensor, or as many in a tuple as there are outputs.
        inputs: by name, in order.
        outputs: name -> meaning, in order.
        sizes: those that may vary, by the names that stand in the shapes of the inputs.
        about: plain values that a user of the file has to know, such as names of classes.
        reference: what the module itself makes of the inputs, where ``network`` is made for the exporter; files are
            held against it.
        optional: a network that cannot be exported is no error, and is told: what can be had without it is offered too.
    """

    name: str
    network: nn.Module
    inputs: Mapping[str, Input]
    outputs: Mapping[str, str]
    sizes: Mapping[str, Size] = field(default_factory=lambda: {"batch": BATCH})
    about: Mapping[str, Any] = field(default_factory=dict)
    reference: Callable[..., Any] | None = None
    optional: bool = False

    def example(self, seed: int = 0) -> tuple[Tensor, ...]:
        """Return random inputs of the sizes that the network is exported with."""
        return self._drawn({name: size.exported for name, size in self.sizes.items()}, seed)

    def checks(self, seed: int = 1) -> list[tuple[Tensor, ...]]:
        """Return random inputs of all sizes that a file is checked with."""
        count = max((len(size.checked) for size in self.sizes.values()), default=1)
        places = [{name: size.checked[place] for name, size in self.sizes.items()} for place in range(count)]
        return [self._drawn(sizes, seed + place) for place, sizes in enumerate(places)]

    def with_fixed_sizes(self) -> "Exportable | None":
        """Return the same network for fixed sizes, as far as they have a value for that; None if none has.

        The batch is the last to be fixed.
        """
        fixed = {name: size.fixed for name, size in self.sizes.items() if size.fixed is not None}
        fixed = {name: size for name, size in fixed.items() if name != "batch"} or fixed
        if not fixed:
            return None
        inputs = {
            name: replace(
                each, shape=tuple(fixed.get(size, size) if isinstance(size, str) else size for size in each.shape)
            )
            for name, each in self.inputs.items()
        }
        sizes = {name: size for name, size in self.sizes.items() if name not in fixed}
        return replace(self, inputs=inputs, sizes=sizes)

    def _drawn(self, sizes: Mapping[str, int], seed: int) -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(seed)
        return tuple(each.drawn(sizes, generator) for each in self.inputs.values())


@runtime_checkable
class HasExportable(Protocol):
    """A module whose networks can be exported."""

    def exportable(self) -> Sequence[Exportable]:
        """Return the networks that can be exported; they share the weights of the module."""
        ...
