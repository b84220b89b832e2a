"""Progress where output is no terminal: a line now and then, in place of a bar that no file can show."""

import math
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TypeVar

Item = TypeVar("Item")
EVERY = 9.0  # seconds: whoever reads sees a line at least every ten
_guard = threading.Lock()
_last = -math.inf


def say(line: str) -> None:
    """Print a line of progress; the next one is due some seconds later, whoever prints it."""
    global _last
    with _guard:
        _last = time.monotonic()
        with suppress(OSError):  # nobody reads any more, which is no reason to end a run
            print(line, flush=True)


def seconds_until_due() -> float:
    """Return how many seconds may pass before the next line; not above 0 when it is due."""
    return _last + EVERY - time.monotonic()


def is_due() -> bool:
    """Return whether who has something new to say should say it now, a little before time."""
    return seconds_until_due() <= EVERY / 9


def restart_clock() -> None:
    """Have the first line come after a whole interval."""
    global _last
    with _guard:
        _last = time.monotonic()


def amount(done: int, total: float | None) -> str:
    """Return "3/10", or "3" where the total is not known."""
    return f"{done}" if total is None or math.isinf(total) else f"{done}/{int(total)}"


def duration(seconds: float) -> str:
    """Return seconds as "1:02:03" or "2:03"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def track(items: Iterable[Item], what: str, total: int | None = None, shown: bool = True) -> Iterator[Item]:
    """Yield items and show how many are done: as a bar in a terminal, elsewhere as a line every ten seconds.

    Args:
        items: of any kind.
        what: is done to them.
        total: how many there are, None if that is not known.
        shown: whether this process speaks for all.
    """
    if not shown:
        yield from items
    elif sys.stdout.isatty():
        from tqdm import tqdm

        yield from tqdm(items, desc=what, total=total, leave=False)
    else:
        began = time.monotonic()
        for done, item in enumerate(items):
            if done and is_due():
                passed = time.monotonic() - began
                left = f", {duration(passed / done * (total - done))} left" if total else ""
                say(f"{what} {amount(done, total)}, {done / passed:.3g} a second{left}")
            yield item
