"""Acts some time after a signal, even while the main thread is in code that no handler can interrupt."""

import signal
import socket
import threading
from collections.abc import Callable
from typing import ClassVar


class LeadTime:
    """Calls a function in a thread of its own, some seconds after a signal has come.

    Python runs a handler in the main thread, between two of its instructions: clustering, or the wait for another
    process, may keep that for minutes. The number of the signal is written to a socket at once, and there the thread
    waits. The signal needs a handler of Python, of which nothing else is asked.

    Args:
        number: of the signal.
        seconds: from the signal to the call.
        act: what is called.
    """

    _waiting: ClassVar[list["LeadTime"]] = []
    _before: ClassVar[int] = -1  # where signals were written to before the first of them

    def __init__(self, number: int, seconds: float, act: Callable[[], None]):
        self._number, self._seconds, self._act = number, seconds, act
        self._over = threading.Event()
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        before = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        if not self._waiting:
            LeadTime._before = before
        self._waiting.append(self)
        threading.Thread(target=self._wait, name="lead time", daemon=True).start()

    def cancel(self) -> None:
        """Stop waiting: there is nothing left to do in time. Called by the main thread."""
        self._over.set()
        if self in self._waiting:
            self._waiting.remove(self)
            # Whoever began first may end first: signals go to the last that waits, never to a socket that is closed.
            last = self._waiting[-1]._writer.fileno() if self._waiting else self._before
            signal.set_wakeup_fd(last, warn_on_full_buffer=not self._waiting)
        self._writer.close()

    def _wait(self) -> None:
        with self._reader:
            while self._number not in (received := self._reader.recv(64)):
                if not received:
                    return
        if not self._over.wait(self._seconds):
            self._act()
