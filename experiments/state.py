"""What is known about a table: which runs are recorded, and what they and the thesis' own numbers say of each claim."""

from collections import Counter
from collections.abc import Mapping
from statistics import fmean
from typing import Any

from experiments.claims import Finding, examine, value_of
from experiments.records import Records
from experiments.tables import SCALES, SEEDS, Claim, ThesisTable


def state(table: ThesisTable, records: Records, scale: str) -> dict[str, Any]:
    """Return which runs of a table are recorded at a scale, for the default seeds, and with which seeds in all.

    Returns:
        ``state`` ("complete" | "partial" | "not run" | "no runs"), ``recorded`` and ``needed`` (numbers of runs times
        seeds), ``seeds`` that every run has, ``outdated`` (files that changed after a record), ``precisions`` (runs in
        each, over all seeds).
    """
    if scale not in table.grids:
        return {"state": "no runs", "recorded": 0, "needed": 0, "seeds": [], "outdated": [], "precisions": {}}
    runs = table.grids[scale].shown_runs()
    found = [records.find(run, scale, seed) for run in runs for seed in SEEDS[scale]]
    recorded = sum(record is not None for record in found)
    outdated = {name for record in found if record for name in record.outdated()}
    name = "complete" if recorded == len(found) else "partial" if recorded else "not run"
    return {
        "state": name,
        "recorded": recorded,
        "needed": len(found),
        "seeds": sorted(set.intersection(*(records.seeds(run, scale) for run in runs))),
        "outdated": sorted(outdated),
        "precisions": precisions(table, records, scale),
    }


def precisions(table: ThesisTable, records: Records, scale: str) -> dict[str, int]:
    """Return how many of the recorded runs of a table computed in each precision, over all seeds."""
    found = {
        record.id: record.precision
        for run in table.grids[scale].shown_runs()
        for seed in sorted(records.seeds(run, scale))
        if (record := records.find(run, scale, seed))
    }
    return dict(sorted(Counter(found.values()).items()))


def mixture(counts: Mapping[str, int]) -> str:
    """Return a sentence on averages and comparisons over several precisions, nothing if there is one alone.

    Args:
        counts: of `precisions`.
    """
    if len(counts) < 2:
        return ""
    runs = ", ".join(f"{count} in {precision}" for precision, count in counts.items())
    return f"Averages and comparisons mix runs of different precision: {runs}."


def finding_of(claim: Claim, table: ThesisTable, records: Records, scale: str) -> Finding | None:
    """Return what the records say about a claim at a scale, None if it is not asked there."""
    if scale not in claim.contrasts:
        return None
    grid = table.grids[scale]

    def figure(row: str, column: str, seed: int) -> float | None:
        return records.figure(grid.cells[row, column], scale, seed)

    seeds = {seed for run in grid.shown_runs() for seed in records.seeds(run, scale)}
    return examine(claim.contrasts[scale], figure, seeds, claim.across)


def printed_support(claim: Claim, table: ThesisTable) -> tuple[int, int] | None:
    """Return for how many comparisons the thesis' own printed numbers bear a claim out, and of how many.

    None if the claim is not about printed numbers. Equal numbers do not count as support.
    """
    values = (value_of(contrast, table.thesis_figure) for contrast in claim.contrasts.get("paper", ()))
    known = [value for value in values if value is not None]
    if claim.across == "mean" and known:
        known = [fmean(known)]
    return (sum(value > 1e-9 for value in known), len(known)) if known else None


def summary(table: ThesisTable, records: Records) -> dict[str, Any]:
    """Return the state of a table for programs: what ``list --json`` prints."""
    claims = []
    for claim in table.claims:
        entry: dict[str, Any] = {"text": claim.text, "section": claim.section}
        for scale in table.grids:
            finding = finding_of(claim, table, records, scale)
            if finding:
                decisive = finding.decisive
                entry[scale] = {
                    "verdict": str(finding.verdict),
                    "held": finding.held,
                    "comparisons": len(finding.effects),
                    "weakest_effect": decisive
                    and {
                        "mean": decisive.mean,
                        "low": decisive.low if decisive.seeds > 1 else None,
                        "high": decisive.high if decisive.seeds > 1 else None,
                        "seeds": decisive.seeds,
                    },
                }
        support = printed_support(claim, table)
        if support:
            entry["printed"] = {"supported": support[0], "comparisons": support[1]}
        claims.append(entry)
    scales = {scale: state(table, records, scale) for scale in SCALES}
    return {
        "table": table.name, "method": table.method, "title": table.title, "section": table.section,
        "unit": table.unit, **scales, "claims": claims,
    }  # fmt: skip
