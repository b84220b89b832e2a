"""The results of a test as tables: on the terminal, and as Markdown in the run folder."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from callbacks.dense.complexity import Complexity
from callbacks.results.result import Result
from visionscapes.files import write_text

TITLES = {
    "keypoints": "Keypoint correspondence",
    "warps": "Correspondence of warped photographs",
    "video": "Video segmentation",
    "discovery": "Object discovery",
    "scale_invariance": "Scale invariance",
    "complexity": "Cost",
    "coco": "Average precision (COCO)",
    "voc": "Average precision (PASCAL VOC)",
    "lvis": "Average precision (LVIS)",
    "proposals": "Recall of proposals",
    "reconstruction": "Fidelity to the true images",
    "noise_variation": "Variation with the noise",
    "spectrum": "Frequency spectrum",
    "health": "Health of the training",
}
COLUMNS = 5  # as many as fit into 80 characters beside the methods
COLUMNS_OF = {"coco": 7}  # short names, and no standard errors
GENERATION = {"reconstruction", "frechet_distance", "noise_variation", "spectrum", "health"}
# Here methods are boxes and masks, or parts, labels and layers, of which none is better than another.
UNRANKED = {Complexity.protocol, "coco", "voc", "lvis", "proposals", *GENERATION}
PLAIN = {Complexity.protocol, *GENERATION}  # figures that are no shares
JOINED = {"frechet_distance": "reconstruction"}  # shown in the table of another protocol: a row of table 5.4


@dataclass(frozen=True)
class Cell:
    """One figure in a table.

    Attributes:
        text: the figure with its standard error.
        best: whether it is the best of its column.
        close: whether it is within two standard errors of the best.
    """

    text: str = ""
    best: bool = False
    close: bool = False


@dataclass(frozen=True)
class Sheet:
    """A table of results: a row a method, a column an image size or a metric."""

    title: str
    columns: list[str]
    rows: dict[str, list[Cell]]
    ranked: bool


class ResultTable(Callback):
    """Prints the results of all evaluation callbacks after a test and writes them to results/summary.md.

    These are the callbacks that have a ``protocol`` and ``results``, a list of ``callbacks.results.result.Result``.

    A table shows one metric over the image sizes or, where there is one size only, the metrics of a protocol. The best
    figure of a column is bold; "~" marks those within two standard errors of it, the errors added in squares as if
    the two were independent, which is cautious where they come from the same images.

    Args:
        metrics: which metrics to print, such as ["J&F", "PCK@0.1"]; all if None. The file has all of them.
    """

    prints_results = True  # so that Lightning's own table of a test is left out

    def __init__(self, metrics: list[str] | None = None):
        self.metrics = metrics

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: D102
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
        sources = (each.results for each in callbacks if hasattr(each, "protocol") and hasattr(each, "results"))
        results = [result for rows in sources for result in rows if isinstance(result, Result)]
        if not results or not trainer.is_global_zero:
            return
        path = Path(trainer.default_root_dir) / "results" / "summary.md"
        write_text(path, as_markdown(sheets(results)))
        show(sheets(r for r in results if self.metrics is None or r.metric in self.metrics))
        print(f"all figures: {path.parent}")


def sheets(results: Iterable[Result]) -> list[Sheet]:
    """Return the tables that show these results, in the order in which the results come."""
    tables = []
    protocols: dict[str, list[Result]] = {}
    for result in results:
        protocols.setdefault(JOINED.get(result.protocol, result.protocol), []).append(result)
    for protocol, rows in protocols.items():
        title, ranked = TITLES.get(protocol, protocol), protocol not in UNRANKED
        percent, most = protocol not in PLAIN, COLUMNS_OF.get(protocol, COLUMNS)
        unit = " (%)" if percent else ""
        sizes = sorted({row.image_size for row in rows})
        metrics = list(dict.fromkeys(row.metric for row in rows))
        if len(sizes) > 1:
            for metric in metrics:
                columns = {
                    f"{size} px": [r for r in rows if (r.metric, r.image_size) == (metric, size)] for size in sizes
                }
                tables.append(_sheet(f"{title}: {metric}{unit}", columns, ranked, percent))
            continue
        for start in range(0, len(metrics), most):
            columns = {metric: [r for r in rows if r.metric == metric] for metric in metrics[start : start + most]}
            tables.append(_sheet(f"{title} at {sizes[0]} px{unit}", columns, ranked, percent))
    return tables


def _sheet(title: str, columns: dict[str, list[Result]], ranked: bool, percent: bool) -> Sheet:
    methods = list(dict.fromkeys(row.method for rows in columns.values() for row in rows))
    cells: dict[str, list[Cell]] = {method: [] for method in methods}
    for rows in columns.values():
        by_method = {row.method: row for row in rows}
        known = [row for row in rows if not math.isnan(row.value)]
        best = max(known, key=lambda row: row.value) if known and ranked and len(methods) > 1 else None
        for method in methods:
            cells[method].append(_cell(by_method.get(method), best, percent))
    return Sheet(title, list(columns), cells, ranked)


def _cell(row: Result | None, best: Result | None, percent: bool) -> Cell:
    if row is None or math.isnan(row.value):
        return Cell("–")
    if row.protocol == Complexity.protocol:
        return Cell(f"{row.value:.3f}")
    if not percent:
        return Cell(f"{row.value:.4g}")
    text = f"{100 * row.value:.1f}"
    if not math.isnan(row.standard_error):
        text += f" ± {100 * row.standard_error:.1f}"
    if best is None:
        return Cell(text)
    error = math.hypot(row.standard_error, best.standard_error)
    return Cell(text, row.value == best.value, best.value - row.value <= 2 * error)


def show(tables: list[Sheet], console: Any = None) -> None:
    """Print tables with rich.

    Args:
        tables: see ``sheets``.
        console: a ``rich.console.Console``; that of the terminal if None.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = console or Console()
    for sheet in tables:
        console.print(sheet.title, style="bold", highlight=False)  # as a table's own title it breaks at its width
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("method", no_wrap=True)
        for column in sheet.columns:
            table.add_column(column, justify="right")
        for method, cells in sheet.rows.items():
            # Two characters after every figure, so that the decimal points stay below each other.
            marked = [Text(f"{c.text}{_mark(c):2}", style="bold" if c.best else "") for c in cells]
            table.add_row(method, *marked)
        console.print(table)
    if any(sheet.ranked for sheet in tables):
        console.print("value ± standard error; bold: best, ~: within two standard errors of it", style="dim")


def as_markdown(tables: list[Sheet]) -> str:
    """Return tables as a Markdown document."""
    lines = ["# Results", "", "Value ± standard error; bold: best, ~: within two standard errors of it.", ""]
    for sheet in tables:
        lines += [f"## {sheet.title}", "", "| " + " | ".join(["method", *sheet.columns]) + " |"]
        lines.append("|---|" + "---:|" * len(sheet.columns))
        for method, cells in sheet.rows.items():
            texts = [f"**{c.text}**" if c.best else c.text + _mark(c) for c in cells]
            lines.append("| " + " | ".join([method, *texts]) + " |")
        lines.append("")
    return "\n".join(lines)


def _mark(cell: Cell) -> str:
    return " ~" if cell.close and not cell.best else ""
