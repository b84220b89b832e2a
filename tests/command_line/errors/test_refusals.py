import errno
import os

import pytest

from command_line.errors.refusals import explain_refusal


def refused(number: int, path: object = None) -> OSError:
    return OSError(number, os.strerror(number), None if path is None else str(path))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_names_the_file_and_the_run(tmp_path, number):
    line = explain_refusal(refused(number, tmp_path / "metrics.csv"), tmp_path)
    assert line.startswith(f"the disk is full: {tmp_path}/metrics.csv could not be written ({os.strerror(number)})")
    assert line.endswith(f"free some space and go on with --resume --name {tmp_path.name}")
    assert "a file could not be written" in explain_refusal(refused(number))
    assert explain_refusal(refused(number), tmp_path, resumable=False).endswith("start again with another --name")


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM])
def test_a_folder_that_may_not_be_written(tmp_path, number):
    line = explain_refusal(refused(number, tmp_path / "metrics.csv"), tmp_path)
    assert f"metrics.csv could not be written ({os.strerror(number)})" in line
    assert line.endswith(f"make the folder writable and go on with --resume --name {tmp_path.name}")
    assert explain_refusal(refused(number, "/data/a.jpg"), tmp_path).startswith("/data/a.jpg cannot be read or written")
    assert explain_refusal(refused(number), tmp_path) is None, "nobody can tell what was refused"


def test_a_folder_that_was_deleted(tmp_path):
    gone = tmp_path / "gone"
    line = explain_refusal(refused(errno.ENOENT, gone / "last.ckpt"), gone)
    assert line.startswith(f"{gone} was deleted while the run wrote {gone}/last.ckpt")


def test_what_is_in_the_place_of_a_file_of_the_run(tmp_path):
    (tmp_path / "metrics.csv").mkdir()
    (tmp_path / "manifest.json").symlink_to("gone.json")
    (tmp_path / "checkpoints").write_text("a file")
    (tmp_path / "results").symlink_to("gone")
    again = f": move it away and go on with --resume --name {tmp_path.name}"
    kept = "which is not there, in the place of what the run keeps"
    for number, name, said in (
        (errno.EISDIR, "metrics.csv", f"{tmp_path}/metrics.csv is a folder, and the run keeps a file there"),
        (errno.ENOENT, "manifest.json", f"{tmp_path}/manifest.json is a link to gone.json, {kept}"),
        (errno.ENOTDIR, "checkpoints/a.ckpt", f"{tmp_path}/checkpoints is a file, and the run keeps a folder there"),
        (errno.EEXIST, "results/table.csv", f"{tmp_path}/results is a link to gone, {kept}"),
    ):
        assert explain_refusal(refused(number, tmp_path / name), tmp_path) == said + again
    (tmp_path / "a.csv").write_text("a file of the run")
    assert explain_refusal(refused(errno.EBUSY, tmp_path / "a.csv"), tmp_path) is None
    assert explain_refusal(refused(errno.EISDIR, "/data"), tmp_path) is None


def test_other_errors_are_bugs(tmp_path):
    assert explain_refusal(refused(errno.ENOENT, "/data/a.jpg"), tmp_path) is None
    assert explain_refusal(FileNotFoundError("no number"), tmp_path) is None


def test_a_name_that_no_file_system_takes_is_shortened(tmp_path):
    line = explain_refusal(refused(errno.ENAMETOOLONG, "z" * 5000), tmp_path)
    assert line.startswith("there is no file zzz")
    assert len(line) < 200
