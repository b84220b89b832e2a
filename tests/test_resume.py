"""Killed with SIGKILL and resumed, through the real entry point: nothing may differ from the uninterrupted run."""

import signal

import pytest

from tests.helpers.runs import events, parameters, run_apart, run_here

FOLDER = "resumemodule"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("processes", "num_workers", "kill_at"),
    [(1, 0, 3), (1, 2, 7), (2, 0, 7), (2, 2, 3)],
    ids=["in the first epoch", "two workers", "two processes", "two processes with two workers each"],
)
def test_samples_and_losses_after_a_kill_equal_the_uninterrupted_run(tmp_path, processes, num_workers, kill_at):
    options = ["--data.batch_size", str(4 // processes), "--data.num_workers", str(num_workers)]
    if processes == 1:
        full = run_here(tmp_path, "full", "--data.batch_size", "4")  # the number of workers must not matter either
    else:
        assert run_apart(tmp_path, "full", *options, processes=processes).returncode == 0
        full = tmp_path / FOLDER / "full"

    killed = run_apart(tmp_path, "killed", *options, "--model.kill_at", str(kill_at), processes=processes)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    folder = tmp_path / FOLDER / "killed"
    begun = [events(folder, rank) for rank in range(processes)]

    if processes == 1:
        run_here(tmp_path, "killed", *options, "--resume")
    else:
        resumed = run_apart(tmp_path, "killed", *options, "--resume", processes=processes)
        assert resumed.returncode == 0, resumed.stderr
    for rank in range(processes):
        expected, before = events(full, rank), begun[rank]
        after = events(folder, rank)[len(before) :]
        assert before == expected[: len(before)]
        assert after == expected[len(expected) - len(after) :]
        repeated = len(before) + len(after) - len(expected)
        assert 0 <= repeated <= 1  # a checkpoint every second step
        assert sum(event[0] == "train" for event in after) < 10
    ours, theirs = parameters(folder), parameters(full)
    assert ours.keys() == theirs.keys()
    assert all(ours[name].equal(theirs[name]) for name in ours)
    assert (folder / "metrics.csv").read_text() == (full / "metrics.csv").read_text()
