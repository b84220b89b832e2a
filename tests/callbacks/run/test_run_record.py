import json
import subprocess
from types import SimpleNamespace

from callbacks.run import run_record
from callbacks.run.run_record import earlier_sessions, git_state, hardware, reason_of_precision, versions
from tests.helpers.quiet_trainer import quiet_trainer
from visionscapes.precision import Chosen, processor_abilities


def test_git_state(tmp_path):
    assert git_state(tmp_path) is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e@x"]
    subprocess.run([*git, "init", "-q"], check=True)
    assert git_state(tmp_path) is None, "a repository without a commit"
    (tmp_path / "file").touch()
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "m"], check=True)
    state = git_state(tmp_path)
    assert len(state["commit"]) == 40
    assert state["dirty"] is False
    (tmp_path / "file").write_text("changed")
    assert git_state(tmp_path)["dirty"] is True
    subprocess.run([*git, "commit", "-qam", "more"], check=True)
    record = tmp_path / "experiments" / "lift" / "results" / "new.json"
    record.parent.mkdir(parents=True)
    record.write_text("{}")
    assert git_state(tmp_path)["dirty"] is False
    (tmp_path / "experiments" / "new.yaml").touch()
    assert git_state(tmp_path)["dirty"] is True


def test_no_git_program(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state(tmp_path) is None


def test_facts_are_json():
    facts = {**versions(), **hardware()}
    assert json.loads(json.dumps(facts)) == facts
    assert facts["cores"] >= 1
    assert "torch" in facts
    assert facts["cpu_abilities"] == processor_abilities()


def test_why_the_run_has_its_precision(tmp_path):
    assert reason_of_precision(quiet_trainer(tmp_path, [], precision="bf16-mixed")) == "given"
    chosen = SimpleNamespace(chosen_precision=Chosen("32-true", "this processor has no bfloat16"))
    assert reason_of_precision(chosen) == "auto: this processor has no bfloat16"


def test_versions_leave_out_what_is_not_installed(monkeypatch):
    monkeypatch.setattr(run_record, "PACKAGES", ("torch", "no-such-package"))
    assert list(versions()) == ["python", "torch"]


def test_earlier_sessions(tmp_path, capsys):
    path = tmp_path / "manifest.json"
    assert earlier_sessions(path) == []
    session = {"command": ["cli.py"], "start": "s", "wall_time_s": 1.0, "status": "finished"}
    path.write_text(json.dumps({**session, "earlier": [], "seed": 0}))
    assert earlier_sessions(path) == [session]
    path.write_text(json.dumps({**session, "precision": "32-true", "earlier": []}))
    assert earlier_sessions(path) == [session | {"precision": "32-true"}]
    assert capsys.readouterr().out == ""
    path.write_text("{")
    assert earlier_sessions(path) == []
    assert f"note: {path} cannot be read, and what it said of earlier sessions is lost" in capsys.readouterr().out
