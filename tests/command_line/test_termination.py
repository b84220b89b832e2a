import os
import signal
import threading

import pytest

from command_line.termination import TERMINATED, Terminated, ended_by_sigterm


def test_sigterm_ends_with_143_and_the_handler_is_put_back():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated) as ended, ended_by_sigterm():
        signal.raise_signal(signal.SIGTERM)
    assert ended.value.code == TERMINATED == 143
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_second_signal_does_not_cut_short_what_the_first_began():
    done = []

    def work() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGTERM)
            done.append(True)

    with pytest.raises(Terminated), ended_by_sigterm():
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
