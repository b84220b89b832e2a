"""SIGTERM before, between and after what the Trainer runs: the command ends at once, with 143."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

TERMINATED = 143


class Terminated(SystemExit):
    """SIGTERM came while nothing was trained or evaluated."""


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Within the block SIGTERM raises `Terminated`.

    While a Trainer runs, its own handler counts, which waits for the end of the batch and calls the one that it has
    found: this one then does nothing.
    """

    def end(number: int, frame: FrameType | None) -> None:
        if os.getpid() != process:  # a worker that was forked from this one
            os._exit(TERMINATED)
        if signal.getsignal(number) is end:
            signal.signal(number, signal.SIG_IGN)  # what follows is short, and not to be interrupted by another one
            raise Terminated(TERMINATED)

    if threading.current_thread() is not threading.main_thread():  # where no handler can be set
        yield
        return
    process, before = os.getpid(), signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)
