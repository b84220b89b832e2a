"""Tensors of many images in one file: written once, whole or not at all, read through the memory map of the system."""

import math
import os
import time
import zlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from visionscapes.files import atomic_write

SUFFIX = ".features"
_CHECKSUM = 4  # bytes of CRC-32 at the end
_ABANDONED = 3600  # seconds after which a file that nobody goes on writing is what a killed process has left


class Layout:
    """Which tensors belong to an image, and where their bytes lie in its row.

    They come back with the strides that they had: a convolution of channels that lie next to each other takes another
    kernel than one of channels that do not, and sums in another order.

    Args:
        example: tensors (B, ...) of a batch.
    """

    def __init__(self, example: tuple[Tensor, ...]):
        self.shapes = [tuple(tensor.shape[1:]) for tensor in example]
        self.dtypes = [tensor.dtype for tensor in example]
        self.strides = [_dense_strides(tensor[0]) for tensor in example]
        self.sizes = [math.prod(each.shape[1:]) * each.element_size() for each in example]

    @property
    def row(self) -> int:
        """Return the bytes of an image."""
        return sum(self.sizes)

    def pack(self, tensors: tuple[Tensor, ...]) -> Tensor:
        """Return tensors (B, ...) as rows (B, bytes) uint8 on the CPU."""
        rows = torch.empty(len(tensors[0]), self.row, dtype=torch.uint8)
        parts = zip(rows.split(self.sizes, 1), tensors, self.strides, strict=True)
        for part, tensor, strides in parts:
            count = math.prod(tensor.shape[1:])
            dense = torch.empty_strided(tensor.shape, (count, *strides), dtype=tensor.dtype).copy_(tensor.detach())
            part.copy_(dense.as_strided((len(tensor), count), (count, 1)).view(torch.uint8))
        return rows

    def unpack(self, rows: Tensor) -> tuple[Tensor, ...]:
        """Return the tensors (B, ...) of rows (B, bytes)."""
        parts = zip(rows.split(self.sizes, 1), self.dtypes, self.shapes, self.strides, strict=True)
        return tuple(
            part.contiguous().view(dtype).as_strided((len(rows), *shape), (math.prod(shape), *strides))
            for part, dtype, shape, strides in parts
        )


def write_rows(path: Path, batches: Iterable[Tensor]) -> None:
    """Write rows (B, bytes) uint8 of all images in their order.

    Raises:
        OSError: no space, no permission.
    """
    checksum = 0
    with atomic_write(path) as file:
        for rows in batches:
            content = rows.numpy().tobytes()
            checksum = zlib.crc32(content, checksum)
            file.write(content)
        file.write(checksum.to_bytes(_CHECKSUM))


def read_rows(path: Path, count: int, row: int) -> Tensor | None:
    """Return the rows (count, bytes) uint8 of a file, mapped into memory; None if it is missing, short or damaged."""
    size = count * row
    try:
        if path.stat().st_size != size + _CHECKSUM:
            return None
        with suppress(PermissionError):
            os.utime(path)  # the file that was used last is the last to go
        content = torch.from_file(str(path), shared=False, size=size + _CHECKSUM, dtype=torch.uint8)
    except (OSError, RuntimeError):  # torch's complaint about a file that cannot be opened
        return None
    if zlib.crc32(content[:size].numpy().data) != int.from_bytes(content[size:].numpy().tobytes()):
        return None
    return content[:size].view(count, row)


def _dense_strides(tensor: Tensor) -> tuple[int, ...]:
    """Return the strides of a tensor, or of a contiguous one where it leaves gaps."""
    reach = 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return tensor.stride() if reach == tensor.numel() else tensor.contiguous().stride()


def sweep(folder: Path) -> None:
    """Delete what killed processes have left of files that they were writing; the folder need not exist."""
    for partial in folder.glob(f".*{SUFFIX}.*.partial"):
        with suppress(FileNotFoundError):  # another process sweeps too
            if time.time() - partial.stat().st_mtime > _ABANDONED:
                partial.unlink()


def make_room(folder: Path, wanted: int, limit: int) -> None:
    """Delete files, those that were used longest ago first, until another fits.

    Who still reads a deleted file goes on reading it.

    Args:
        folder: of the files; need not exist.
        wanted: bytes of the new file.
        limit: bytes of all files.
    """
    found = []
    for path in folder.glob(f"*{SUFFIX}"):
        with suppress(FileNotFoundError):  # another process makes room too
            found.append((path.stat(), path))
    total = wanted
    for status, path in sorted(found, key=lambda each: -each[0].st_mtime_ns):
        total += status.st_size
        if total > limit:
            path.unlink(missing_ok=True)
