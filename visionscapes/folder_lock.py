"""One command at a time in a folder: who writes there holds a lock, and the next one is told who that is."""

import errno
import fcntl
import json
import os
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from visionscapes.errors import UserError

LOCK = ".lock"
HELD = (errno.EACCES, errno.EAGAIN)
_held_here: set[Path] = set()  # the kernel would give a process its own lock a second time
_guard = threading.Lock()


class InUseError(UserError):
    """Another command writes into the folder."""


class FolderLock:
    """The lock of a folder that one command writes to; held until `release` or the end of the process.

    It is a record lock of POSIX on ``.lock``. The kernel takes it back when the process ends, however it ends, and
    hands it to no child, so that a loader's worker that outlives a killed run keeps nobody out. Network file systems
    pass it on to the other nodes; one that refuses to lock is told in a line. The file names the holder for the
    message alone, and is removed with the lock.

    Args:
        folder: that exists.
        job: name of the SLURM or torchrun job, None outside of one.
        restart: how often the job was requeued.
        remedy: what the next one is told to do instead of waiting.

    Raises:
        InUseError: another command holds it.
        OSError: the folder cannot be written to.
    """

    def __init__(self, folder: Path, job: str | None = None, restart: int = 0, *, remedy: str = "take another folder"):
        self._path, self._remedy = folder / LOCK, remedy
        self._holder = {"host": socket.gethostname(), "pid": os.getpid(), "job": job, "restart": restart}
        self._holder["since"] = datetime.now().astimezone().isoformat(timespec="seconds")
        with _guard:
            if self._path in _held_here:
                raise _in_use(folder, self._holder, remedy)
            _held_here.add(self._path)
        try:
            self._descriptor: int | None = self._take(folder)
        except BaseException:
            _held_here.discard(self._path)
            raise

    def release(self) -> None:
        """Give the folder free; does nothing the second time."""
        with _guard:
            if self._descriptor is None:
                return
            with suppress(OSError):  # the folder may be gone
                self._path.unlink()
            os.close(self._descriptor)
            self._descriptor = None
            _held_here.discard(self._path)

    def _take(self, folder: Path) -> int:
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                self._lock(descriptor, folder)
                # Who held it before may have removed the file, and a third command locked a new one.
                if self._path.stat().st_ino == os.fstat(descriptor).st_ino:
                    with suppress(OSError):  # on a full disk the next one is told less
                        os.ftruncate(descriptor, 0)
                        os.pwrite(descriptor, json.dumps(self._holder).encode(), 0)
                    return descriptor
            except FileNotFoundError:
                pass
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)

    def _lock(self, descriptor: int, folder: Path) -> None:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = _holder_of(descriptor)
            if error.errno in HELD:
                if not self._is_over(holder):
                    raise _in_use(folder, holder, self._remedy) from None
                self._path.unlink(missing_ok=True)  # a new file, on which nobody has a lock
            elif holder.get("host") == self._holder["host"] and _lives(holder.get("pid")):
                raise _in_use(folder, holder, self._remedy) from None
            else:
                print(f"note: {folder} cannot be locked ({error.strerror}): see to it that no other command uses it")

    def _is_over(self, holder: Mapping[str, Any]) -> bool:
        """Whether a lock is left from a node that has died: SLURM begins a job anew when its processes have ended."""
        job, restart = self._holder["job"], self._holder["restart"]
        return job is not None and holder.get("job") == job and holder.get("restart", restart) < restart


def in_use(folder: Path) -> bool:
    """Return whether a command holds the lock of a folder, without touching it."""
    path = folder / LOCK
    with _guard:
        if path in _held_here:
            return True
        try:
            descriptor = os.open(path, os.O_RDWR)
        except OSError:
            return False
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return error.errno in HELD or _lives(_holder_of(descriptor).get("pid"))
        finally:
            os.close(descriptor)  # which gives the lock back
    return False


def _holder_of(descriptor: int) -> dict[str, Any]:
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
    except (OSError, ValueError):
        return {}
    return holder if isinstance(holder, dict) else {}


def _lives(pid: Any) -> bool:
    try:
        os.kill(int(pid), 0)
    except (TypeError, ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return int(pid) != os.getpid()


def _in_use(folder: Path, holder: Mapping[str, Any], remedy: str) -> InUseError:
    who = "another command"
    if holder:
        job = f"{holder['job']}, " if holder.get("job") else ""
        who = f"{job}process {holder.get('pid')} on {holder.get('host')}, since {holder.get('since')}"
    return InUseError(f"{folder} is in use by {who}: wait for its end, or {remedy}")
