"""Figures 2.4, 2.5, 2.7-2.10, 2.15, 2.16, 2.23 (ratios) and 2.24-2.31: a figure of merit against the layer."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from callbacks.results.figures import new_figure
from callbacks.vit_analysis.report.arrays import AnalysedModel
from callbacks.vit_analysis.report.style import RANDOM, Look, layer_ticks, layers, looks, normalised_depth

CLUSTERING = {"purity": 0, "NMI": 1, "ARI": 2}
TOKENS = {"CLS": 0, "spatial": 1, "all": 2}
Values = Mapping[str, np.ndarray]


def layer_values(
    models: Sequence[AnalysedModel], protocol: str, key: str, column: int | None = None, factor: float = 1
) -> dict[str, np.ndarray]:
    """Return a figure of merit (L,) by model, of the models that have it.

    Args:
        models: to look at.
        protocol: such as "knn".
        key: such as "top1", of an array over layers.
        column: which of the last axis, where the array has one.
        factor: 100 for per cent.
    """
    found = {}
    for model in models:
        values = model.get(protocol, key)
        if values is None:
            continue
        values = factor * (values if column is None else values[:, column])
        if np.isfinite(values).any():
            found[model.name] = values
    return found


def data_sets(models: Sequence[AnalysedModel], protocol: str, key: str) -> list[str]:
    """Return the data sets d for which any model has "<d>/<key>", in order of appearance."""
    names = (name for model in models for name in model.arrays.get(protocol, {}) if name.endswith(f"/{key}"))
    return list(dict.fromkeys(name.rpartition("/")[0] for name in names))


def draw_layers(models: Sequence[AnalysedModel], values: Values, label: str, log: bool = False) -> Any | None:
    """Return a figure of merit against the layer, one line a model.

    Models of different depth are drawn against layer / depth. Where a method has several variants, every method gets
    a panel of its own. A model of method Random is a grey dashed line across, at its best value.

    Args:
        models: all that may take part; they decide colours.
        values: (L,) by name of the model.
        label: of the vertical axis, with its unit.
        log: whether the vertical axis is logarithmic.

    Returns:
        a matplotlib figure; None if no model but Random has values.
    """
    shown = [model for model in models if model.name in values and model.method != RANDOM]
    chance = [model for model in models if model.name in values and model.method == RANDOM]
    if not shown:
        return None
    methods = list(dict.fromkeys(model.method for model in shown))
    split = len(methods) < len(shown)
    groups = [[m for m in shown if m.method == method] for method in methods] if split else [shown]
    columns = min(len(groups), 3)
    rows = -(-len(groups) // columns)
    figure = new_figure(max(4.8, 3.3 * columns), 3.7 if rows == columns == 1 else 3.3 * rows)
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for panel in panels.ravel()[len(groups) :]:
        panel.set_axis_off()
    look = looks(models)
    for number, (panel, group) in enumerate(zip(panels.ravel(), groups, strict=False)):
        _draw_group(panel, group, chance, values, look, one_depth=len({m.depth for m in shown}) == 1)
        if log:
            _logarithmic(panel)
        if split:
            panel.set_title(group[0].method, fontsize=11)
        if number % columns == 0:
            panel.set_ylabel(label, fontsize=11)
        lines = len(group) + len(chance)
        # Below the axis, because lines may pass anywhere inside it.
        panel.legend(
            loc="upper center",
            bbox_to_anchor=(0.5, -0.2 if rows == columns == 1 else -0.24),
            ncols=min(lines, 4 if rows == columns == 1 else 2),
            frameon=False,
            fontsize=9,
            handlelength=2.6,
            columnspacing=1.2,
        )
    return figure


def _logarithmic(panel: Any) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    panel.set_yscale("log")
    panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    panel.yaxis.set_minor_formatter(NullFormatter())


def _draw_group(
    panel: Any,
    group: Sequence[AnalysedModel],
    chance: Sequence[AnalysedModel],
    values: Values,
    look: Mapping[str, Look],
    one_depth: bool,
) -> None:
    for model in group:
        style = look[model.name]
        panel.plot(
            layers(model.depth) if one_depth else normalised_depth(model.depth),
            values[model.name],
            color=style.colour,
            marker=style.marker,
            linestyle=style.line,
            markersize=4.5,
            markevery=max(1, model.depth // 12),
            linewidth=1.6,
            label=model.name,
        )
    for model in chance:
        panel.axhline(np.nanmax(values[model.name]), color=look[model.name].colour, linestyle="--", label=model.name)
    if one_depth:
        panel.set_xticks(layer_ticks(group[0].depth))
        panel.set_xlabel("layer", fontsize=11)
    else:
        panel.set_xlabel("layer / depth", fontsize=11)
        panel.set_xlim(0, 1.03)
    panel.tick_params(labelsize=10, labelleft=True)
    panel.grid(alpha=0.3)
    panel.spines[["top", "right"]].set_visible(False)


def mean_distance(models: Sequence[AnalysedModel]) -> Any | None:
    """Return Figure 2.4 (right) or 2.15: the attention distance of every layer, averaged over its heads."""
    values = {name: one.mean(axis=1) for name, one in _distances(models).items()}
    return draw_layers(models, values, "mean attention distance\n(side of the image = 1)")


def head_distances(models: Sequence[AnalysedModel]) -> Any | None:
    """Return Figure 2.4 (left): the attention distance of every head, one panel a model, sorted within each layer."""
    distances = _distances(models)
    shown = [model for model in models if model.name in distances]
    if not shown:
        return None
    columns = min(len(shown), 3)
    rows = -(-len(shown) // columns)
    figure = new_figure(max(3.2, 2.1 * columns), 1.75 * rows + 0.3)
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for panel in panels.ravel()[len(shown) :]:
        panel.set_axis_off()
    look = looks(models)
    for panel, model in zip(panels.ravel(), shown, strict=False):
        heads = np.sort(distances[model.name], axis=1)
        place = np.linspace(-0.33, 0.33, heads.shape[1]) if heads.shape[1] > 1 else np.zeros(1)
        across = layers(model.depth)[:, None] + place
        size = 9 if model.depth <= 12 else 3
        panel.scatter(across.ravel(), heads.ravel(), s=size, color=look[model.name].colour, clip_on=False, zorder=3)
        panel.set_title(model.name, fontsize=10)
        panel.set_xticks(layer_ticks(model.depth, most=6))
        panel.grid(alpha=0.3)
        panel.set_ylim(bottom=0)
        panel.set_xlim(0.4, model.depth + 0.6)
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(labelsize=9)
    figure.supxlabel("layer", fontsize=10)
    figure.supylabel("attention distance of each head", fontsize=10)
    return figure


def saliency(models: Sequence[AnalysedModel], data_set: str, token: str, one_head: bool = False) -> Any | None:
    """Return Figure 2.5 or 2.16: IoU of attention with salient content.

    Args:
        models: to compare.
        data_set: part of the key, such as "PartImageNet".
        token: "cls" or "spatial", whose attention it is.
        one_head: take the head of a layer that is best over all images; otherwise the best head of every image, as
            the thesis' plots do.
    """
    values = layer_values(models, "saliency", f"{data_set}/{token}_{'head' if one_head else 'best'}")
    if one_head:
        values = {name: heads.max(axis=1) for name, heads in values.items()}
    return draw_layers(models, values, "IoU, best head of the layer" if one_head else "IoU, best head of each image")


def clustering(models: Sequence[AnalysedModel], key: str, metric: str) -> Any | None:
    """Return Figure 2.7, 2.8 or 2.24-2.27: purity, NMI or ARI of clusters of the features ``key``."""
    values = layer_values(models, "clustering", key, CLUSTERING[metric])
    return draw_layers(models, values, "cluster purity" if metric == "purity" else metric)


def metric(models: Sequence[AnalysedModel], protocol: str, key: str, label: str, per_cent: bool = False) -> Any | None:
    """Return Figure 2.9, 2.10 or 2.28-2.31: a downstream figure of merit."""
    return draw_layers(models, layer_values(models, protocol, key, factor=100 if per_cent else 1), label)


def norm_ratio(models: Sequence[AnalysedModel], branch: str, token: str) -> Any | None:
    """Return the lines beside Figure 2.23: how much larger the skip connection is than the branch.

    Args:
        models: to compare.
        branch: "attention" or "mlp".
        token: "CLS", "spatial" or "all".
    """
    values = layer_values(models, "similarity", f"ratio_{branch}", TOKENS[token])
    return draw_layers(models, values, "norm of skip / norm of branch", log=True)


def _distances(models: Sequence[AnalysedModel]) -> dict[str, np.ndarray]:
    """Return (L, H) by model."""
    return layer_values([model for model in models if model.method != RANDOM], "attention", "distance")
