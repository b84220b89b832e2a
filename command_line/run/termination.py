"""SIGTERM before, between and after what the Trainer runs: the command ends at once, with 143."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

TERMINATED = 143
_acts: list[Callable[[], object]] = []
_gentle = [False]


class Terminated(SystemExit):
    """SIGTERM came while nothing was trained or evaluated."""


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Within the block SIGTERM ends the process, after what was registered with `before_exit`.

    It raises nothing: an exception in the middle of an import becomes an ImportError there, which many packages take
    for a part that is not installed. While a Trainer runs, its own handler counts, which waits for the end of the batch
    and calls the one that it has found: this one then does nothing.
    """

    def end(number: int, frame: FrameType | None) -> None:
        if os.getpid() != process:  # a worker that was forked from this one
            os._exit(TERMINATED)
        if signal.getsignal(number) is not end:
            return
        signal.signal(number, signal.SIG_IGN)  # what follows is short, and not to be interrupted by another one
        if _gentle[-1]:
            raise Terminated(TERMINATED)
        for act in [*reversed(_acts), sys.stdout.flush, sys.stderr.flush]:
            with suppress(Exception):  # the others have their turn
                act()
        os._exit(TERMINATED)

    if threading.current_thread() is not threading.main_thread():  # where no handler can be set
        yield
        return
    process, before = os.getpid(), signal.signal(signal.SIGTERM, end)
    acts = len(_acts)
    try:
        yield
    finally:
        del _acts[acts:]
        signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)


@contextmanager
def raised_by_sigterm() -> Iterator[None]:
    """Within the block SIGTERM raises `Terminated`: a Trainer has workers and loggers to take down."""
    _gentle.append(True)
    try:
        yield
    finally:
        _gentle.pop()


def before_exit(act: Callable[[], object]) -> None:
    """Have SIGTERM call ``act`` before it ends the process, the last one first."""
    _acts.append(act)
