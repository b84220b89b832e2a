import io
import sys
import threading
import time

import pytest

from visionscapes import progress
from visionscapes.progress import EVERY, amount, duration, is_due, restart_clock, say, seconds_until_due, track


def test_a_reader_sees_a_line_at_least_every_ten_seconds():
    assert EVERY < 10


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 0.2)
    restart_clock()


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (61.4, "1:01"), (3599.6, "1:00:00"), (90_000, "25:00:00")])
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_amounts():
    assert (amount(3, 10), amount(3, None), amount(3, float("inf"))) == ("3/10", "3", "3")


def test_a_line_puts_off_the_next_one_whoever_says_it(capsys):
    time.sleep(0.25)
    assert is_due()
    assert seconds_until_due() <= 0
    say("here")
    assert not is_due()
    assert capsys.readouterr().out == "here\n"


def test_nobody_reads(monkeypatch):
    class Closed(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Closed())
    say("into a closed pipe")


def test_items_are_counted_now_and_then(capsys):
    assert list(track((time.sleep(0.02) or number for number in range(50)), "adding", 50)) == list(range(50))
    lines = capsys.readouterr().out.splitlines()
    assert 3 <= len(lines) <= 6, "one in about 0.2 s"
    assert all(line.startswith("adding ") and "/50, " in line and line.endswith(" left") for line in lines)


def test_nothing_is_said_of_quick_work_nor_by_other_processes(capsys):
    assert list(track(range(1000), "adding")) == list(range(1000))
    assert list(track((time.sleep(0.03) or number for number in range(12)), "adding", shown=False)) == list(range(12))
    assert capsys.readouterr().out == ""


def test_a_terminal_gets_a_bar(monkeypatch, capsys):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stdout", Terminal())
    assert list(track(range(3), "adding", 3)) == [0, 1, 2]
    assert "adding" in capsys.readouterr().err


def test_threads_may_speak_at_once(capsys):
    threads = [threading.Thread(target=say, args=(f"line {number}",)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(capsys.readouterr().out.splitlines()) == sorted(f"line {number}" for number in range(20))
