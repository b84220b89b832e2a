"""A network beside the one that is trained."""

from typing import Any

from torch import Tensor, nn
from typing_extensions import override


class Companion(nn.Module):
    """A frozen network that goes wherever its owner goes, and is no part of the owner's parameters and checkpoints.

    As a plain submodule its weights would fill every checkpoint; in a list, they would stay behind on the CPU.

    Args:
        network: is put into evaluation mode, for good.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        for weight in network.parameters():  # by hand, for TorchScript has no requires_grad_ of modules
            weight.requires_grad_(False)
        self._kept = [network.eval()]  # in a list, or torch would take it for a submodule

    @property
    def network(self) -> Any:
        """The network itself."""
        return self._kept[0]

    @override
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the network returns."""
        return self.network(*args, **kwargs)

    @override
    def _apply(self, fn: Any, recurse: bool = True) -> "Companion":
        self._kept[0] = self._kept[0]._apply(fn)
        return super()._apply(fn, recurse)


def as_in(companion: Companion, *inputs: Tensor) -> list[Tensor]:
    """Return inputs in the type of numbers that a companion computes in, where there is no autocast."""
    weight = next(iter(companion.network.parameters()), None)
    return list(inputs) if weight is None else [each.to(weight.dtype) for each in inputs]
