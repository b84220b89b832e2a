from dataclasses import replace

from experiments.report import document, list_text, tables_to_print
from experiments.state import finding_of, mixture, state, summary


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


def in_precisions(world, precisions):
    """Record all runs, with the seed that stands for its precision."""
    records = world.run_all(list(range(len(precisions))))
    for run in world.table.grids["embedded"].shown_runs():
        for seed, precision in enumerate(precisions):
            record = records.find(run, "embedded", seed)
            records.save(replace(record, provenance={**record.provenance, "precision": precision}))
    return records


def test_runs_of_different_precision_are_not_averaged_silently(world):
    records = in_precisions(world, ["bf16-mixed", "bf16-mixed", "32-true"])
    said = "Averages and comparisons mix runs of different precision: 3 in 32-true, 6 in bf16-mixed."
    assert state(world.table, records, "embedded")["precisions"] == {"32-true": 3, "bf16-mixed": 6}
    assert said in document("m", [world.table], records)
    assert tables_to_print(world.table, records, "embedded")[0].title.endswith(f"a variant {said}")
    assert f"    {said}" in list_text([summary(world.table, records)])


def test_of_one_precision_nothing_is_said(world):
    records = in_precisions(world, ["bf16-mixed"] * 2)
    assert mixture(state(world.table, records, "embedded")["precisions"]) == ""
    assert "different precision" not in document("m", [world.table], records)
    assert not any("different precision" in line for line in list_text([summary(world.table, records)]))
