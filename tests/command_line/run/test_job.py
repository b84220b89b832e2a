import json

import pytest

from command_line.run.job import Session, check_environment, check_processes, is_rank_zero, restarts, shared_name
from visionscapes.errors import UserError


def test_names_that_every_process_can_tell():
    assert shared_name({}) is None
    assert shared_name({"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "train"}) == "job-7"
    assert shared_name({"SLURM_JOB_ID": "9", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "2"}) == "job-7_2"
    assert shared_name({"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "interactive"}) is None
    assert shared_name({"TORCHELASTIC_RUN_ID": "abc"}) == "torchrun-abc"
    for separate in ({"TORCHELASTIC_RUN_ID": "none"}, {"NODE_RANK": "1"}):
        with pytest.raises(UserError, match="--name"):
            shared_name(separate)


def test_rank_zero():
    assert is_rank_zero({})
    assert is_rank_zero({"RANK": "0", "LOCAL_RANK": "1"})
    assert not is_rank_zero({"SLURM_PROCID": "3"})


def test_restarts():
    assert restarts({}) == restarts({"SLURM_RESTART_COUNT": "2"}) == 0, "a variable that is left from a job"
    assert restarts({"SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": "2"}) == 2
    assert restarts({"TORCHELASTIC_RESTART_COUNT": "1"}) == 1
    with pytest.raises(UserError, match="SLURM_RESTART_COUNT=twice"):
        restarts({"SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": "twice"})


def test_sessions_know_their_folders(tmp_path):
    first = Session("job-7", 0, "0", ("a", "b"))
    (tmp_path / "manifest.json").write_text(json.dumps({"command": ["a", "b"], "session": first.record()}))
    assert first.wrote(tmp_path)
    assert first.goes_on_in(tmp_path)
    requeued = Session("job-7", 1, "3", ("a", "b"))
    assert not requeued.wrote(tmp_path)
    assert requeued.goes_on_in(tmp_path)
    for other in (Session("job-8", 1, "0", ("a", "b")), Session("job-7", 1, "0", ("a",)), Session(None, 0, None, ())):
        assert not other.wrote(tmp_path)
        assert not other.goes_on_in(tmp_path)
    assert not first.goes_on_in(tmp_path / "nowhere")


def test_a_session_outside_of_jobs_has_no_folder(tmp_path):
    here = Session(None, 0, None, ("a",))
    (tmp_path / "manifest.json").write_text(json.dumps({"command": ["a"], "session": here.record()}))
    assert not here.wrote(tmp_path)
    assert not here.goes_on_in(tmp_path)


def test_a_run_has_as_many_processes_as_its_environment_says():
    check_processes({}, 4)
    check_processes({"WORLD_SIZE": "1"}, 2)  # Lightning starts the second one itself
    check_processes({"RANK": "0", "WORLD_SIZE": "2"}, 2)
    with pytest.raises(UserError, match=r"WORLD_SIZE.* is 2, and this run has 1 process: unset it, or .*torchrun"):
        check_processes({"RANK": "0", "WORLD_SIZE": "2"}, 1)


@pytest.mark.parametrize("name", ["RANK", "LOCAL_RANK", "SLURM_PROCID"])
def test_a_rank_without_a_number_of_processes_was_left_by_somebody(name):
    check_environment({name: "0"})
    check_environment({name: "1", "WORLD_SIZE": "2"})
    check_environment({name: "1", "SLURM_NTASKS": "2"})
    with pytest.raises(UserError, match=f"{name} of the environment is 1, and nothing says how many.*unset {name}"):
        check_environment({name: "1"})
