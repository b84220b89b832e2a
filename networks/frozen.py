"""What a module computes of an image with frozen networks: the same in every epoch that shows the image again."""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

_REMEMBERED = 4  # inputs: scales of an image, not the frames of a video, which would fill the memory
_PLAIN = (str, int, float, bool, type(None), tuple, list)


@dataclass(frozen=True)
class Frozen:
    """A function of images that training does not change.

    Attributes:
        compute: images (B, 3, H, W) in [0, 1] to tensors (B, ...), of which row b depends on image b alone.
        networks: that it runs, frozen and in evaluation mode.
        settings: plain values that it depends on besides.
    """

    compute: Callable[[Tensor], tuple[Tensor, ...]]
    networks: tuple[nn.Module, ...]
    settings: tuple[Any, ...] = ()

    def digest(self) -> str:
        """Return a digest of the networks' classes, plain attributes, weights and buffers, and of the settings."""
        content = hashlib.sha256(repr(self.settings).encode())
        for network in self.networks:
            for name, part in network.named_modules():
                plain = {key: value for key, value in vars(part).items() if isinstance(value, _PLAIN)}
                content.update(repr((name, type(part).__name__, sorted(plain.items()))).encode())
            for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
                content.update(repr((name, tensor.dtype, tuple(tensor.shape))).encode())
                content.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        return content.hexdigest()


@runtime_checkable
class HasFrozenFeatures(Protocol):
    """A module whose training step asks the same of an image in every epoch.

    It takes the tensors from ``batch["frozen"]`` where they are, and computes them where they are not.
    """

    def frozen(self) -> Frozen:
        """Return what it computes of the images of a batch before anything that learns."""
        ...


@contextmanager
def remembering(networks: Iterable[nn.Module]) -> Iterator[None]:
    """Let frozen networks answer the images that they were asked about last from memory, within the block.

    On the CPU images are the same if their pixels are; on an accelerator, where comparing would wait for what it is
    at, if they are one tensor. What is answered is not to be changed in place.

    Args:
        networks: images (B, 3, H, W) to a tensor; rows may depend on each other.
    """
    with ExitStack() as stack:
        for network in networks:
            stack.enter_context(_remembering(network))
        yield


@contextmanager
def _remembering(network: nn.Module) -> Iterator[None]:
    forward, known = network.forward, deque[tuple[Tensor, Tensor]](maxlen=_REMEMBERED)

    def remembered(images: Tensor) -> Tensor:
        for seen, answer in known:
            if seen is images or (images.device.type == "cpu" and torch.equal(seen, images)):
                return answer
        known.append((images, forward(images)))
        return known[-1][1]

    network.forward = remembered  # type: ignore[method-assign]
    try:
        yield
    finally:
        del network.forward
