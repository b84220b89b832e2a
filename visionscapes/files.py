"""Files that are there whole or not at all: everything that a run leaves is written through ``atomic_write``."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


@contextmanager
def atomic_write(path: Path, mode: str = "wb", *, durable: bool = False, **options: Any) -> Iterator[IO[Any]]:
    """Open a file that takes the place of ``path`` when the block ends, and vanishes if it ends with an error.

    The folder is made if it is missing. A device or a pipe, such as /dev/stdout, is written to as it is.

    Args:
        path: the file to write; what is there stays whole until the new one is.
        mode: "wb", or "w" for text, which is UTF-8 unless ``options`` say otherwise.
        durable: wait until the content is on the disk, so that it survives a loss of power too.
        options: of ``open``.

    Raises:
        OSError: no space, no permission.
    """
    if mode == "w":
        options = {"encoding": "utf-8", **options}
    if path.exists() and not path.is_file():
        with path.open(mode, **options) as file:
            yield file
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # The process' number keeps writers apart; the name is cut, for it may have no room for more letters.
    name = os.fsdecode(os.fsencode(path.name)[:200])
    unfinished = path.with_name(f".{name}.{os.getpid()}.partial")
    try:
        with unfinished.open(mode, **options) as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_text(path: Path, text: str, **options: Any) -> None:
    """Write a text file, whole or not at all; ``options`` are those of ``open``."""
    with atomic_write(path, "w", **options) as file:
        file.write(text)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all."""
    with atomic_write(path) as file:
        file.write(content)


def write_json(path: Path, content: Any, indent: int | None = 2) -> None:
    """Write plain values as JSON, whole or not at all."""
    write_text(path, json.dumps(content, indent=indent) + "\n")
