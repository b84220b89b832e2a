import io
import sys
from pathlib import Path

import pytest

import cli
from command_line.quick.runs import runs
from tests.helpers.run_folders import write_run
from visionscapes.errors import UserError
from visionscapes.folder_lock import FolderLock

RESULTS = "metric,method,image_size,value\nPCK,LiFT,64,{}\n"


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_run(
        tmp_path / "runs",
        "lift/a",
        RESULTS.format(0.5),
        "model:\n  init_args: {lr: 0.1, dim: 8}\nname: a\n",
        git={"commit": "abc", "dirty": True},
        hardware={"cpu": "EPYC", "cores": 2, "gpus": []},
        wall_time_s=75,
    )
    write_run(
        tmp_path / "runs",
        "lift/b",
        RESULTS.format(0.25),
        "model:\n  init_args: {lr: 0.2, dim: 8}\nname: b\n",
        status="failed: no\nmemory",
        start="2026-01-02",
    )
    write_run(tmp_path / "runs", "grit/c", start="2026-01-03", status="running")
    return tmp_path / "runs"


def rows(text):
    return [line.split() for line in text.splitlines() if line.strip() and set(line) != {"─"}]


def test_list(root, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["runs", "list"])
    assert caught.value.code == 0
    found = rows(capsys.readouterr().out)
    assert [row[0] for row in found] == ["run", "lift/a", "lift/b", "grit/c"]
    assert found[1][1:5] == ["fit", "2026-01-01", "00:00", "1:15"]
    assert found[2][-3:] == ["failed:", "no", "memory"]
    assert found[3][-1] == "killed"
    assert runs([]) == runs(["list"])
    assert [row[0] for row in rows(runs(["list", "lift", "--status=failed"]))[1:]] == ["lift/b"]
    assert runs(["list", "nothing"]) == "no such runs in runs"
    assert runs(["list", "--runs_dir=elsewhere"]) == "no such runs in elsewhere"


def test_show(root):
    (root / "lift" / "a" / "checkpoints").mkdir()
    (root / "lift" / "a" / "checkpoints" / "last.ckpt").write_bytes(b"x" * 2000)
    text = runs(["show", "lift/a"])
    facts = {row[0]: row[1:] for row in rows(text)}
    assert facts["commit"] == ["abc,", "with", "changes"]
    assert facts["checkpoints"] == ["last.ckpt", "(2", "kB)"]
    assert facts["PCK"] == ["LiFT", "64", "0.5"]
    assert facts["took"][0] == "1:15"
    assert "PCK" not in runs(["show", "c"])


def test_compare(root):
    found = rows(runs(["compare", "lift/a", "b"]))
    assert ["A", "lift/a", "1:15", "finished"] in found
    assert ["model.lr", "0.1", "0.2"] in found
    assert ["PCK", "LiFT", "64", "0.5", "0.25"] in found
    assert not [row for row in found if row[0] in ("model.dim", "name")]
    assert ["PCK", "LiFT", "64", "0.5", "-"] in rows(runs(["compare", "a", "c"]))
    assert "all options are alike" in runs(["compare", "a", "a"])
    with pytest.raises(UserError, match="lift/a is one run: give two or more"):
        runs(["compare", "a"])
    with pytest.raises(UserError, match="27 runs are too many"):
        runs(["compare", *["a"] * 27])


def test_rm_asks_first(root, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("no\n"))
    with pytest.raises(UserError, match="nobody can be asked whether lift/a is to be removed: add --yes"):
        runs(["rm", "a"])
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    assert runs(["rm", "a"]) == "nothing was removed"
    assert (root / "lift" / "a").is_dir()
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    assert runs(["rm", "a"]).startswith("removed lift/a (")
    assert not (root / "lift" / "a").exists()
    assert (root / "lift" / "b").is_dir()


def test_rm_removes_all_or_none(root):
    lock = FolderLock(Path("runs/lift/b"))
    with pytest.raises(UserError, match=r"b is in use by process .* or leave it out"):
        runs(["rm", "a", "b", "--yes"])
    assert (root / "lift" / "a" / "manifest.json").is_file()
    assert not (root / "lift" / "a" / ".lock").exists()
    lock.release()
    with pytest.raises(UserError, match="there is no run d"):
        runs(["rm", "a", "d", "--yes"])
    assert runs(["rm", "a", "a", "lift/b", "--yes"]).count("\n") == 1
    assert [path.name for path in root.glob("*/*")] == ["c"]


def test_rm_leaves_alone_what_is_no_run(root, tmp_path):
    (tmp_path / "webapp").mkdir()
    (tmp_path / "webapp" / "manifest.json").write_text('{"name": "my web app"}')
    with pytest.raises(UserError, match="webapp does not look like a run of this program"):
        runs(["rm", "webapp", "--yes"])
    write_run(root, "lift/a/inner")
    with pytest.raises(UserError, match=r"has another run inside, .*inner: name that, too"):
        runs(["rm", "lift/a", "--yes"])
    (root / "link").symlink_to(root / "lift" / "b")
    with pytest.raises(UserError, match="is a link to"):
        runs(["rm", "link", "--yes"])
    assert (root / "lift" / "b" / "manifest.json").is_file()
    assert runs(["rm", "lift/a", "lift/a/inner", "--yes"]).startswith("removed")
    assert not (root / "lift" / "a").exists()


def test_odd_folders_are_listed_and_shown(root):
    odd = {"wall_time_s": "abc", "earlier": 5, "command": "cli.py fit", "start": None, "git": 3, "hardware": []}
    write_run(root, "lift/odd", **odd)
    write_run(root, "lift/escape", status="failed: \x1b[31mred")
    text = runs(["list"])
    assert "lift/odd" in text
    assert "\x1b" not in text
    assert "lift/odd" in runs(["show", "lift/odd"])


@pytest.mark.parametrize("words", [["shw"], ["list", "--statu=x", "--y"], ["show"], ["rm"]])
def test_mistakes_are_one_line(words, root, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["runs", *words])
    assert caught.value.code == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert len(output.err.splitlines()) == 1
    assert "--help has what can be given" in output.err
