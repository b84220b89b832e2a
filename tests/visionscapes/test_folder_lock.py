import errno
import fcntl
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from visionscapes.folder_lock import LOCK, FolderLock, InUseError, in_use

ROOT = Path(__file__).parents[2]
HOLD = """
import os, sys, time
from pathlib import Path
from visionscapes.folder_lock import FolderLock
lock = FolderLock(Path(sys.argv[1]), *([sys.argv[2], int(sys.argv[3])] if sys.argv[2:] else []))
if os.fork() == 0:
    time.sleep(60)  # a loader's worker, which outlives the run
    os._exit(0)
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Return what starts a process that locks the folder, with a child; ends both."""
    started = []

    def start(*job: str) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path), *job],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_the_second_is_told_who_is_first(tmp_path, holder):
    process = holder("job-42", "0")
    with pytest.raises(InUseError, match=rf"in use by job-42, process {process.pid} on \S+, since 20\S+: wait"):
        FolderLock(tmp_path)
    with pytest.raises(InUseError):
        FolderLock(tmp_path, "job-42", 0)
    with pytest.raises(InUseError, match="or call yours another name"):
        FolderLock(tmp_path, remedy="call yours another name")


def test_a_crash_leaves_no_lock_even_while_its_children_live(tmp_path, holder):
    process = holder()
    process.kill()
    process.wait()
    os.killpg(process.pid, 0)  # raises if the child is gone
    assert (tmp_path / LOCK).exists()
    FolderLock(tmp_path).release()
    assert not (tmp_path / LOCK).exists()


def test_a_requeued_job_takes_the_lock_that_a_dead_node_has_left(tmp_path, holder):
    """Some network file systems keep the locks of a node that has died; here its process stands for them."""
    holder("job-42", "0")
    lock = FolderLock(tmp_path, "job-42", 1)
    with pytest.raises(InUseError):
        FolderLock(tmp_path, "job-43", 1)
    lock.release()


def test_a_process_does_not_lock_twice_and_releases_once(tmp_path):
    lock = FolderLock(tmp_path)
    with pytest.raises(InUseError):
        FolderLock(tmp_path)
    lock.release()
    other = FolderLock(tmp_path)
    lock.release()
    with pytest.raises(InUseError):
        FolderLock(tmp_path)
    other.release()


def test_release_in_a_deleted_folder(tmp_path):
    lock = FolderLock(tmp_path)
    (tmp_path / LOCK).unlink()
    lock.release()
    FolderLock(tmp_path).release()  # the folder is free for the next command, and nothing is left in it
    assert list(tmp_path.iterdir()) == []


def test_a_file_without_a_holder_is_nobodys(tmp_path):
    (tmp_path / LOCK).write_text("{half")
    lock = FolderLock(tmp_path)
    assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()
    lock.release()
    assert not (tmp_path / LOCK).exists()


def refuse(monkeypatch) -> None:
    def lockf(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "lockf", lockf)


def test_a_file_system_without_locks_is_told_and_a_living_process_respected(tmp_path, monkeypatch, capsys, holder):
    process = holder()
    refuse(monkeypatch)
    with pytest.raises(InUseError, match=f"process {process.pid}"):
        FolderLock(tmp_path)
    process.kill()
    process.wait()
    FolderLock(tmp_path).release()
    assert "cannot be locked (No locks available)" in capsys.readouterr().out


def take_and_count(folder: str, counted: str) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            lock = FolderLock(Path(folder))
        except InUseError:
            continue
        number = Path(counted).read_text()
        time.sleep(0.002)
        Path(counted).write_text(str(int(number) + 1))
        lock.release()
        return


def test_of_many_that_wait_one_has_it_at_a_time(tmp_path):
    counted = tmp_path / "counted"
    counted.write_text("0")
    (tmp_path / "run").mkdir()
    context = multiprocessing.get_context("fork")
    workers = [
        context.Process(target=take_and_count, args=(str(tmp_path / "run"), str(counted)), daemon=True)
        for _ in range(12)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert json.loads(counted.read_text()) == 12
    assert not (tmp_path / "run" / LOCK).exists()


def test_who_asks_whether_a_folder_is_in_use_takes_no_lock(tmp_path, holder):
    assert not in_use(tmp_path)
    assert not in_use(tmp_path / "nowhere")
    lock = FolderLock(tmp_path)
    assert in_use(tmp_path)
    lock.release()
    assert not in_use(tmp_path)
    (tmp_path / LOCK).write_text("{}")  # of a command that was killed
    assert not in_use(tmp_path)
    process = holder()
    assert in_use(tmp_path)
    process.kill()
    process.wait()
    assert not in_use(tmp_path)
