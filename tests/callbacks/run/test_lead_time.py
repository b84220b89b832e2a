import hashlib
import signal
import time

import pytest

from callbacks.run.lead_time import LeadTime


@pytest.fixture(autouse=True)
def handler():
    """A handler, without which the interpreter does not hear of the signal."""
    heard = []
    before = signal.signal(signal.SIGUSR2, lambda *_: heard.append(time.monotonic()))
    yield heard
    signal.signal(signal.SIGUSR2, before)


def in_c_code(seconds: float) -> None:
    """Spend at least this time in one function of C, between two instructions of Python."""
    began = time.monotonic()
    count = 200_000
    while time.monotonic() < began + seconds:
        hashlib.pbkdf2_hmac("sha256", b"", b"", count)
        count *= 2


def test_acts_in_time_while_the_main_thread_is_in_c_code(handler):
    acted = []
    lead = LeadTime(signal.SIGUSR2, 0.3, lambda: acted.append(time.monotonic()))
    signal.raise_signal(signal.SIGUSR2)
    began = time.monotonic()
    in_c_code(1.0)
    lead.cancel()
    assert 0.2 < acted[0] - began < 0.8


def test_other_signals_do_not_count_and_nothing_happens_after_the_end():
    acted = []
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    lead = LeadTime(signal.SIGUSR2, 0.05, lambda: acted.append(True))
    signal.raise_signal(signal.SIGALRM)
    time.sleep(0.15)
    assert not acted
    signal.signal(signal.SIGALRM, before)
    lead.cancel()
    signal.raise_signal(signal.SIGUSR2)
    time.sleep(0.15)
    assert not acted


def test_work_that_ends_in_time_is_left_alone():
    acted = []
    lead = LeadTime(signal.SIGUSR2, 0.2, lambda: acted.append(True))
    signal.raise_signal(signal.SIGUSR2)
    time.sleep(0.05)
    lead.cancel()
    time.sleep(0.3)
    assert not acted


def test_one_that_began_first_may_end_first():
    acted = []
    first = LeadTime(signal.SIGUSR2, 0.1, lambda: acted.append("first"))
    second = LeadTime(signal.SIGUSR2, 0.1, lambda: acted.append("second"))
    first.cancel()
    signal.raise_signal(signal.SIGUSR2)
    time.sleep(0.5)
    assert acted == ["second"]
    second.cancel()
    second.cancel()
    assert signal.set_wakeup_fd(-1) == -1


def test_the_interpreter_is_left_as_it_was():
    lead = LeadTime(signal.SIGUSR2, 1, lambda: None)
    lead.cancel()
    assert signal.set_wakeup_fd(-1) == -1
