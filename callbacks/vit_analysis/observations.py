"""What table 2.3 observes, as numbers that a program can compare.

Nine of its 22 observations can be asked of six ViTs of one architecture: the eight of the introduction and that about
residual connections. Each has a function below; the fifth is ``between_models`` and, like the sixth, what clustering
scores say themselves. The X pattern is asked as well, though for MAE it is about sizes. Of the others most compare
architectures, for which the same numbers serve where there are several, and one is about single pictures (2.7.4.1).

Layers are told by their share of the depth l / L, so that ViTs of 6 to 32 layers are compared: with 12 layers the first
sixth are layers 1 and 2, from there to the half are layers 3 to 6, which 2.3.3 and 2.3.4 name.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import tan

import numpy as np

from callbacks.vit_analysis.report.arrays import AnalysedModel, Protocols
from callbacks.vit_analysis.report.local_heads import CENTRED, LOCAL, spread_of
from callbacks.vit_analysis.report.style import RANDOM, main_models

Scalars = dict[str, float]
Row = tuple[str, str, float]

DIAGONAL = tan(np.pi / 8)  # smaller through larger component: nearer to a diagonal than to an axis
PLATEAU = 0.95  # of the best IoU
INITIAL, HALF, LATE = 1 / 6, 1 / 2, 3 / 4  # shares of the depth


def observe(models: Mapping[str, tuple[AnalysedModel, Protocols]]) -> list[Row]:
    """Return the numbers behind the observations of table 2.3.

    Args:
        models: what the analysis has left of each model, by name and in order: its description, and its arrays by
            protocol and key. Whatever is missing leaves its numbers out.

    Returns:
        (metric, method, value): for each model with its name; for the CKA of two models' last layers with "a | b", in
        both orders. No value is NaN.
    """
    known = [replace(model, name=name, arrays=arrays) for name, (model, arrays) in models.items()]
    of_model: list[Callable[[Protocols], Scalars]] = [
        repeating_patterns,
        offset_local_heads,
        order_of_attention,
        salient_objects,
        best_layers,
        residual_connections,
        x_pattern,
    ]
    rows: list[Row] = []
    for model in (model for model in known if model.method != RANDOM):
        rows.append(("layers", model.name, float(model.depth)))
        for function in of_model:
            rows += [(name, model.name, value) for name, value in function(model.arrays).items()]
    rows += [("largest shortfall", name, value) for name, value in shortfalls(known).items()]
    main = shortfalls(main_models(known))
    rows += [("largest shortfall among main models", name, value) for name, value in main.items()]
    rows += between_models(known)
    return [row for row in rows if np.isfinite(row[2])]


def repeating_patterns(arrays: Protocols) -> Scalars:
    """Observation 1: attention devolves into Sparse Repeating Patterns, while features go on improving (2.3.1).

    Returns:
        "repeating early" and "repeating late", mean score of the layers up to the half and beyond it; and "image CLS
        purity gained late", purity of clusters of class tokens at the last layer minus that at half the depth.
    """
    found: Scalars = {}
    scores, clustered = _get(arrays, "attention", "repeating"), _get(arrays, "clustering", "image_cls")
    if scores is not None:
        found = {"repeating early": _mean(scores, 0, HALF), "repeating late": _mean(scores, HALF, 1)}
    if clustered is not None and len(clustered) > 1:
        purity = clustered[:, 0]
        found["image CLS purity gained late"] = float(purity[-1] - purity[len(purity) // 2 - 1])
    return found


def offset_local_heads(arrays: Protocols) -> Scalars:
    """Observation 2: heads that attend locally, but beside the token itself (2.3.2, 2.7.4.1).

    A head is local if its Aligned Aggregated Attention Map spreads around its centre of mass at most half as wide as
    uniform attention, and offset if that centre is more than half a token away. Both rules are ours, the thesis judges
    by eye.

    Returns:
        numbers of heads in all layers: "local heads", "offset local heads", of these "diagonal offset local heads", the
        ones nearer to a diagonal than to an axis, and "offset local heads late", those beyond half the depth.
    """
    aligned = _get(arrays, "attention", "aligned")
    if aligned is None:
        return {}
    spread = spread_of(aligned)
    local = spread.overall <= LOCAL
    offset = local & (np.hypot(spread.offset[..., 0], spread.offset[..., 1]) > CENTRED)
    sides = np.abs(spread.offset)
    diagonal = offset & (sides.min(-1) > DIAGONAL * sides.max(-1))
    return {
        "local heads": float(local.sum()),
        "offset local heads": float(offset.sum()),
        "offset local heads late": float(offset[_layers(len(offset), HALF, 1)].sum()),
        "diagonal offset local heads": float(diagonal.sum()),
    }


def order_of_attention(arrays: Protocols) -> Scalars:
    """Observation 3: in which order local and global information is processed (2.3.3).

    Returns:
        "attention distance initial", "attention distance dip" and "attention distance late": mean over heads and over
        layers of the first sixth, from there to the half, and of the last quarter; and "attention distance spread
        late", the standard deviation over the heads of a layer, averaged over the last quarter.
    """
    distance = _get(arrays, "attention", "distance")
    if distance is None:
        return {}
    # A head without any attention on patches has no distance.
    layers = [row[np.isfinite(row)] for row in distance]
    mean = np.array([row.mean() if row.size else np.nan for row in layers])
    spread = np.array([row.std() if row.size else np.nan for row in layers])
    return {
        "attention distance initial": _mean(mean, 0, INITIAL),
        "attention distance dip": _mean(mean, INITIAL, HALF),
        "attention distance late": _mean(mean, LATE, 1),
        "attention distance spread late": _mean(spread, LATE, 1),
    }


def salient_objects(arrays: Protocols) -> Scalars:
    """Observation 4: attention of the class token tells the foreground by the early-to-mid layers (2.3.4).

    From the IoU of the single best head of each layer, averaged over data sets.

    Returns:
        "saliency IoU mid" and "saliency IoU late", mean over the layers from the first sixth of the depth to the half,
        where the thesis sees the plateau, and beyond the half; "saliency plateau", share of the depth at which the IoU
        first reaches 95 % of its best. An early plateau says nothing where attention finds no objects at all: read it
        next to the IoU.
    """
    saliency = arrays.get("saliency", {})
    heads = [np.asarray(saliency[key]) for key in saliency if key.endswith("/cls_head")]
    if not heads:
        return {}
    curve = np.mean([each.max(1) for each in heads], axis=0)
    first = int(np.argmax(curve >= PLATEAU * curve.max()))
    return {
        "saliency IoU mid": _mean(curve, INITIAL, HALF),
        "saliency IoU late": _mean(curve, HALF, 1),
        "saliency plateau": (first + 1) / len(curve),
    }


def best_layers(arrays: Protocols) -> Scalars:
    """Observations 7 and 8: which layer a task does best with (2.5.2, 2.5.3).

    Returns:
        "dense J&F layer share" and "PCK@0.1 layer share", best layer through depth; and "best layer spread", how far
        the best layers of the tasks of table 2.1 lie apart.
    """
    curves = task_curves(arrays)
    shares = {
        name: (int(np.nanargmax(curve)) + 1) / len(curve) for name, curve in curves.items() if np.isfinite(curve).any()
    }
    found = {f"{name} layer share": shares[name] for name in ("dense J&F", "PCK@0.1") if name in shares}
    if len(shares) > 1:
        found["best layer spread"] = max(shares.values()) - min(shares.values())
    return found


def residual_connections(arrays: Protocols) -> Scalars:
    """Observation 17: what skip connection and attention branch of a block carry comes to differ (2.7.5.4).

    Returns:
        "skip-branch CKA early" and "skip-branch CKA late", CKA of the two within a block, averaged over the blocks up
        to the half and beyond it; "skip-branch CKA drop", the first minus the second.
    """
    skip, branch = (_get(arrays, "similarity", f"attention_{path}") for path in ("skip", "branch"))
    if skip is None or branch is None:
        return {}
    own = np.diag(_cka(skip, branch))
    early, late = _mean(own, 0, HALF), _mean(own, HALF, 1)
    return {"skip-branch CKA early": early, "skip-branch CKA late": late, "skip-branch CKA drop": early - late}


def x_pattern(arrays: Protocols) -> Scalars:
    """Observation 15: late layers resemble the early ones, but not the middle ones, as in a decoder (2.7.5.3).

    Returns:
        "X pattern", CKA of the last quarter of the depth with the first quarter, minus that with the middle third,
        from the outputs of the layer norms. Negative where similarity falls with the distance of the layers.
    """
    norms = _get(arrays, "similarity", "norms")
    if norms is None:
        return {}
    values, count = _cka(norms, norms), norms.shape[1]
    last = values[_layers(count, LATE, 1)]
    first, middle = (last[:, _layers(count, *part)] for part in ((0, 1 - LATE), (1 / 3, 2 / 3)))
    return {"X pattern": _average(first) - _average(middle)}


def task_curves(arrays: Protocols) -> dict[str, np.ndarray]:
    """Return the figures (L,) of the tasks of table 2.1: k-NN, retrieval on each data set, dense video, keypoints."""
    curves = {
        "k-NN top-1": _get(arrays, "knn", "top1"),
        "dense J&F": _get(arrays, "dense-video", "J&F"),
        "PCK@0.1": _get(arrays, "keypoints", "PCK@0.1"),
    }
    retrieval = arrays.get("retrieval", {})
    curves |= {key: np.asarray(retrieval[key]) for key in retrieval if key.endswith("/medium")}
    return {name: curve for name, curve in curves.items() if curve is not None}


def shortfalls(models: Sequence[AnalysedModel]) -> Scalars:
    """Return how far each model falls short of the best one in the task that suits it least (observation 8, 2.5.3).

    0 for a model that is best at every task of table 2.1; there is no single best one if it is large for all. Random
    features neither compete nor have a shortfall.

    Args:
        models: the ones that compete, each with its best layer.

    Returns:
        model -> largest 1 - figure / best figure over the tasks; without models that no other competes with.
    """
    best: dict[str, Scalars] = {}
    for model in (model for model in models if model.method != RANDOM):
        for task, curve in task_curves(model.arrays).items():
            if np.isfinite(curve).any():
                best.setdefault(task, {})[model.name] = float(np.nanmax(curve))
    found: Scalars = {}
    for figures in best.values():
        top = max(figures.values())
        for name, figure in figures.items() if len(figures) > 1 and top > 0 else ():
            found[name] = max(found.get(name, 0.0), 1 - figure / top)
    return found


def between_models(models: Sequence[AnalysedModel]) -> Iterator[Row]:
    """Yield the CKA of the last layers of every two models that saw the same images (observation 5; 2.4.1)."""
    from callbacks.vit_analysis.report.similarity import last_layers

    for key, metric in (("cls", "CKA CLS"), ("spatial", "CKA spatial")):
        having, values = last_layers(models, key)
        for i, a in enumerate(having):
            for j, b in enumerate(having):
                if i != j:
                    yield metric, f"{a.name} | {b.name}", float(values[i, j])


def _get(arrays: Protocols, protocol: str, key: str) -> np.ndarray | None:
    value = arrays.get(protocol, {}).get(key)
    return None if value is None else np.asarray(value)


def _cka(grams_a: np.ndarray, grams_b: np.ndarray) -> np.ndarray:
    from metrics.cka import cka_matrix  # only where there is something to compare: torch is slow to import

    return np.asarray(cka_matrix(grams_a, grams_b))


def _layers(count: int, low: float, high: float) -> np.ndarray:
    """Return which of ``count`` layers l = 1, 2, ... have low < l / count <= high, (count,) bool."""
    share = np.arange(1, count + 1) / count
    return (share > low + 1e-9) & (share <= high + 1e-9)


def _mean(values: np.ndarray, low: float, high: float) -> float:
    """Return the mean over the layers in (low, high], NaN without any."""
    return _average(values[_layers(len(values), low, high)])


def _average(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")
