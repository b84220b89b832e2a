"""Which heads attend locally, and in which way, judged by their Aligned Aggregated Attention Maps (section 2.3.2)."""

from dataclasses import dataclass

import numpy as np

from callbacks.vit_analysis.report.arrays import AnalysedModel

LOCAL = 0.5  # of the spread of uniform attention; heads up to it count as local
CENTRED = 0.5  # tokens; local heads whose centre of mass is farther from the query are offset


@dataclass(frozen=True)
class Head:
    """One head of one layer, both from 0, and why it was chosen."""

    layer: int
    head: int
    text: str


@dataclass(frozen=True)
class Spread:
    """How the attention of every head (L, H) lies around the token that attends, from its AAAM.

    Attributes:
        centre: share of the attention that falls on the token itself.
        offset: (L, H, 2) of the centre of mass from the token, xy in tokens, y downwards.
        sides: (L, H, 2) standard deviation along x and y, 1 where attention is uniform over the image.
        overall: (L, H) the two in one, 1 where attention is uniform.
    """

    centre: np.ndarray
    offset: np.ndarray
    sides: np.ndarray
    overall: np.ndarray


def spread_of(aligned: np.ndarray) -> Spread:
    """Return how AAAMs (L, H, 2h-1, 2w-1) spread; a head without any attention on patches spreads without bound."""
    height, width = aligned.shape[-2:]
    ys, xs = np.arange(height) - (height - 1) / 2, np.arange(width) - (width - 1) / 2
    total = aligned.sum(axis=(-2, -1), keepdims=True)
    share = np.divide(aligned, total, out=np.zeros_like(aligned, dtype=float), where=total > 0)
    along = [(share.sum(-2), xs, (width + 1) / 2), (share.sum(-1), ys, (height + 1) / 2)]
    offset = np.stack([(part * at).sum(-1) for part, at, _ in along], axis=-1)
    squares = np.stack([(part * at**2).sum(-1) for part, at, _ in along], axis=-1)
    deviation = np.sqrt(np.maximum(squares - offset**2, 0))
    # Of the difference of two tokens drawn uniformly out of g: twice the variance (g^2 - 1) / 12.
    uniform = np.sqrt([max(2 * (side**2 - 1) / 12, 1e-12) for _, _, side in along])
    empty = total[..., 0, 0] <= 0
    sides = np.where(empty[..., None], np.inf, deviation / uniform)
    overall = np.where(empty, np.inf, np.sqrt((deviation**2).sum(-1) / (uniform**2).sum()))
    return Spread(share[..., (height - 1) // 2, (width - 1) // 2], offset, sides, overall=overall)


def offset_local_heads(model: AnalysedModel) -> list[dict[str, float]]:
    """Return every Offset Local Attention Head of a model (section 2.3.2): where it is and where it looks.

    Returns:
        rows with "layer" and "head" from 1, "x" and "y", the offset in tokens, y downwards, "distance", its length,
        "spread", 1 for uniform attention, and "strength", the share of the head's attention that lies within one token
        (along each axis) of the offset.
    """
    aligned = model.get("attention", "aligned")
    if aligned is None:
        return []
    spread = spread_of(aligned)
    distance = np.hypot(spread.offset[..., 0], spread.offset[..., 1])
    rows = []
    for layer, head in np.argwhere((spread.overall <= LOCAL) & (distance > CENTRED)):
        x, y = spread.offset[layer, head]
        row = {"layer": layer + 1, "head": head + 1, "x": x, "y": y, "distance": distance[layer, head]}
        share = aligned[layer, head] / aligned[layer, head].sum()
        row |= {"spread": spread.overall[layer, head], "strength": _near(share, x, y)}
        rows.append({name: float(value) for name, value in row.items()})
    return rows


def _near(share: np.ndarray, x: float, y: float) -> float:
    """Return how much of an AAAM lies within one token of (x, y) along each axis."""
    height, width = share.shape
    rows = np.abs(np.arange(height) - (height - 1) / 2 - y) <= 1
    columns = np.abs(np.arange(width) - (width - 1) / 2 - x) <= 1
    return float(share[np.ix_(rows, columns)].sum())


def offset_local_head(model: AnalysedModel) -> Head | None:
    """Return the local head whose attention lies farthest from the token itself (Figure 2.14); None without one.

    A head is local if its AAAM spreads around its centre of mass at most half as wide as uniform attention does.
    """
    aligned, offset = model.get("attention", "aligned"), model.get("attention", "offset")
    if aligned is None or offset is None:
        return None
    local = spread_of(aligned).overall <= LOCAL
    if not local.any():
        return None
    layer, head = _largest(np.hypot(offset[..., 0], offset[..., 1]), local)
    tokens = offset[layer, head] * (np.array(aligned.shape[:-3:-1]) - 1) / 2  # [-1, 1] is a whole grid each way
    rounded = tokens.round(1) + 0.0  # without a minus before zero
    return Head(layer, head, f"offset {rounded[0]:+.1f}, {rounded[1]:+.1f}")


def kinds_of_heads(model: AnalysedModel) -> dict[str, Head | None]:
    """Return a model's clearest head of each kind of local attention (section 2.3.2); None where it has none.

    Strict: the largest share on the token itself, at least a half. Soft: the widest of the local heads that are about
    as wide as high and centred. Axial: the most elongated that is narrow along one axis. Offset: see
    ``offset_local_head``.
    """
    found: dict[str, Head | None] = dict.fromkeys(("strict", "soft", "axial", "offset"))
    aligned = model.get("attention", "aligned")
    if aligned is None:
        return found
    spread = spread_of(aligned)
    narrow, wide = spread.sides.min(-1), spread.sides.max(-1)
    finite = np.where(np.isfinite(wide), wide, 0)
    ratio = np.divide(finite, narrow, out=np.ones_like(finite), where=(narrow > 0) & np.isfinite(narrow))
    centred = np.hypot(spread.offset[..., 0], spread.offset[..., 1]) <= CENTRED
    candidates = {
        "strict": (spread.centre, spread.centre >= 0.5, "on itself {:.0%}", spread.centre),
        "soft": (
            spread.overall,
            (spread.overall <= LOCAL) & centred & (ratio <= 1.5) & (spread.centre < 0.5),
            "width {:.0%}",
            spread.overall,
        ),
        "axial": (ratio, (narrow <= LOCAL) & (ratio >= 2), "elongation {:.1f}", ratio),
    }
    for kind, (score, allowed, text, value) in candidates.items():
        if allowed.any():
            layer, head = _largest(score, allowed)
            found[kind] = Head(layer, head, text.format(value[layer, head]))
    return found | {"offset": offset_local_head(model)}


def _largest(values: np.ndarray, allowed: np.ndarray) -> tuple[int, int]:
    layer, head = np.unravel_index(np.argmax(np.where(allowed, values, -np.inf)), values.shape)
    return int(layer), int(head)
