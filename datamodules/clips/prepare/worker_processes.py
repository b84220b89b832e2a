"""Work on many files in processes of which any may die: a damaged file can take a decoder down, or all memory."""

import os
import signal
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

Task = TypeVar("Task")
Outcome = TypeVar("Outcome")
PATIENCE = 5.0  # seconds that a process has to clean up
LOOK_UP = 1.0  # seconds after which one that waits looks whether its parent is still there


class Died:
    """The outcome of a task whose process died.

    Attributes:
        how: in words.
    """

    def __init__(self, exit_code: int | None):
        if exit_code == -signal.SIGKILL:
            self.how = "its process was killed, perhaps for lack of memory"
        elif exit_code is not None and exit_code < 0:
            self.how = f"its process died of signal {-exit_code}"
        else:
            self.how = f"its process ended with status {exit_code}"


class _Worker(Generic[Task, Outcome]):
    def __init__(self, work: Callable[[Task], Outcome]):
        # Forked, where that is the way of the system, so that nothing is imported again for each.
        context = get_context()
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, work, os.getpid()))
        self.process.start()
        theirs.close()
        self.index = -1

    def begin(self, index: int, task: Task) -> None:
        self.index = index
        with suppress(OSError):  # it died while it waited, which shows when its outcome is asked for
            self.connection.send(task)

    def outcome(self) -> Any:
        """Return what it has made, or how it died; raise what went wrong."""
        try:
            error, outcome = self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            return Died(self.process.exitcode)
        if error is not None:
            raise error
        return outcome

    def end(self) -> None:
        self.connection.close()
        self.process.terminate()
        self.process.join(PATIENCE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def in_processes(
    work: Callable[[Task], Outcome], tasks: Sequence[Task], workers: int
) -> Generator[tuple[int, "Outcome | Died"], None, None]:
    """Yield the outcomes of tasks as they come, with the number of each task.

    When the iterator is closed, or ends with an error, the processes are ended.

    Args:
        work: done to each task; an exception that it raises is raised here.
        tasks: can be pickled, as can the outcomes.
        workers: processes.
    """
    waiting = iter(range(len(tasks)))
    running: list[_Worker[Task, Outcome]] = []
    try:
        for index in waiting:
            running.append(_Worker(work))
            running[-1].begin(index, tasks[index])
            if len(running) == workers:
                break
        while running:
            ready = wait([worker.connection for worker in running])
            for worker in [worker for worker in running if worker.connection in ready]:
                index, outcome = worker.index, worker.outcome()
                following = next(waiting, None)
                if following is None or isinstance(outcome, Died):
                    running.remove(worker)
                    worker.end()
                if following is not None:
                    if isinstance(outcome, Died):
                        worker = _Worker(work)
                        running.append(worker)
                    worker.begin(following, tasks[following])
                yield index, outcome
    finally:
        for worker in running:
            worker.end()


def _serve(connection: Connection, work: Callable[[Any], Any], parent: int) -> None:
    """Do one task after the other until the parent closes the connection, or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes, and the parent ends this one
    signal.signal(signal.SIGTERM, _leave)
    with suppress(EOFError, OSError):
        while True:
            # Not by the end of the connection alone, which processes that were forked later hold open as well.
            while not connection.poll(LOOK_UP):
                if os.getppid() != parent:
                    return
            task = connection.recv()
            try:
                message: tuple[Exception | None, Any] = (None, work(task))
            except Exception as error:
                message = (error, None)
            connection.send(message)


def _leave(*_: Any) -> None:
    raise SystemExit(0)  # by way of whatever cleans up
