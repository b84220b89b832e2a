"""The results of a test as tables: on the terminal, and as Markdown in the run folder."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from typing_extensions import override

from callbacks.results.markdown import markdown_table
from callbacks.results.presentation import NEUTRAL, MetricKind, Presentation
from callbacks.results.result import Result
from callbacks.results.table import Table, TableCell
from callbacks.results.terminal import print_tables
from visionscapes.files import write_text

NOTE = "value ± standard error; bold: best, ~: within two standard errors of it"
UNIT = " (%)"
Presentations = Mapping[str, Presentation]  # by protocol


class ResultTable(Callback):
    """Prints the results of all evaluation callbacks after a test and writes them to results/summary.md.

    These are the callbacks that have a ``protocol`` and ``results``, a list of ``callbacks.results.result.Result``. How
    their figures are shown is what the callback states as its ``presentation``; without one they are shown as they are.
    Metrics that the module has logged and no protocol covers follow in a table of their own.

    A table shows one metric over the image sizes or, where there is one size only, the metrics of a protocol. Where
    methods compete the best figure of a column is bold; "~" marks those within two standard errors of it, the errors
    added in squares as if the two were independent, which is cautious where they come from the same images.

    Args:
        metrics: which metrics of the protocols to print, such as ["J&F", "PCK@0.1"]; all if None. The file has all.
    """

    prints_results = True  # so that Lightning's own table of a test is left out

    def __init__(self, metrics: list[str] | None = None):
        self.metrics = metrics

    @override
    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        results, presentations = results_of(trainer.callbacks)  # type: ignore[attr-defined]
        others = other_metrics(trainer.logged_metrics, results)
        tables = [*result_tables(results, presentations), *others]
        if not tables:
            return
        path = Path(trainer.default_root_dir) / "results" / "summary.md"
        write_text(path, summary(tables))
        wanted = [row for row in results if self.metrics is None or row.metric in self.metrics]
        shown = [*result_tables(wanted, presentations), *others]
        print_tables(shown, NOTE if any(table.ranked for table in shown) else "")
        if not trainer.fast_dev_run:  # type: ignore[attr-defined]  # which leaves no folder
            print(f"all figures: {path.parent}")


def results_of(callbacks: Iterable[Any]) -> tuple[list[Result], dict[str, Presentation]]:
    """Return the results of all callbacks that have a protocol, and how each protocol is shown."""
    results: list[Result] = []
    presentations: dict[str, Presentation] = {}
    for callback in callbacks:
        if not (hasattr(callback, "protocol") and hasattr(callback, "results")):
            continue
        own = [row for row in callback.results if isinstance(row, Result)]
        results += own
        if hasattr(callback, "presentation"):
            presentations |= dict.fromkeys((row.protocol for row in own), callback.presentation)
    return results, presentations


def other_metrics(logged: Mapping[str, Any], results: Iterable[Result]) -> list[Table]:
    """Return the table of what was logged under no protocol's name, as Lightning writes it; none if nothing was.

    Args:
        logged: figures by name, those of protocols as "<protocol>/...".
        results: of the protocols.
    """
    protocols = tuple({f"{row.protocol}/" for row in results})
    rows = [[name, f"{float(value)}"] for name, value in sorted(logged.items()) if not name.startswith(protocols)]
    return [Table.of_texts("Other metrics of the test", ["metric", "value"], rows)] if rows else []


def result_tables(results: Iterable[Result], presentations: Presentations) -> list[Table]:
    """Return the tables that show these results, in the order in which the results come.

    Args:
        results: of any protocols.
        presentations: of the protocols; one that is missing is called by its name, and its figures are shown as they
            are.
    """

    def presentation_of(protocol: str) -> Presentation:
        return presentations.get(protocol) or Presentation(protocol, NEUTRAL, ranked=False)

    tables = []
    joined: dict[str, list[Result]] = {}
    for result in results:
        joined.setdefault(presentation_of(result.protocol).joins or result.protocol, []).append(result)
    for protocol, rows in joined.items():
        shown = presentation_of(protocol if protocol in presentations else rows[0].protocol)
        kinds = {row.metric: presentation_of(row.protocol).kind_of(row.metric) for row in rows}
        sizes = sorted({row.image_size for row in rows})
        if len(sizes) > 1:
            for metric, kind in kinds.items():
                columns = {
                    f"{size} px": (kind, [r for r in rows if (r.metric, r.image_size) == (metric, size)])
                    for size in sizes
                }
                tables.append(_table(f"{shown.title}: {metric}", columns, shown.ranked))
            continue
        names = list(kinds)
        for start in range(0, len(names), shown.columns):
            part = names[start : start + shown.columns]
            columns = {metric: (kinds[metric], [r for r in rows if r.metric == metric]) for metric in part}
            tables.append(_table(f"{shown.title} at {sizes[0]} px", columns, shown.ranked))
    return tables


def summary(tables: Iterable[Table]) -> str:
    """Return tables as a Markdown document."""
    lines = ["# Results", "", f"{NOTE.capitalize()}.", ""]
    for table in tables:
        lines += [f"## {table.title}", "", *markdown_table(table), ""]
    return "\n".join(lines)


def _table(title: str, columns: Mapping[str, tuple[MetricKind, list[Result]]], ranked: bool) -> Table:
    """Return a table with a row a method; its unit stands in the title if all columns have it, else above each."""
    shares = [kind.share for kind, _ in columns.values()]
    header = [name + UNIT * (kind.share and not all(shares)) for name, (kind, _) in columns.items()]
    methods = list(dict.fromkeys(row.method for _, rows in columns.values() for row in rows))
    ranked = ranked and any(kind.better for kind, _ in columns.values())
    cells: dict[str, list[TableCell]] = {method: [] for method in methods}
    for kind, rows in columns.values():
        by_method = {row.method: row for row in rows}
        best = _best(kind, rows) if ranked and len(methods) > 1 else None
        for method in methods:
            cells[method].append(_cell(by_method.get(method), kind, best))
    return Table(title + UNIT * all(shares), ["method", *header], list(cells.items()), ranked=ranked)


def _best(kind: MetricKind, rows: list[Result]) -> Result | None:
    known = [row for row in rows if not math.isnan(row.value)]
    if not known or kind.better is None:
        return None
    choose = max if kind.better == "higher" else min
    return choose(known, key=lambda row: row.value)


def _cell(row: Result | None, kind: MetricKind, best: Result | None) -> TableCell:
    if row is None or math.isnan(row.value):
        return TableCell()
    text = kind.text(row.value, row.standard_error)
    if best is None:
        return TableCell(text)
    error = math.hypot(row.standard_error, best.standard_error)
    return TableCell(text, row.value == best.value, abs(best.value - row.value) <= 2 * error)
