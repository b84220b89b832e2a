import json

import pytest
import yaml

from command_line.quick.run_folders import find_runs, flat, named_run
from tests.helpers.run_folders import write_run
from visionscapes.errors import UserError
from visionscapes.folder_lock import FolderLock


def test_runs_are_found_at_any_depth_the_oldest_first(tmp_path):
    write_run(tmp_path, "lift/b", start="2026-01-02T10:00:00+00:00")
    write_run(tmp_path, "experiments/lift/a", start="2026-01-01T10:00:00+00:00")
    (tmp_path / "lift" / "notes").mkdir()
    found = find_runs(tmp_path)
    assert [run.name for run in found] == ["experiments/lift/a", "lift/b"]
    assert [run.started for run in found] == ["2026-01-01 10:00", "2026-01-02 10:00"]
    assert find_runs(tmp_path / "nowhere") == []


def test_what_a_run_says_of_itself(tmp_path):
    earlier = [{"wall_time_s": 60.0}, {"wall_time_s": None}]
    write_run(tmp_path, "lift/a", wall_time_s=30.5, earlier=earlier, command=["cli.py", "fit", "--config", "lift"])
    run = named_run("lift/a", tmp_path)
    assert (run.seconds, run.subcommand, run.command) == (90.5, "fit", "python cli.py fit --config lift")
    assert run.size == sum(path.stat().st_size for path in run.folder.iterdir())


def test_a_run_that_nobody_ended_was_killed_unless_its_folder_is_in_use(tmp_path):
    folder = write_run(tmp_path, "lift/a", status="running")
    assert named_run("a", tmp_path).outcome == "killed"
    lock = FolderLock(folder)
    assert named_run("a", tmp_path).outcome == "running"
    lock.release()
    write_run(tmp_path, "lift/a", status="finished")
    assert named_run("a", tmp_path).outcome == "finished"


def test_a_damaged_manifest_still_is_a_run(tmp_path):
    folder = write_run(tmp_path, "lift/a")
    odd = ('"abc"', "NaN", "Infinity", "null", "5", '{"a": 1}')
    keys = ("wall_time_s", "earlier", "command", "start", "status", "git", "hardware")
    contents = ["{", "[]", '{"earlier": [1]}', *(f'{{"{key}": {value}}}' for key in keys for value in odd)]
    for content in contents:
        (folder / "manifest.json").write_text(content)
        run = named_run("lift/a", tmp_path)
        assert run.outcome in ("unknown", "abc")
        assert run.seconds in (0, 5)
        assert (run.subcommand, run.command) == ("", "")
        assert run.started in ("", "abc")
        assert find_runs(tmp_path)[0].size


def test_results_that_were_cut_off(tmp_path):
    folder = write_run(tmp_path, "lift/a", results="metric,method,image_size,value\nPCK,base,64,12.5\nPCK,LiFT\n")
    (folder / "results" / "other.csv").write_bytes(b"metric,method,image_size,value\n\xff\xfe,a,1,2\n")
    assert len(named_run("a", tmp_path).results()) == 2


def test_runs_of_the_folder_of_runs_come_before_other_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "runs", "lift/a")
    write_run(tmp_path, "lift/a")
    assert named_run("lift/a", tmp_path / "runs").folder == tmp_path / "runs" / "lift" / "a"


def test_configuration_and_results(tmp_path):
    folder = write_run(tmp_path, "lift/a", results="metric,method,image_size,value,count\nPCK,base,64,12.5,3\n")
    (folder / "results" / "other.csv").write_text("a,b\n1,2\n")
    config = {"model": {"class_path": "M", "init_args": {"lr": 0.1, "sizes": [1, {"x": 2}], "none": []}}}
    (folder / "cli_config.yaml").write_text(yaml.safe_dump(config))
    run = named_run("a", tmp_path)
    assert run.results() == {("PCK", "base", "64"): "12.5"}
    assert run.options() == {
        "model.class_path": "M",
        "model.lr": 0.1,
        "model.sizes.0": 1,
        "model.sizes.1.x": 2,
        "model.none": [],
    }
    (folder / "cli_config.yaml").write_text("a: [")
    with pytest.raises(UserError, match=r"cli_config\.yaml cannot be read"):
        run.options()
    (folder / "cli_config.yaml").unlink()
    assert run.options() == {}
    assert dict(flat(3)) == {"": 3}


def test_a_word_for_a_run(tmp_path):
    first = write_run(tmp_path, "lift/a", start="2026-01-01")
    write_run(tmp_path, "grit/a", start="2026-01-02")
    write_run(tmp_path, "grit/b", start="2026-01-03")
    assert named_run(str(first), tmp_path / "elsewhere").folder == first
    assert named_run("b", tmp_path).name == named_run("last", tmp_path).name == "grit/b"
    with pytest.raises(UserError, match=r"2 runs are called a, such as lift/a, grit/a: give <method>/<name>"):
        named_run("a", tmp_path)
    with pytest.raises(UserError, match=r"there is no run c in .*: the newest are lift/a, grit/a, grit/b"):
        named_run("c", tmp_path)
    with pytest.raises(UserError, match=r"it holds none"):
        named_run("last", tmp_path / "elsewhere")
    assert json.loads((first / "manifest.json").read_text())["start"] == "2026-01-01"
