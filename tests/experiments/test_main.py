"""The commands of `python -m experiments`."""

import json
import subprocess
import sys

import pytest

from experiments import __main__ as command
from experiments.runs import Runner
from experiments.state import summary


def test_list_is_json_and_says_every_verdict(capsys):
    assert command.main(["list", "--json"]) == 0
    tables = json.loads(capsys.readouterr().out)["tables"]
    assert {"table_8_1", "table_8_13"} <= {entry["table"] for entry in tables}
    for entry in tables:
        assert entry["embedded"]["state"] in ("complete", "partial", "not run", "no runs")
        for claim in entry["claims"]:
            for scale in ("embedded", "paper"):
                assert scale not in claim or claim[scale]["verdict"] in ("holds", "fails", "undecided")


def test_list_as_text_names_tables_and_claims(capsys):
    assert command.main(["list", "table_8_11"]) == 0
    text = capsys.readouterr().out
    assert "lift/table_8_11" in text
    assert "printed numbers 82 of 84" in text
    assert "table_8_12" not in text


def test_list_is_a_line_a_method_and_all_of_it_on_request(capsys):
    assert command.main(["list"]) == 0
    short = capsys.readouterr().out
    assert len(short.splitlines()) < 24, "it fits a screen"
    assert all(len(line) <= 100 for line in short.splitlines()[:-1])
    assert command.main(["list", "--all"]) == 0
    long = capsys.readouterr().out
    assert command.main(["list", "--json"]) == 0
    tables = json.loads(capsys.readouterr().out)["tables"]
    assert all(f"{entry['method']}/{entry['table']}:" in long for entry in tables)
    verdicts = [claim["embedded"]["verdict"] for entry in tables for claim in entry["claims"] if "embedded" in claim]
    *methods, total = [line.split() for line in short.splitlines() if line.strip() and line.split()[-1].isdigit()]
    assert [row[0] for row in methods] == list(dict.fromkeys(entry["method"] for entry in tables))
    assert total[:2] == ["all", str(len(tables))]
    assert [int(text) for text in total[-3:]] == [verdicts.count(each) for each in ("holds", "fails", "undecided")]
    assert [int(text) for text in total[-6:-3:2]] == [
        sum(entry["embedded"][key] for entry in tables) for key in ("recorded", "needed")
    ]


def test_summary_of_a_table_without_records_is_json(world):
    assert (
        json.loads(json.dumps(summary(world.table, world.records)))["claims"][0]["embedded"]["weakest_effect"] is None
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "table_8_111"], "no table or method is called 'table_8_111'; did you mean table_8_11?"),
        (["list", "lfit"], "did you mean lift?"),
        (["report", "lifft"], "did you mean lift?"),
        (["report", "table_8_1"], "report takes a method"),
        (["run", "figure_8_4", "--scale", "paper"], "no runs are defined at paper scale"),
        (["run", "table_8_1", "--seeds", "0", "-1"], "--seeds is -1; it has to be between 0 and"),
    ],
)
def test_mistakes_are_answered_in_one_line(capsys, arguments, message):
    assert command.main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


@pytest.mark.parametrize("arguments", [["run", "table_8_1", "--scale", "big"], ["rum"], ["list", "--jso"], []])
def test_wrong_options_exit_with_2(arguments):
    with pytest.raises(SystemExit) as caught:
        command.main(arguments)
    assert caught.value.code == 2


@pytest.fixture
def fake_runs(world, monkeypatch):
    """Let the command line run the small world's table."""
    monkeypatch.setattr(command, "load_tables", lambda: {"table_9_1": world.table})
    monkeypatch.setattr(command, "records_of", lambda table: world.records)
    monkeypatch.setattr(
        command, "Runner", lambda records, scale, force: Runner(records, scale, force, world.launch, world.root)
    )
    return world


def test_run_prints_the_table_and_repeats_nothing(fake_runs, capsys):
    assert command.main(["run", "table_9_1"]) == 0
    assert len(fake_runs.calls) == 9
    assert "Better than base." in capsys.readouterr().out
    assert command.main(["run", "table_9_1"]) == 0
    assert len(fake_runs.calls) == 9
    assert command.main(["run", "table_9_1", "--seeds", "5"]) == 0
    assert len(fake_runs.calls) == 12


def test_failed_run_does_not_keep_the_others_from_running(fake_runs, capsys):
    fake_runs.failing = {"--model.distance=l1"}
    assert command.main(["run", "table_9_1"]) == 2
    printed = capsys.readouterr()
    assert "table_9_1: embedded-m-distance_l1" in printed.err
    assert "ended with status 1" in printed.err
    assert any(line.split()[-1:] == ["holds"] for line in printed.out.splitlines())  # of what did run
    fake_runs.failing = set()
    assert command.main(["run", "table_9_1"]) == 0
    assert len(fake_runs.calls) == 9 + 3


def test_interrupted_run_keeps_what_has_finished(fake_runs, capsys):
    fake_runs.failing, fake_runs.status = {"--seed_everything=1"}, 143
    assert command.main(["run", "table_9_1"]) == 130
    assert "the same command goes on" in capsys.readouterr().err
    assert len(list((fake_runs.root / "results").iterdir())) == 1


def test_report_is_written(fake_runs, monkeypatch, capsys):
    monkeypatch.setattr(command, "ROOT", fake_runs.root)
    command.main(["run", "table_9_1"])
    method = fake_runs.table.method
    assert command.main(["report", method]) == 0
    text = (fake_runs.root / "docs" / "results" / f"{method}.md").read_text()
    assert "Better than base." in text
    assert "`fit --config configs/m.yaml --seed_everything=0 --data.init_args.seed=0 --model.distance=l1`" in text
    assert "01234567" in text


def test_starting_is_light():
    """The commands that read records alone need no torch, which takes seconds to import."""
    code = "import sys, experiments.__main__; sys.exit('torch' in sys.modules or 'rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=command.ROOT).returncode == 0
