"""Tables, claims and states as text: what the commands print and the document of a method."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import fmean, stdev
from typing import Any

from callbacks.results.markdown import markdown_table
from callbacks.results.table import MISSING, Table
from experiments.claims import Effect, Verdict
from experiments.records import Record, Records
from experiments.state import finding_of, mixture, precisions, printed_support, state
from experiments.tables import SCALES, ThesisTable


def measured_rows(table: ThesisTable, records: Records, scale: str) -> list[list[str]]:
    """Return each row's label and figures: mean ± standard error over the seeds."""
    grid, rows = table.grids[scale], []
    for row in grid.rows:
        texts = [row]
        for column in grid.columns:
            cell = grid.cells[row, column]
            seeds = {seed for run in cell.runs for seed in records.seeds(run, scale)}
            figures = [records.figure(cell, scale, seed) for seed in sorted(seeds)]
            texts.append(mean_text([figure for figure in figures if figure is not None], table.digits))
        rows.append(texts)
    return rows


def mean_text(figures: Sequence[float], digits: int) -> str:
    """Return "mean ± standard error" of one figure a seed."""
    if not figures:
        return MISSING
    mean = f"{fmean(figures):.{digits}f}"
    return mean if len(figures) < 2 else f"{mean} ± {stdev(figures) / math.sqrt(len(figures)):.{digits}f}"


def printed_rows(table: ThesisTable) -> list[list[str]]:
    """Return each row's label and the thesis' numbers."""
    return [
        [row, *(MISSING if number is None else f"{number:g}" for number in numbers)]
        for row, numbers in table.thesis.items()
    ]


def compared_rows(table: ThesisTable, records: Records) -> list[list[str]]:
    """Return, for each row at paper scale, the thesis' numbers, the measured ones and their difference."""
    rows, columns = [], list(table.grids["paper"].columns)
    for label, *measured in measured_rows(table, records, "paper"):
        printed = [table.thesis_figure(label, column) for column in columns]
        differences = [
            MISSING if text == MISSING or number is None else f"{float(text.split()[0]) - number:+.{table.digits}f}"
            for text, number in zip(measured, printed, strict=True)
        ]
        rows.append([label, "thesis", *(MISSING if number is None else f"{number:g}" for number in printed)])
        rows += [["", "measured", *measured], ["", "difference", *differences]]
    return rows


def effect_text(effect: Effect | None, digits: int) -> str:
    """Return "+2.31 [+1.02, +3.60]": the mean over seeds and its 95 % interval."""
    if effect is None:
        return "no figures"
    if effect.seeds < 2:
        return f"{effect.mean:+.{digits}f} (one seed)"
    return f"{effect.mean:+.{digits}f} [{effect.low:+.{digits}f}, {effect.high:+.{digits}f}]"


def claim_rows(table: ThesisTable, records: Records, scale: str) -> list[list[str]]:
    """Return section, claim, comparisons that hold, the decisive effect and verdict of each claim asked at a scale."""
    rows = []
    for claim in table.claims:
        finding = finding_of(claim, table, records, scale)
        if finding:
            held = f"{finding.held} of {len(finding.effects)}"
            effect = effect_text(finding.decisive, table.digits)
            rows.append([f"{claim.section}: {claim.text}", held, effect, str(finding.verdict)])
    return rows


METHOD_HEAD = ("method", "tables", "complete", "partial", "not run", "outdated", "runs", "hold", "fail", "undecided")
CLAIM_HEAD = ("section: claim", "comparisons that hold", "weakest effect [95 %]", "verdict")


def tables_to_print(table: ThesisTable, records: Records, scale: str) -> list[Table]:
    """Return what ``run`` prints: the figures, at paper scale against the thesis', and the claims if there are any."""
    unit = f", in {table.unit}" if table.unit else ""
    title = f"{table.number}, {scale} scale{unit}: {table.title}"
    if mixed := mixture(precisions(table, records, scale)):
        title += f" {mixed}"
    columns = table.grids[scale].columns
    if scale == "paper":
        figures = Table.of_texts(title, ["", "", *columns], compared_rows(table, records))
    else:
        figures = Table.of_texts(title, ["", *columns], measured_rows(table, records, scale))
    claims = claim_rows(table, records, scale)
    return [figures, Table.of_texts("", CLAIM_HEAD, claims)] if claims else [figures]


def method_rows(summaries: Iterable[dict[str, Any]]) -> list[list[str]]:
    """Return a row a method, as `METHOD_HEAD` names its cells, and one of all: tables, runs and verdicts in numbers."""
    counts: dict[str, Counter[str]] = {}
    for entry in summaries:
        known, count = entry["embedded"], counts.setdefault(entry["method"], Counter())
        count["tables"] += 1
        count[known["state"]] += 1
        count["recorded"] += known["recorded"]
        count["needed"] += known["needed"]
        count["outdated"] += bool(known["outdated"])
        count.update(claim["embedded"]["verdict"] for claim in entry["claims"] if "embedded" in claim)
    counts["all"] = sum(counts.values(), Counter())
    keys = ("tables", "complete", "partial", "not run", "outdated")
    verdicts = ("holds", "fails", "undecided")
    return [
        [method, *(str(count[key]) for key in keys), f"{count['recorded']} of {count['needed']}"]
        + [str(count[verdict]) for verdict in verdicts]
        for method, count in counts.items()
    ]


def list_text(summaries: Iterable[dict[str, Any]]) -> list[str]:
    """Return what ``list`` prints, from the same data as ``list --json``."""
    lines = []
    for entry in summaries:
        lines.append(f"{entry['method']}/{entry['table']}: {entry['title']} ({entry['section']})")
        for scale in SCALES:
            known = entry[scale]
            text = f"  {scale:8}  {known['state']}"
            if known["needed"]:
                text += f", {known['recorded']} of {known['needed']} runs"
            if known["outdated"]:
                text += f"; recorded before {', '.join(known['outdated'])} changed"
            lines.append(text)
            if mixed := mixture(known["precisions"]):
                lines.append(f"    {mixed}")
        for claim in entry["claims"]:
            lines.append(f"    {claim['section']}: {claim['text']}")
            words = [f"{scale} {claim[scale]['verdict']}" for scale in SCALES if scale in claim]
            if "printed" in claim:
                words.append("printed numbers {supported} of {comparisons}".format(**claim["printed"]))
            lines.append(f"      -> {'; '.join(words)}")
        lines.append("")
    return lines


def document(method: str, tables: Sequence[ThesisTable], records: Records) -> str:
    """Return ``docs/results/<method>.md``: embedded scale first, the thesis' scale apart from it, then the runs."""
    lines = [f"# {method}: the tables of the thesis", "", HEAD.format(method=method), "## Embedded scale: claims", ""]
    claims = [
        [f"{table.number}, {row[0]}", *row[1:]]
        for table in tables
        if "embedded" in table.grids
        for row in claim_rows(table, records, "embedded")
    ]
    verdicts = [claim[-1] for claim in claims]
    counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in Verdict)
    lines += [*_markdown(CLAIM_HEAD, claims), "", f"Verdicts: {counts}.", "", "## Embedded scale: figures", ""]
    for table in tables:
        if "embedded" in table.grids:
            lines += _section(table, "embedded")
            lines += _markdown(["", *table.grids["embedded"].columns], measured_rows(table, records, "embedded"))
            lines += ["", _seeds_line(table, records, "embedded"), ""]
            for name, caption in table.pictures.items():
                lines += [f"![{caption}](../{name.removeprefix('docs/')})", "", caption, ""]
    lines += ["## The thesis' scale: printed numbers and reproductions", "", PAPER, ""]
    for table in tables:
        if "paper" in table.grids:
            lines += [*_section(table, "paper"), *_paper(table, records), ""]
    lines += ["## Runs", "", *_runs_table(tables, records)]
    return "\n".join(lines).rstrip() + "\n"


HEAD = """\
Written by `python -m experiments report {method}` from `experiments/{method}/`; not to be edited by hand.

Two kinds of figures stand here and must not be mixed up. *Embedded scale* is what this repository measures offline in
minutes: small networks on worlds that it renders itself. *The thesis' scale* is what the thesis prints for large
networks on real data sets, next to what this repository measured with the same recipe where somebody has run it.
An embedded figure says whether a claim carries over to a small world; it is no reproduction of a printed number.

A claim is a set of comparisons, such as "LiFT minus base at 64 px". Each is taken between runs of one seed and averaged
over the seeds; it holds if its 95 % t-interval lies above zero, fails if below, and is undecided otherwise or with
fewer than three seeds. A claim holds if all its comparisons hold and fails if one fails, unless it speaks of most cases
or of the average. A claim that fails stays here as failed.
"""
PAPER = """\
"Bears out" counts the comparisons of a claim that the printed numbers themselves satisfy; ties do not count."""


def _markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return markdown_table(Table.of_texts("", header, rows), markup=True)  # commands are code


def _section(table: ThesisTable, scale: str) -> list[str]:
    """Return the head of a table; at embedded scale the caption is marked as that of the thesis."""
    what, said = ("as printed in the thesis", "") if scale == "paper" else ("on the embedded world", "In the thesis: ")
    unit = f"Unit: {table.unit}. " if table.unit else ""
    note = f"Here: {table.grids[scale].note}" if scale == "embedded" else table.grids[scale].note
    text = f"{said}{table.title} (section {table.section}). {unit}{note}"
    return [f"### {table.number}, {what}", "", text.strip(), ""]


def _seeds_line(table: ThesisTable, records: Records, scale: str) -> str:
    known = state(table, records, scale)
    text = (
        f"Mean ± standard error over seeds {', '.join(map(str, known['seeds']))}." if known["seeds"] else "Not run yet."
    )
    text += f" Recorded before {', '.join(known['outdated'])} changed." if known["outdated"] else ""
    return f"{text} {mixture(known['precisions'])}".rstrip()


def _paper(table: ThesisTable, records: Records) -> list[str]:
    columns = table.grids["paper"].columns
    lines = _markdown(["", *columns], printed_rows(table)) if table.thesis else ["The thesis prints no numbers."]
    if (known := state(table, records, "paper"))["recorded"]:
        mixed = mixture(known["precisions"])
        lines += ["", f"Measured by this repository at the same scale: {mixed}".rstrip(), ""]
        lines += _markdown(["", "", *columns], compared_rows(table, records))
    support = [(claim, printed_support(claim, table)) for claim in table.claims]
    borne_out = [f"- {claim.section}: {claim.text} Bears out {s[0]} of {s[1]}." for claim, s in support if s]
    return [*lines, "", *borne_out] if borne_out else lines


def _runs_table(tables: Sequence[ThesisTable], records: Records) -> list[str]:
    found: dict[str, Record] = {}
    for table in tables:
        for scale, grid in table.grids.items():
            for run in grid.runs.values():
                for seed in records.seeds(run, scale):
                    record = records.find(run, scale, seed)
                    if record:
                        found[record.id] = record
    rows = [
        [f"`{' '.join(r.command)}`", _commit(r), str(r.provenance.get("hardware", {}).get("cpu", MISSING)),
         f"{r.wall_time:.0f} s", r.started[:10]]
        for r in found.values()
    ]  # fmt: skip
    return _markdown(["command", "commit", "hardware", "wall time", "date"], rows) if rows else ["None yet."]


def _commit(record: Record) -> str:
    git = record.provenance.get("git") or {}
    return f"{str(git.get('commit', MISSING))[:8]}{' (modified)' if git.get('dirty') else ''}"
