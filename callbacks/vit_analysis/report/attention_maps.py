"""Figures 2.2, 2.3, 2.11-2.14, 2.17 and 2.18: attention as pictures, one small map a head."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from callbacks.results.figures import new_figure
from callbacks.vit_analysis.report.arrays import AnalysedModel
from callbacks.vit_analysis.report.local_heads import Head, kinds_of_heads, offset_local_head
from callbacks.vit_analysis.report.style import layer_ticks, layers

HEADS_SHOWN = 3  # a layer, in the overview
EXAMPLES_SHOWN = 10
MID_LINE = {"color": "#FF2020", "linewidth": 0.6}
_SMALL, _TINY = 8, 7  # points


# ------------------------------------------------------------------------------------------------ grids of every head


def scaled(maps: np.ndarray) -> np.ndarray:
    """Return maps (..., h, w), each scaled to [0, 1] on its own; a map without contrast becomes 0."""
    low = maps.min(axis=(-2, -1), keepdims=True)
    span = maps.max(axis=(-2, -1), keepdims=True) - low
    return np.divide(maps - low, span, out=np.zeros_like(maps, dtype=float), where=span > 0)


def mosaic(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return maps (R, C, h, w) as one picture with gaps of NaN, and the centres of its rows and columns in pixels."""
    rows, columns, h, w = maps.shape
    gap = max(1, round(max(h, w) / 8))
    picture = np.full((rows * (h + gap) - gap, columns * (w + gap) - gap), np.nan)
    for row in range(rows):
        for column in range(columns):
            y, x = row * (h + gap), column * (w + gap)
            picture[y : y + h, x : x + w] = maps[row, column]
    return picture, np.arange(rows) * (h + gap) + (h - 1) / 2, np.arange(columns) * (w + gap) + (w - 1) / 2


def draw_heads(panel: Any, maps: np.ndarray, heads: Sequence[int], mid_lines: bool = False) -> None:
    """Draw maps (L, C, h, w) of the heads with these numbers: a row a layer, a column a head, layer 1 on top."""
    picture, rows, columns = mosaic(scaled(maps))
    panel.imshow(picture, cmap="viridis", vmin=0, vmax=1, interpolation="nearest")
    if mid_lines:
        h, w = maps.shape[-2:]
        for row in rows:
            panel.hlines(np.full(len(columns), row), columns - w / 2, columns + w / 2, **MID_LINE)
        for column in columns:
            panel.vlines(np.full(len(rows), column), rows - h / 2, rows + h / 2, **MID_LINE)
    shown = layer_ticks(len(rows))
    panel.set_yticks([rows[layer - 1] for layer in shown], [str(layer) for layer in shown])
    panel.set_xticks(columns, [str(head) for head in heads])
    panel.tick_params(length=0, labelsize=_SMALL if len(columns) < 10 else _TINY, pad=2)
    panel.spines[:].set_visible(False)


def every_head(model: AnalysedModel, key: str) -> Any | None:
    """Return Figure 2.17 (``key`` "cls_map") or 2.18 ("aligned", with mid-lines in red) of one model.

    Returns:
        a matplotlib figure of one panel; None if the model has no such maps.
    """
    maps = model.get("attention", key)
    if maps is None:
        return None
    depth, heads = maps.shape[:2]
    cell = 0.5 if heads <= 6 else 0.42
    h, w = maps.shape[-2:]
    figure = new_figure(max(2.6, heads * cell + 0.6), depth * cell * h / w + 0.75)
    panel = figure.subplots()
    draw_heads(panel, maps, layers(heads).tolist(), mid_lines=key == "aligned")
    panel.set_title(model.name, fontsize=10)
    panel.set_xlabel("head", fontsize=9)
    panel.set_ylabel("layer", fontsize=9)
    return figure


def overview(models: Sequence[AnalysedModel]) -> Any | None:
    """Return Figure 2.2: the average attention map of the CLS token, three heads a layer, the models side by side."""
    found = _with_maps(models, "cls_map")
    if not found:
        return None
    depth = max(model.depth for model, _ in found)
    columns = min(len(found), 3 if depth <= 8 else 6)
    rows = -(-len(found) // columns)
    width, cell = (1.75, 0.45) if depth <= 8 else (1.35, 0.36)
    figure = new_figure(max(2.8, columns * width), rows * (depth * cell + 0.6))
    panels = figure.subplots(rows, columns, squeeze=False)
    for panel, (model, maps) in _fill(panels, found):
        heads = np.unique(np.linspace(0, maps.shape[1] - 1, HEADS_SHOWN).round().astype(int))
        draw_heads(panel, maps[:, heads], (heads + 1).tolist())
        panel.set_title(model.name, fontsize=10)
    for row in panels:
        row[0].set_ylabel("layer", fontsize=9)
    figure.supxlabel("head", fontsize=9)
    return figure


# ------------------------------------------------------------------------------------------------ local attention


def local_heads(models: Sequence[AnalysedModel]) -> Any | None:
    """Return Figure 2.3: one AAAM for each model (row) and kind of local attention (column).

    Under each map stand [layer, head] and what it was chosen by; the column "offset" has mid-lines in red.
    """
    found = _with_maps(models, "aligned")
    if not found:
        return None
    kinds = list(kinds_of_heads(found[0][0]))
    figure = new_figure(1.35 * len(kinds) + 0.4, 1.7 * len(found) + 0.4)
    panels = figure.subplots(len(found), len(kinds), squeeze=False)
    for row, (model, maps) in zip(panels, found, strict=True):
        for panel, (kind, head) in zip(row, kinds_of_heads(model).items(), strict=True):
            _draw_head(panel, maps, head, mid_lines=kind == "offset")
        row[0].set_ylabel(model.name, fontsize=10)
    for panel, kind in zip(panels[0], kinds, strict=True):
        panel.set_title(kind, fontsize=10)
    return figure


def offset_heads(models: Sequence[AnalysedModel]) -> Any | None:
    """Return Figure 2.14: one offset local head a model, mid-lines in red; "none" where no head is local."""
    found = _with_maps(models, "aligned")
    if not found:
        return None
    columns = min(len(found), 4)
    rows = -(-len(found) // columns)
    figure = new_figure(max(2.8, 1.5 * columns), 2.05 * rows)
    for panel, (model, maps) in _fill(figure.subplots(rows, columns, squeeze=False), found):
        _draw_head(panel, maps, offset_local_head(model), mid_lines=True)
        panel.set_title(model.name, fontsize=9)
    return figure


def _draw_head(panel: Any, maps: np.ndarray, head: Head | None, mid_lines: bool) -> None:
    panel.set_xticks([])
    panel.set_yticks([])
    panel.spines[:].set_color("0.8")
    if head is None:
        height, width = maps.shape[-2:]
        panel.imshow(np.full((height, width), np.nan))
        panel.text((width - 1) / 2, (height - 1) / 2, "none", ha="center", va="center", fontsize=9, color="0.4")
        panel.set_xlabel(" \n ", fontsize=_SMALL)
        return
    picture = maps[head.layer, head.head]
    panel.imshow(scaled(picture), cmap="viridis", vmin=0, vmax=1, interpolation="nearest")
    if mid_lines:
        panel.axhline((picture.shape[0] - 1) / 2, **MID_LINE)
        panel.axvline((picture.shape[1] - 1) / 2, **MID_LINE)
    panel.set_xlabel(f"[{head.layer + 1}, {head.head + 1}]\n{head.text}", fontsize=_SMALL, labelpad=2)


# -------------------------------------------------------------------------------------------------- single images


def example(models: Sequence[AnalysedModel], index: int) -> Any | None:
    """Return Figure 2.11 or 2.12: one image and, for every model, the CLS attention map of every head and layer."""
    found = [(m, maps[index]) for m, maps in _with_maps(models, "examples_cls") if len(maps) > index]
    if not found or found[0][0].get("attention", "examples_image") is None:
        return None
    depth, heads = max(m.depth for m, _ in found), max(m.heads for m, _ in found)
    cell = 0.3 if heads <= 6 else 0.2
    columns = min(len(found) + 1, 4 if heads <= 6 else 3)
    rows = -(-(len(found) + 1) // columns)
    figure = new_figure(max(2.8, columns * (heads * cell + 0.3)), rows * (depth * cell + 0.35) + 0.2)
    panels = figure.subplots(rows, columns, squeeze=False)
    _draw_image(panels[0, 0], _image(found[0][0], index))
    panels[0, 0].set_title("image", fontsize=9)
    for panel, (model, maps) in _fill(panels, found, skip=1):
        draw_heads(panel, maps, layers(maps.shape[1]).tolist())
        panel.set_title(model.name, fontsize=9)
        if maps.shape[1] > 6:
            panel.set_xticks([])
        panel.tick_params(labelsize=6)
    figure.supxlabel("head", fontsize=_SMALL)
    panels[0, 0].set_ylabel("layer (of the maps)", fontsize=_SMALL) if columns == 1 else None
    return figure


def last_layer(models: Sequence[AnalysedModel], size: int = 56) -> Any | None:
    """Return Figure 2.13: the CLS attention map of the first head of the last layer, images as rows, models as columns.

    Args:
        models: those without example images are left out.
        size: side of a map in pixels of the picture.

    Returns:
        a figure whose last row is the average over all images; None without example images.
    """
    found = _with_maps(models, "examples_cls")
    if not found or found[0][0].get("attention", "examples_image") is None:
        return None
    from matplotlib import colormaps

    count = min(EXAMPLES_SHOWN, *(len(maps) for _, maps in found))
    gap = 4
    picture = np.ones(((count + 1) * (size + gap) - gap, (len(found) + 1) * (size + gap) - gap, 3))
    for row in range(count):
        y = row * (size + gap)
        picture[y : y + size, :size] = _nearest(_image(found[0][0], row), size)
    for column, (model, maps) in enumerate(found, start=1):
        average = model.get("attention", "cls_map")
        shown = [*maps[:count, -1, 0], *([] if average is None else [average[-1, 0]])]
        for row, one in enumerate(shown):
            y, x = row * (size + gap), column * (size + gap)
            picture[y : y + size, x : x + size] = colormaps["viridis"](_nearest(scaled(one), size))[..., :3]
    figure = new_figure(0.62 * (len(found) + 1) + 0.5, 0.6 * (count + 1) + 0.9)
    panel = figure.subplots()
    panel.imshow(picture, interpolation="nearest")
    middle = np.arange(len(found) + 1) * (size + gap) + size / 2
    panel.set_xticks(middle, ["image", *(model.name for model, _ in found)], rotation=45, ha="left", fontsize=9)
    panel.xaxis.tick_top()
    panel.set_yticks([count * (size + gap) + size / 2], ["mean"], fontsize=9)
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)
    return figure


def _image(model: AnalysedModel, index: int) -> np.ndarray:
    """Return an example image (S, S, 3) in [0, 1]."""
    images = model.get("attention", "examples_image")
    assert images is not None
    return images[index].transpose(1, 2, 0) / 255


def _draw_image(panel: Any, image: np.ndarray) -> None:
    panel.imshow(image)
    panel.set_xticks([])
    panel.set_yticks([])
    panel.spines[:].set_visible(False)


def _nearest(picture: np.ndarray, size: int) -> np.ndarray:
    """Return a picture (h, w, ...) at size x size pixels, each taken from the pixel that lies under it."""
    rows = np.arange(size) * picture.shape[0] // size
    columns = np.arange(size) * picture.shape[1] // size
    return picture[rows[:, None], columns]


def _with_maps(models: Sequence[AnalysedModel], key: str) -> list[tuple[AnalysedModel, np.ndarray]]:
    pairs = ((model, model.get("attention", key)) for model in models)
    return [(model, maps) for model, maps in pairs if maps is not None]


def _fill(panels: np.ndarray, items: Sequence[Any], skip: int = 0) -> list[tuple[Any, Any]]:
    """Return panels with their items, from panel ``skip`` on, and switch off those that are left over."""
    free = panels.ravel()[skip:]
    for panel in free[len(items) :]:
        panel.set_axis_off()
    return list(zip(free, items, strict=False))
