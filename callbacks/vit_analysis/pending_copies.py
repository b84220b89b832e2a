"""Many small tensors of an accelerator, copied to the CPU at once."""

import torch
from torch import Tensor


class PendingCopies:
    """Tensors that wait on their device until there are enough of them: the host waits once for every copy.

    Args:
        most: bytes from which on they are `due`.
    """

    def __init__(self, most: int = 2**26):
        self.most, self._bytes = most, 0
        self._waiting: list[tuple[str, Tensor]] = []

    @property
    def due(self) -> bool:
        """Whether they should be taken, so that the memory of the accelerator does not fill."""
        return self._bytes >= self.most

    def __contains__(self, name: str) -> bool:
        return any(name == other for other, _ in self._waiting)

    def add(self, name: str, tensor: Tensor) -> None:
        """Add a tensor of any shape and type; several may have one name."""
        self._waiting.append((name, tensor))
        self._bytes += tensor.numel() * tensor.element_size()

    def take(self) -> list[tuple[str, Tensor]]:
        """Return the names and the tensors, on the CPU; those of one name in the order in which they came."""
        # Larger types first: a view of bytes has to begin where a number of its type may.
        waiting = sorted(self._waiting, key=lambda each: -each[1].element_size())
        self._waiting, self._bytes = [], 0
        if not waiting:
            return []
        # Cloned: of one expanded number, which counts as contiguous, there is no view of bytes.
        dense = (tensor.clone(memory_format=torch.contiguous_format).flatten() for _, tensor in waiting)
        together = torch.cat([tensor.view(torch.uint8) for tensor in dense]).cpu()
        parts = together.split([tensor.numel() * tensor.element_size() for _, tensor in waiting])
        # Copies, or the smallest part would keep all of them in memory.
        return [
            (name, part.view(tensor.dtype).view(tensor.shape).clone())
            for part, (name, tensor) in zip(parts, waiting, strict=True)
        ]
