"""Acts some time after a signal, even while the main thread is in code that no handler can interrupt."""

import signal
import socket
import threading
from collections.abc import Callable


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

    def __init__(self, number: int, seconds: float, act: Callable[[], None]):
        self._number, self._seconds, self._act = number, seconds, act
        self._over = threading.Event()
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._before = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._wait, name="lead time", daemon=True).start()

    def cancel(self) -> None:
        """Stop waiting: there is nothing left to do in time. Called by the main thread."""
        self._over.set()
        signal.set_wakeup_fd(self._before)
        self._writer.close()

    def _wait(self) -> None:
        with self._reader:
            while self._number not in (received := self._reader.recv(64)):
                if not received:
                    return
        if not self._over.wait(self._seconds):
            self._act()
