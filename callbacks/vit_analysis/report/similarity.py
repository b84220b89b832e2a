"""Figures 2.6 and 2.19-2.23: CKA between models, between layers, and between skip connections and branches."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from callbacks.results.figures import new_figure
from callbacks.vit_analysis.report.arrays import AnalysedModel
from callbacks.vit_analysis.report.style import layer_ticks
from visionscapes.errors import UserError


def cka(grams_a: np.ndarray, grams_b: np.ndarray) -> np.ndarray:
    """Return the minibatch CKA (R, Q) of Gram matrices (b, R, n, n) and (b, Q, n, n) of the same samples (Eq. 2.1)."""
    from metrics.cka import cka_matrix

    return np.asarray(cka_matrix(grams_a, grams_b))


def same_images(a: AnalysedModel, b: AnalysedModel) -> bool:
    """Whether two models saw the same images in the same batches, without which CKA says nothing."""
    first, second = a.get("similarity", "index"), b.get("similarity", "index")
    return first is not None and second is not None and np.array_equal(first, second)


def not_comparable(models: Sequence[AnalysedModel], key: str) -> list[tuple[str, str]]:
    """Return the pairs of models that have Gram matrices ``key``, but of different images."""
    having = _having(models, key)
    return [(a.name, b.name) for i, a in enumerate(having) for b in having[i + 1 :] if not same_images(a, b)]


def last_layers(models: Sequence[AnalysedModel], key: str) -> tuple[list[AnalysedModel], np.ndarray]:
    """Return the models with Gram matrices ``key``, and the CKA of their last layers, NaN where images differ."""
    having = _having(models, key)
    values = np.full((len(having), len(having)), np.nan)
    rest = list(range(len(having)))
    while rest:
        group = [i for i in rest if i == rest[0] or same_images(having[i], having[rest[0]])]
        grams = np.stack([_grams(having[i], key)[:, -1] for i in group], axis=1)
        values[np.ix_(group, group)] = cka(grams, grams)
        rest = [i for i in rest if i not in group]
    return having, values


def between_models(models: Sequence[AnalysedModel], key: str) -> Any | None:
    """Return Figure 2.6 or 2.19: CKA between the last layers of all models.

    Args:
        models: those without Gram matrices are left out.
        key: "cls" or "spatial".

    Returns:
        a figure of one panel, model 1 at the lower left, pairs that saw different images left blank; None if fewer
        than two models have Gram matrices.
    """
    having, values = last_layers(models, key)
    if len(having) < 2:
        return None
    names = [model.name for model in having]
    side = 0.43 * len(names)
    figure = new_figure(max(4.4, side + 2.2), max(3.8, side + 1.4))
    panel = figure.subplots()
    picture = _heat(figure, panel, values)
    for y, row in enumerate(values):
        for x, value in enumerate(row):
            text = "–" if np.isnan(value) else f"{round(value, 2) + 0.0:.2f}"
            dark = not np.isnan(value) and value < 0.6
            size = 9 if len(names) <= 8 else 6.5
            panel.text(x, y, text, ha="center", va="center", fontsize=size, color="white" if dark else "black")
    panel.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor", fontsize=9)
    panel.set_yticks(range(len(names)), names, fontsize=9)
    picture.axes.tick_params(length=0)
    return figure


def own_depth(models: Sequence[AnalysedModel]) -> Any | None:
    """Return Figure 2.20, 2.21 or 2.22: CKA of every layer of a model with every other, one panel a model.

    The features are those after both LayerNorms of every block, so that a model of L layers has 2L rows.
    """
    having = [model for model in models if model.get("similarity", "norms") is not None]
    if not having:
        return None
    figure, panels = _row_of_panels(len(having))
    for panel, model in zip(panels, having, strict=False):
        grams = _grams(model, "norms")
        picture = _heat(None, panel, cka(grams, grams))
        _number_layers(panel, model.depth, model.depth, per_layer=2)
        panel.set_title(model.name, fontsize=10)
    return _finish(figure, panels[: len(having)], picture, "layer", "layer")


def skip_against_branch(models: Sequence[AnalysedModel], branch: str) -> Any | None:
    """Return Figure 2.23: CKA between what the skip connection (y) and the branch (x) carry, one panel a model.

    Args:
        models: those without Gram matrices are left out.
        branch: "attention" or "mlp".
    """
    keys = f"{branch}_skip", f"{branch}_branch"
    having = [model for model in models if all(model.get("similarity", key) is not None for key in keys)]
    if not having:
        return None
    figure, panels = _row_of_panels(len(having))
    for panel, model in zip(panels, having, strict=False):
        picture = _heat(None, panel, cka(_grams(model, keys[0]), _grams(model, keys[1])))
        _number_layers(panel, model.depth, model.depth)
        panel.set_title(model.name, fontsize=10)
    name = {"attention": "attention", "mlp": "MLP"}[branch]
    return _finish(figure, panels[: len(having)], picture, f"{name} branch of layer", "skip connection of layer")


def two_models(a: AnalysedModel, b: AnalysedModel) -> Any:
    """Return CKA between all layers of two models, of CLS tokens (left) and spatial tokens (right).

    Raises:
        UserError: one of the models has no Gram matrices, or they are of other images than the other's.
    """
    for model in (a, b):
        if any(model.get("similarity", key) is None for key in ("cls", "spatial")):
            raise UserError(f"{model.name} has no Gram matrices: run the analysis with its similarity protocol")
    if not same_images(a, b):
        raise UserError(f"{a.name} and {b.name} were shown different images: analyse them with the same data")
    figure, panels = _row_of_panels(2)
    for panel, key in zip(panels, ("cls", "spatial"), strict=True):
        picture = _heat(None, panel, cka(_grams(a, key), _grams(b, key)))
        _number_layers(panel, b.depth, a.depth)
        panel.set_title({"cls": "CLS token", "spatial": "spatial tokens"}[key], fontsize=10)
    return _finish(figure, panels, picture, f"layer of {b.name}", f"layer of {a.name}")


def _having(models: Sequence[AnalysedModel], key: str) -> list[AnalysedModel]:
    return [model for model in models if model.get("similarity", key) is not None]


def _grams(model: AnalysedModel, key: str) -> np.ndarray:
    grams = model.get("similarity", key)
    assert grams is not None
    return grams


def _row_of_panels(count: int) -> tuple[Any, list[Any]]:
    columns = min(count, 3)
    rows = -(-count // columns)
    figure = new_figure(max(3.6, 2.2 * columns + 0.6), max(2.9, 2.25 * rows + 0.35))
    panels = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for panel in panels[count:]:
        panel.set_axis_off()
    return figure, panels


def _heat(figure: Any, panel: Any, values: np.ndarray) -> Any:
    from matplotlib import colormaps

    colours = colormaps["magma"].with_extremes(bad="0.92")
    picture = panel.imshow(values, origin="lower", vmin=0, vmax=1, cmap=colours, interpolation="nearest")
    if figure is not None:
        figure.colorbar(picture, ax=panel, label="CKA", shrink=0.8)
    return picture


def _number_layers(panel: Any, across: int, up: int, per_layer: int = 1) -> None:
    for axis, depth in ((panel.xaxis, across), (panel.yaxis, up)):
        ticks = layer_ticks(depth, most=6)
        axis.set_ticks([per_layer * layer - (per_layer + 1) / 2 for layer in ticks], [str(layer) for layer in ticks])
    panel.tick_params(labelsize=8)


def _finish(figure: Any, panels: list[Any], picture: Any, across: str, up: str) -> Any:
    figure.colorbar(picture, ax=panels, label="CKA", shrink=0.6)
    figure.supxlabel(across, fontsize=10)
    figure.supylabel(up, fontsize=10)
    return figure
