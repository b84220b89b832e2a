import os
import signal
import threading

import pytest

from command_line.run import termination
from command_line.run.termination import TERMINATED, Terminated, before_exit, ended_by_sigterm, raised_by_sigterm


class Left(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def left(monkeypatch):
    """What happens at the end of the process, which is only told."""
    told = []

    def leave(status):
        told.append(status)
        raise Left

    monkeypatch.setattr(termination.os, "_exit", leave)
    return told


def test_sigterm_ends_the_process_even_where_an_exception_would_be_swallowed(left):
    before = signal.getsignal(signal.SIGTERM)

    def start() -> None:
        before_exit(lambda: left.append("the folder"))
        before_exit(lambda: left.append("the manifest"))
        before_exit(lambda: 1 / 0)
        signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Left), ended_by_sigterm():
        start()
    assert left == ["the manifest", "the folder", TERMINATED]
    assert signal.getsignal(signal.SIGTERM) == before
    with pytest.raises(Left), ended_by_sigterm():
        signal.raise_signal(signal.SIGTERM)
    assert left[3:] == [TERMINATED], "another command has nothing of the first"


def test_around_a_trainer_it_raises():
    with pytest.raises(Terminated) as ended, ended_by_sigterm(), raised_by_sigterm():
        signal.raise_signal(signal.SIGTERM)
    assert ended.value.code == TERMINATED == 143


def test_a_second_signal_does_not_cut_short_what_the_first_began():
    done = []

    def work() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGTERM)
            done.append(True)

    with pytest.raises(Terminated), ended_by_sigterm(), raised_by_sigterm():
        work()
    assert done


def test_the_trainers_handler_counts_while_it_is_there():
    calls = []
    with ended_by_sigterm():
        ours = signal.getsignal(signal.SIGTERM)
        signal.signal(signal.SIGTERM, lambda *args: (calls.append(args), ours(*args)))
        signal.raise_signal(signal.SIGTERM)
        signal.signal(signal.SIGTERM, ours)
    assert len(calls) == 1


def test_a_forked_worker_ends_by_itself():
    with ended_by_sigterm():
        worker = os.fork()
        if worker == 0:
            signal.raise_signal(signal.SIGTERM)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]) == TERMINATED


def test_other_threads_are_left_alone():
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def work():
        with ended_by_sigterm():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
