import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from command_line.run.run_folder import INHERITED, ClaimedFolder, claim, close, method_of, scratch
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


@pytest.fixture
def claimed():
    """Return what claims a folder, and gives it free at the end of the test or of the command that it stands for."""
    claims: list[ClaimedFolder] = []

    def command(*args, ends: bool = True, **kwargs):
        found = claim(*args, **kwargs)
        claims.append(found)
        if ends:
            close(found)
        return found.folder

    yield command
    for found in claims:
        close(found)


def leave(folder: Path, command: tuple[str, ...] = (), **session) -> None:
    """Leave what a run of a job leaves."""
    folder.mkdir(parents=True, exist_ok=True)
    here = {"job": "job-7", "restart": 0, "step": None} | session
    (folder / "manifest.json").write_text(json.dumps({"command": command, "session": here}))


def test_a_run_to_resume_needs_its_name_and_what_lies_beside_the_runs_is_none(tmp_path, claimed):
    for name in ("first", "second", ".features"):
        (tmp_path / "lift" / name).mkdir(parents=True)
    with pytest.raises(UserError, match=r"add --name NAME; the last ones of lift are first, second$"):
        claimed(str(tmp_path), "lift", None, resume=True)


def test_simultaneous_runs_get_folders_of_their_own(tmp_path, claimed):
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: claimed(str(tmp_path), "lift", None, ends=False), range(24)))
    assert len(set(folders)) == 24
    assert all(folder.parent == tmp_path / "lift" for folder in folders)


def test_a_named_run_is_not_overwritten(tmp_path, claimed):
    folder = claimed(str(tmp_path), "lift", "a")
    assert not folder.exists(), "nothing was run"
    folder.mkdir()
    assert claimed(str(tmp_path), "lift", "a", ends=False) == folder, "an empty folder is as good as none"
    (folder / "file").touch()
    with pytest.raises(UserError, match=r"a is in use by process .* since .*another --name"):
        claim(str(tmp_path), "lift", "a", resume=True)


def test_a_run_that_is_over_is_continued_on_demand_only(tmp_path, claimed):
    leave(tmp_path / "lift" / "a")
    with pytest.raises(UserError, match=r"a exists already.*--resume.*--name"):
        claim(str(tmp_path), "lift", "a")
    with pytest.raises(UserError, match="a exists already: take another --name for what test writes") as refused:
        claim(str(tmp_path), "lift", "a", subcommand="test")
    assert "--resume" not in str(refused.value), "an evaluation cannot be continued"
    assert claimed(str(tmp_path), "lift", "a", resume=True) == tmp_path / "lift" / "a"


def test_ranks_agree(tmp_path, monkeypatch, claimed):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    first = claimed(str(tmp_path), "lift", None, ends=False)
    leave(first)
    monkeypatch.setenv("SLURM_PROCID", "1")
    assert claim(str(tmp_path), "lift", None) == ClaimedFolder(first)
    monkeypatch.delenv("SLURM_JOB_ID")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv(INHERITED, str(first))
    assert claim(str(tmp_path), "lift", None) == ClaimedFolder(first)
    assert scratch() == ClaimedFolder(first)


def test_each_subcommand_of_a_job_has_a_folder(tmp_path, monkeypatch, claimed):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert claimed(str(tmp_path), "lift", None).name == "job-7"
    assert claimed(str(tmp_path), "lift", None, subcommand="test").name == "job-7-test"


@pytest.mark.parametrize("resume", [False, True])
def test_each_command_of_a_job_has_a_folder(tmp_path, monkeypatch, claimed, resume):
    """One after the other and at the same time, on every process of the step alike."""
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    for number, name in enumerate(["job-7", "job-7-2", "job-7-3"]):
        monkeypatch.setenv("SLURM_STEP_ID", str(number))
        command = ("cli.py", "fit", f"--model.lr={number}")
        monkeypatch.setenv("SLURM_PROCID", "1")
        early = claim(str(tmp_path), "lift", None, resume=resume, command=command).folder
        monkeypatch.setenv("SLURM_PROCID", "0")
        folder = claimed(str(tmp_path), "lift", None, resume=resume, command=command, ends=number != 1)
        leave(folder, command, step=str(number))
        monkeypatch.setenv("SLURM_PROCID", "1")
        late = claim(str(tmp_path), "lift", None, resume=resume, command=command).folder
        assert early == folder == late == tmp_path / "lift" / name


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_requeued_job_goes_on_in_the_folder_of_the_same_command(tmp_path, monkeypatch, claimed, rank, resume):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    leave(tmp_path / "lift" / "job-7", ("first",))
    leave(tmp_path / "lift" / "job-7-2", ("second",))
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    monkeypatch.setenv("SLURM_PROCID", rank)
    names = []
    for command in ("second", "first", "third"):
        names.append(claimed(str(tmp_path), "lift", None, resume=resume, command=(command,)).name)
    assert names == ["job-7-2", "job-7", "job-7-3"]


def test_a_requeued_job_goes_on_in_its_own_named_folder_only(tmp_path, monkeypatch, claimed):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    leave(tmp_path / "lift" / "mine", ("words",))
    leave(tmp_path / "lift" / "theirs", ("words",), job="job-6")
    assert claimed(str(tmp_path), "lift", "mine", command=("words",)).name == "mine"
    with pytest.raises(UserError, match="theirs exists already"):
        claim(str(tmp_path), "lift", "theirs", command=("words",))


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "é/"])
def test_names_are_names_of_folders(tmp_path, name):
    with pytest.raises(UserError, match="--name"):
        claim(str(tmp_path), "lift", name)


def test_a_name_that_file_systems_do_not_take(tmp_path):
    with pytest.raises(UserError, match="--name is 300 characters long: give at most 200"):
        claim(str(tmp_path), "lift", "x" * 300)


@pytest.mark.parametrize("place", ["", "file", "/proc/runs", "/sys/runs"])  # which refuse even root
def test_place_that_cannot_be_written(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="--runs_dir"):
        claim(place, "lift", None)


def test_resume_lists_the_runs_there_are(tmp_path):
    leave(tmp_path / "lift" / "monday")
    with pytest.raises(UserError, match="monday"):
        claim(str(tmp_path), "lift", None, resume=True)


def test_a_folder_for_nothing_is_removed_with_what_it_holds():
    claimed = scratch()
    (claimed.folder / "manifest.json").touch()
    close(claimed)
    assert not claimed.folder.exists()
