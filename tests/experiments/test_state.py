from experiments.report import document
from experiments.state import finding_of, state


def test_state_goes_from_not_run_to_complete(world):
    assert state(world.table, world.records, "embedded")["state"] == "not run"
    assert state(world.table, world.records, "paper")["state"] == "no runs"
    partial = state(world.table, world.run_all([0]), "embedded")
    assert (partial["state"], partial["recorded"], partial["needed"]) == ("partial", 3, 9)
    complete = state(world.table, world.run_all([0, 1, 2, 7]), "embedded")
    assert (complete["state"], complete["seeds"]) == ("complete", [0, 1, 2, 7])


def test_failed_claim_stays_failed(world):
    records = world.run_all([0, 1, 2])
    better, worse = world.table.claims
    assert finding_of(better, world.table, records, "embedded").verdict == "holds"
    assert finding_of(worse, world.table, records, "embedded").verdict == "fails"
    text = document("m", [world.table], records)
    (line,) = (line for line in text.splitlines() if "Worse than base." in line and "|" in line)
    assert line.rstrip(" |").endswith("fails")
    assert "-10.0 [-10.0, -10.0]" in line
    assert "0 of 2" in line


def test_two_seeds_decide_nothing(world):
    records = world.run_all([0, 1])
    assert {finding_of(claim, world.table, records, "embedded").verdict for claim in world.table.claims} == {
        "undecided"
    }
