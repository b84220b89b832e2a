"""Tables 2.1, 2.4, 2.5 and 2.6: the best figure of every model with the layer that gives it, as CSV and Markdown."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from callbacks.vit_analysis.report.arrays import AnalysedModel
from callbacks.vit_analysis.report.line_plots import data_sets
from callbacks.vit_analysis.report.style import RANDOM, main_models

MISSING = "–"
PROBES = {"CLS": "cls", "Spat.": "spatial", "CLS+BN": "cls_bn", "Spat.+BN": "spatial_bn"}


@dataclass(frozen=True)
class Cell:
    """One figure of a table.

    Attributes:
        text: the rounded figure with its layer.
        best: whether it is the best of those that it is compared with.
    """

    text: str = MISSING
    best: bool = False


@dataclass(frozen=True)
class Table:
    """A numbered table.

    Attributes:
        number: of the thesis.
        title: of one line.
        header: of all columns, that of the names first.
        rows: cells by name; as many as ``header`` has after its first.
    """

    number: str
    title: str
    header: list[str]
    rows: dict[str, list[Cell]]


@dataclass(frozen=True)
class Measure:
    """One column: where its figures are and how they are written.

    Attributes:
        title: with the unit.
        protocol: such as "knn".
        key: such as "top1".
        per_cent: whether it is written in per cent; as a fraction otherwise. Both have two decimals.
    """

    title: str
    protocol: str
    key: str
    per_cent: bool = False


TOP1 = Measure("k-NN top-1 (%)", "knn", "top1", per_cent=True)
TOP5 = Measure("k-NN top-5 (%)", "knn", "top5", per_cent=True)
PCK = [Measure(f"PCK@{alpha} (%)", "keypoints", f"PCK@{alpha}", per_cent=True) for alpha in ("0.1", "0.05", "0.01")]
VIDEO = [Measure(name, "dense-video", name) for name in ("J", "F", "J&F")]


def tables(models: Sequence[AnalysedModel]) -> list[Table]:
    """Return the tables for which any model has a figure, in the thesis' order."""
    retrieval = {d: [retrieval_measure(d, level) for level in ("medium", "hard")] for d in retrieval_sets(models)}
    first = [next(iter(retrieval.values()))[0]] if retrieval else []
    everything = [TOP1, TOP5, *(measure for pair in retrieval.values() for measure in pair), *VIDEO, *PCK]
    table_2_5 = best_layers("2.5", "Best figure of every model on every downstream task", models, everything)
    made = [
        best_layers(
            "2.1", "Best figure on the downstream tasks", main_models(models), [TOP1, *first, VIDEO[2], PCK[0]]
        ),
        best_layers(
            "2.4",
            "Video segmentation with one pass over the frame and with dense features",
            models,
            [Measure("J&F normal", "video", "J&F"), Measure("J&F dense", "dense-video", "J&F")],
        ),
        table_2_5,
        linear_probes(models),
    ]
    filled = [table for table in made if any(cell.text != MISSING for cells in table.rows.values() for cell in cells)]
    return [with_depth(table, models) if table is table_2_5 else table for table in filled]


def best_layers(number: str, title: str, models: Sequence[AnalysedModel], measures: Sequence[Measure]) -> Table:
    """Return a table with a row a model and a column a measure: the best value (its layer, from 1).

    The best of a column stands out, Random left aside. Of equal layers the first counts. Random has no layers.
    """
    rows: dict[str, list[Cell]] = {model.name: [] for model in models}
    for measure in measures:
        best = {model.name: best_layer(model, measure) for model in models}
        ranked = [best[m.name][0] for m in models if m.method != RANDOM and best[m.name] is not None]  # type: ignore[index]
        top = max(ranked, default=None)
        for model in models:
            found = best[model.name]
            if found is None:
                rows[model.name].append(Cell())
                continue
            value, layer = found
            text = f"{100 * value if measure.per_cent else value:.2f}"
            if model.method == RANDOM:
                rows[model.name].append(Cell(text))
            else:
                rows[model.name].append(Cell(f"{text} ({layer})", len(ranked) > 1 and value == top))
    return Table(number, title, ["Model", *(measure.title for measure in measures)], rows=rows)


def best_layer(model: AnalysedModel, measure: Measure) -> tuple[float, int] | None:
    """Return the largest value over layers as a fraction, and its layer from 1; None if there is none."""
    values = model.get(measure.protocol, measure.key)
    if values is None or not np.isfinite(values).any():
        return None
    index = int(np.nanargmax(values))
    return float(values[index]), index + 1


def retrieval_sets(models: Sequence[AnalysedModel]) -> list[str]:
    """Return the data sets that images were retrieved from."""
    return list(dict.fromkeys([*data_sets(models, "retrieval", "medium"), *data_sets(models, "retrieval", "hard")]))


def retrieval_measure(data_set: str, level: str) -> Measure:
    """Return the mAP of a data set at the level "medium" or "hard"."""
    return Measure(f"{data_set} mAP ({level[0].upper()})", "retrieval", f"{data_set}/{level}")


def with_depth(table: Table, models: Sequence[AnalysedModel]) -> Table:
    """Return a table with the number of layers as its first column."""
    depths = {model.name: MISSING if model.method == RANDOM else str(model.depth) for model in models}
    rows = {name: [Cell(depths[name]), *cells] for name, cells in table.rows.items()}
    return Table(table.number, table.title, [table.header[0], "Layers", *table.header[1:]], rows=rows)


def linear_probes(models: Sequence[AnalysedModel]) -> Table:
    """Return Table 2.6: a row a feature, a column a model, accuracy in per cent; last the layer that was probed."""
    probed = [model for model in models if model.arrays.get("probe")]
    rows = {}
    for title, key in PROBES.items():
        values = [_number(model, key) for model in probed]
        known = [value for value, model in zip(values, probed, strict=True) if value is not None]
        rows[title] = [
            Cell() if value is None else Cell(f"{100 * value:.2f}", len(known) > 1 and value == max(known))
            for value in values
        ]
    numbers = [_number(model, "layer") for model in probed]
    rows["Layer"] = [Cell() if value is None else Cell(f"{value:.0f}") for value in numbers]
    header = ["Feature", *(model.name for model in probed)]
    return Table("2.6", "Top-1 accuracy of linear probes (%)", header, rows=rows)


def as_csv(table: Table) -> str:
    """Return a table as CSV with one line of header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.header)
    writer.writerows([name, *(cell.text for cell in cells)] for name, cells in table.rows.items())
    return text.getvalue()


def as_markdown(table: Table) -> str:
    """Return a table as Markdown, the best figures bold."""
    lines = [f"# Table {table.number}: {table.title}", "", _line(table.header)]
    lines.append("|---|" + "---:|" * (len(table.header) - 1))
    for name, cells in table.rows.items():
        lines.append(_line([name, *(f"**{cell.text}**" if cell.best else cell.text for cell in cells)], marked=True))
    return "\n".join([*lines, ""])


def _line(words: Sequence[str], marked: bool = False) -> str:
    """Join cells; what would end a cell or be read as emphasis is escaped, except the marks of ``marked`` cells."""
    first, rest = words[0], words[1:]
    return "| " + " | ".join([_escape(first), *(rest if marked else map(_escape, rest))]) + " |"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("*", "\\*").replace("_", "\\_")


def _number(model: AnalysedModel, key: str) -> float | None:
    value = model.get("probe", key)
    return None if value is None or not np.isfinite(value) else float(value)
