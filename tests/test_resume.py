"""Killed with SIGKILL and resumed, through the real entry point: nothing may differ from the uninterrupted run."""

import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.helpers.runs import events, lift_words, parameters, run_apart, run_here, start, words

pytestmark = pytest.mark.slow


def assert_same_result(ours: Path, theirs: Path) -> None:
    assert (ours / "metrics.csv").read_text() == (theirs / "metrics.csv").read_text()
    ours_state, theirs_state = parameters(ours), parameters(theirs)
    assert ours_state.keys() == theirs_state.keys()
    assert all(ours_state[name].equal(theirs_state[name]) for name in ours_state)


@pytest.mark.parametrize(
    ("processes", "num_workers", "kill_at"),
    [(1, 0, 3), (1, 2, 7), (2, 2, 7)],
    ids=["one process", "one process with two workers", "two processes with two workers each"],
)
def test_samples_and_losses_after_a_kill_equal_the_uninterrupted_run(tmp_path, processes, num_workers, kill_at):
    options = ["--data.batch_size", str(4 // processes), "--data.num_workers", str(num_workers)]
    killed = words(tmp_path, "killed", *options, processes=processes)
    status, stderr = run_apart([*killed, "--model.kill_at", str(kill_at)])
    assert status == -signal.SIGKILL, stderr
    folder, full = tmp_path / "resumemodule" / "killed", tmp_path / "resumemodule" / "full"
    begun = [events(folder, rank) for rank in range(processes)]

    if processes == 1:
        run_here(words(tmp_path, "full"))  # without workers: their number must not matter either
        run_here([*killed, "--resume"])
    else:
        for command in (words(tmp_path, "full", *options, processes=processes), [*killed, "--resume"]):
            status, stderr = run_apart(command)
            assert status == 0, stderr
    for rank in range(processes):
        expected, before = events(full, rank), begun[rank]
        after = events(folder, rank)[len(before) :]
        assert before == expected[: len(before)]
        assert after == expected[len(expected) - len(after) :]
        assert 0 <= len(before) + len(after) - len(expected) <= 1  # a checkpoint every second step
    assert_same_result(folder, full)


def test_lift_killed_at_any_moment_gives_the_same_network(tmp_path):
    options = ["--checkpoint.every_n_train_steps", "1", "--data.init_args.num_workers", "2"]
    full = run_here(lift_words(tmp_path, "full", *options))

    killed = lift_words(tmp_path, "killed", *options)
    folder = tmp_path / "lift" / "killed"
    with start(killed, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        while not list(folder.glob("checkpoints/*step=4.ckpt")) and process.poll() is None:
            time.sleep(0.01)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert len((folder / "metrics.csv").read_text().splitlines()) < len((full / "metrics.csv").read_text().splitlines())
    run_here([*killed, "--resume"])
    assert_same_result(folder, full)
