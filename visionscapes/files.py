"""Files that are there whole or not at all: everything that a run leaves is written through ``atomic_write``."""

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NO_PERMISSION = {errno.EACCES, errno.EPERM, errno.EROFS}
NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ESTALE}
_lasting: list[Path] = []


@contextmanager
def lasting(folder: Path) -> Iterator[None]:
    """Within the block ``folder`` is never made anew: once it is deleted, what is written into it fails.

    Args:
        folder: absolute path of a folder that exists.
    """
    _lasting.append(folder)
    try:
        yield
    finally:
        _lasting.remove(folder)


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
        OSError: no space, no permission, or the folder of the run is gone; it has the name of the file.
    """
    if mode == "w":
        options = {"encoding": "utf-8", **options}
    if path.exists() and not path.is_file():
        with named_errors(path), path.open(mode, **options) as file:
            yield file
        return
    # The process' number keeps writers apart; the name is cut, for it may have no room for more letters.
    name = os.fsdecode(os.fsencode(path.name)[:200])
    unfinished = path.with_name(f".{name}.{os.getpid()}.partial")
    with named_errors(path, unfinished):
        make_folder(path.parent)
        try:
            with unfinished.open(mode, **options) as file:
                yield file
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            os.replace(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)


@contextmanager
def named_errors(path: Path, unfinished: Path | None = None) -> Iterator[None]:
    """Give an error of writing the name of the file, which the system leaves out where a disk is full.

    Args:
        path: the file that is written.
        unfinished: what it is called before it is whole, which says nothing to a reader.

    Raises:
        OSError: that of the block, with its name.
    """
    try:
        yield
    except OSError as error:
        if error.filename in (None, str(unfinished), str(path.parent)):
            error.filename, error.filename2 = str(path), None
        raise
    except RuntimeError as error:
        # torch reports a failed write as an error of its archive writer; the cause is in its context.
        reason = error.__context__
        if not isinstance(reason, OSError) or reason.errno not in NO_SPACE | NO_PERMISSION:
            raise
        raise OSError(reason.errno, reason.strerror, str(path)) from error


def remedy(error: OSError) -> str | None:
    """Return what helps against an error of writing, in a few words; None if it is an error of another kind."""
    if error.errno in NO_SPACE:
        return "free some space"
    if error.errno in NO_PERMISSION:
        return "make the folder writable"
    if error.errno in NOT_THERE:
        return "see to it that nothing removes the folder"
    return None


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


def overwrite_bytes(path: Path, content: bytes) -> bool:
    """Write over a small file where a full disk has no room for a second one; return whether it had the room.

    Args:
        path: a file that exists.
        content: what it is to hold; nothing is written if that takes more than the file already occupies.

    Raises:
        OSError: no permission.
    """
    descriptor = os.open(path, os.O_WRONLY)
    try:
        if len(content) > os.fstat(descriptor).st_blocks * 512:
            return False
        written = os.pwrite(descriptor, content, 0)
        os.ftruncate(descriptor, written)
        return written == len(content)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, unless it is in a run folder that was deleted while the run lasts.

    Raises:
        OSError: it is, or the folder cannot be made.
    """
    for kept in _lasting:
        if folder.is_relative_to(kept) and not kept.is_dir():
            raise FileNotFoundError(errno.ENOENT, "the folder of the run was deleted", str(folder))
    folder.mkdir(parents=True, exist_ok=True)
