import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from command_line.run_folder import INHERITED, claim, is_rank_zero, method_of, shared_name
from visionscapes.errors import UserError


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("SLURM_", "TORCHELASTIC")) or name in ("RANK", "LOCAL_RANK", "NODE_RANK", INHERITED):
            monkeypatch.delenv(name)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_method_is_named_by_the_file_that_chooses_the_model(tmp_path):
    fragment = write(tmp_path / "hardware" / "cpu.yaml", "trainer: {devices: 1}")
    method = write(tmp_path / "paper" / "lift.yaml", "model: {class_path: a.B}")
    saved = write(tmp_path / "runs" / "lift" / "x" / "cli_config.yaml", "model: {class_path: a.B}")
    assert method_of([method, fragment], "a.B") == "lift"
    assert method_of([fragment, method], "a.B") == "lift"
    assert method_of([fragment], "lightning_modules.lift.LiFT") == "lift"
    assert method_of([saved], "a.B") == "lift"


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


def test_simultaneous_runs_get_folders_of_their_own(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: claim(str(tmp_path), "lift", None), range(24)))
    assert len(set(folders)) == 24
    assert all(folder.parent == tmp_path / "lift" for folder in folders)


def test_a_named_run_is_not_overwritten(tmp_path):
    folder = claim(str(tmp_path), "lift", "a")
    assert claim(str(tmp_path), "lift", "a") == folder, "an empty folder is as good as none"
    (folder / "file").touch()
    with pytest.raises(UserError, match=r"a exists already.*--resume.*--name"):
        claim(str(tmp_path), "lift", "a")
    assert claim(str(tmp_path), "lift", "a", resume=True) == folder


def test_ranks_agree(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    first = claim(str(tmp_path), "lift", None)
    (first / "file").touch()
    monkeypatch.setenv("SLURM_PROCID", "1")
    assert claim(str(tmp_path), "lift", None) == first
    monkeypatch.delenv("SLURM_JOB_ID")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv(INHERITED, str(first))
    assert claim(str(tmp_path), "lift", None) == first


def test_each_subcommand_of_a_job_has_a_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert claim(str(tmp_path), "lift", None).name == "job-7"
    assert claim(str(tmp_path), "lift", None, subcommand="test").name == "job-7-test"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "é/"])
def test_names_are_names_of_folders(tmp_path, name):
    with pytest.raises(UserError, match="--name"):
        claim(str(tmp_path), "lift", name)


def test_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="--runs_dir"):
        claim(str(tmp_path / "file"), "lift", None)


def test_resume_lists_the_runs_there_are(tmp_path):
    claim(str(tmp_path), "lift", "monday")
    with pytest.raises(UserError, match="monday"):
        claim(str(tmp_path), "lift", None, resume=True)
