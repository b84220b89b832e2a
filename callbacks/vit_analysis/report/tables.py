"""Tables 2.1, 2.4, 2.5 and 2.6: the best figure of every model with the layer that gives it, as CSV and Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from callbacks.results.markdown import markdown_table
from callbacks.results.table import MISSING, Table, TableCell
from callbacks.vit_analysis.report.arrays import AnalysedModel
from callbacks.vit_analysis.report.line_plots import data_sets
from callbacks.vit_analysis.report.style import RANDOM, main_models

PROBES = {"CLS": "cls", "Spat.": "spatial", "CLS+BN": "cls_bn", "Spat.+BN": "spatial_bn"}


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


def tables(models: Sequence[AnalysedModel]) -> dict[str, Table]:
    """Return by number the tables for which any model has a figure, in the thesis' order."""
    retrieval = {d: [retrieval_measure(d, level) for level in ("medium", "hard")] for d in retrieval_sets(models)}
    first = [next(iter(retrieval.values()))[0]] if retrieval else []
    everything = [TOP1, TOP5, *(measure for pair in retrieval.values() for measure in pair), *VIDEO, *PCK]
    made = {
        "2.1": best_layers(
            "Best figure on the downstream tasks", main_models(models), [TOP1, *first, VIDEO[2], PCK[0]]
        ),
        "2.4": best_layers(
            "Video segmentation with one pass over the frame and with dense features",
            models,
            [Measure("J&F normal", "video", "J&F"), Measure("J&F dense", "dense-video", "J&F")],
        ),
        "2.5": best_layers("Best figure of every model on every downstream task", models, everything),
        "2.6": linear_probes(models),
    }
    filled = {
        number: table
        for number, table in made.items()
        if any(cell.text != MISSING for _, cells in table.rows for cell in cells)
    }
    return {number: with_depth(table, models) if number == "2.5" else table for number, table in filled.items()}


def best_layers(title: str, models: Sequence[AnalysedModel], measures: Sequence[Measure]) -> Table:
    """Return a table with a row a model and a column a measure: the best value (its layer, from 1).

    The best of a column stands out, Random left aside. Of equal layers the first counts. Random has no layers.
    """
    rows: dict[str, list[TableCell]] = {model.name: [] for model in models}
    for measure in measures:
        best = {model.name: best_layer(model, measure) for model in models}
        ranked = [best[m.name][0] for m in models if m.method != RANDOM and best[m.name] is not None]  # type: ignore[index]
        top = max(ranked, default=None)
        for model in models:
            found = best[model.name]
            if found is None:
                rows[model.name].append(TableCell())
                continue
            value, layer = found
            text = f"{100 * value if measure.per_cent else value:.2f}"
            if model.method == RANDOM:
                rows[model.name].append(TableCell(text))
            else:
                rows[model.name].append(TableCell(f"{text} ({layer})", len(ranked) > 1 and value == top))
    return Table(title, ["Model", *(measure.title for measure in measures)], list(rows.items()), ranked=True)


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
    rows = [(name, [TableCell(depths[name]), *cells]) for name, cells in table.rows]
    return replace(table, header=[table.header[0], "Layers", *table.header[1:]], rows=rows)


def linear_probes(models: Sequence[AnalysedModel]) -> Table:
    """Return Table 2.6: a row a feature, a column a model, accuracy in per cent; last the layer that was probed."""
    probed = [model for model in models if model.arrays.get("probe")]
    rows = {}
    for title, key in PROBES.items():
        values = [_number(model, key) for model in probed]
        known = [value for value, model in zip(values, probed, strict=True) if value is not None]
        rows[title] = [
            TableCell() if value is None else TableCell(f"{100 * value:.2f}", len(known) > 1 and value == max(known))
            for value in values
        ]
    numbers = [_number(model, "layer") for model in probed]
    rows["Layer"] = [TableCell() if value is None else TableCell(f"{value:.0f}") for value in numbers]
    header = ["Feature", *(model.name for model in probed)]
    return Table("Top-1 accuracy of linear probes (%)", header, list(rows.items()), ranked=True)


def as_markdown(number: str, table: Table) -> str:
    """Return a table as a Markdown document, the best figures bold."""
    return "\n".join([f"# Table {number}: {table.title}", "", *markdown_table(table), ""])


def _number(model: AnalysedModel, key: str) -> float | None:
    value = model.get("probe", key)
    return None if value is None or not np.isfinite(value) else float(value)
