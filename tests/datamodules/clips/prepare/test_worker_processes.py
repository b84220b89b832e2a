import os
import signal
import time
from contextlib import closing

import pytest

from datamodules.clips.prepare.worker_processes import Died, in_processes
from visionscapes.media.errors import ClipError


def work(task):
    if task == "dies":
        os.kill(os.getpid(), signal.SIGUSR1)
    if task == "is killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if task == "exits":
        os._exit(3)
    if task == "fails":
        raise ClipError("no face in a.mp4", "no face")
    if isinstance(task, float):
        time.sleep(task)
    return task, os.getpid()


@pytest.mark.parametrize("workers", [1, 3])
def test_each_task_is_done_once(workers):
    outcomes = dict(in_processes(work, list(range(10)), workers))
    assert {index: task for index, (task, _) in outcomes.items()} == {index: index for index in range(10)}
    assert len({process for _, process in outcomes.values()}) <= workers


def test_there_may_be_nothing_to_do():
    assert list(in_processes(work, [], 2)) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_a_process_that_dies_takes_its_task_alone(workers):
    tasks = ["a", "dies", "b", "is killed", "exits", "c"]
    outcomes = dict(in_processes(work, tasks, workers))
    assert [tasks[index] for index, each in sorted(outcomes.items()) if not isinstance(each, Died)] == ["a", "b", "c"]
    assert outcomes[1].how == "its process died of signal 10"
    assert outcomes[3].how == "its process was killed, perhaps for lack of memory"
    assert outcomes[4].how == "its process ended with status 3"


def test_an_error_ends_all_and_is_raised_as_it_was():
    started = time.monotonic()
    with pytest.raises(ClipError, match=r"no face in a\.mp4") as raised:
        list(in_processes(work, [60.0, "fails"], 2))
    assert raised.value.reason == "no face"
    assert time.monotonic() - started < 10


def test_processes_end_when_nobody_asks_any_more():
    outcomes = in_processes(work, ["a", 60.0, "b"], 2)
    with closing(outcomes):
        index, (_, process) = next(outcomes)
    assert index == 0
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def orphaned(task):
    time.sleep(0.1)
    with open(task, "a") as file:
        file.write(f"{os.getpid()}\n")
    return task


def test_processes_end_when_their_parent_is_killed(tmp_path):
    """They finish what they do, and wait for nobody."""
    child = os.fork()
    if child == 0:
        list(in_processes(orphaned, [str(tmp_path / f"{index % 2}") for index in range(1000)], 2))
        os._exit(0)
    files = [tmp_path / "0", tmp_path / "1"]
    deadline = time.monotonic() + 20
    while not all(file.is_file() and file.read_text() for file in files):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    processes = {int(line) for file in files for line in file.read_text().split()}
    while any(alive(process) for process in processes):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{process}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] != "Z"
