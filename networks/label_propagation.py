"""Propagation of object masks through a video by the similarity of dense features.

The protocol of DINO's video segmentation, which thesis sections 2.4.3 and 8.3.2 use: each cell takes the labels of the
most similar cells nearby in the first frame and in the last few frames.
"""

from collections import deque
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from networks.cells import Cells, enlarge, tile_evenly

_TILE = 16  # cells; a tile sees only its surroundings, which bounds the memory and saves products far away


def propagate_labels(
    features: Iterable[Tensor],
    first_labels: Tensor,
    *,
    context_frames: int = 7,
    temperature: float = 0.1,
    radius: int = 12,
    top_k: int = 5,
) -> Iterator[Tensor]:
    """Yield the labels of every frame after the first.

    Args:
        features: (C, h, w) for each frame in turn, the first one included; only the context is kept.
        first_labels: (K, h, w), soft labels of the first frame, one map a class.
        context_frames: how many of the last frames are asked beside the first.
        temperature: of the softmax over similarities.
        radius: a cell asks the cells at most this many rows and columns away; 0 is no limit.
        top_k: how many most similar cells of the whole context have a say; ties at the last place all have.

    Yields:
        (K, h, w), non-negative; sums over classes to what the context's labels sum to.
    """
    frames = iter(features)
    first = F.normalize(next(frames), dim=0), first_labels
    recent: deque[tuple[Tensor, Tensor]] = deque(maxlen=context_frames)
    for frame in frames:
        target = F.normalize(frame, dim=0)
        sources, labels = zip(first, *recent, strict=True)
        propagated = propagate_frame(
            target,
            torch.stack(sources),
            torch.stack(labels),
            temperature=temperature,
            radius=radius,
            top_k=top_k,
        )
        recent.append((target, propagated))
        yield propagated


def propagate_frame(
    target: Tensor, sources: Tensor, labels: Tensor, *, temperature: float = 0.1, radius: int = 12, top_k: int = 5
) -> Tensor:
    """Return the labels of one frame.

    Args:
        target: (C, h, w), features of unit length.
        sources: (N, C, h, w), features of unit length of the context.
        labels: (N, K, h, w), labels of the context.
        temperature: see ``propagate_labels``, as ``radius`` and ``top_k``.
        radius: in cells.
        top_k: of the N h w cells.

    Returns:
        (K, h, w). The weights of the chosen cells are their softmax, which is the official exp followed by division
        by the sum; cells out of reach weigh 0 even where fewer than ``top_k`` are in reach.
    """
    height, width = target.shape[-2:]
    radius = radius or max(height, width)
    result = labels.new_empty(labels.shape[1:])
    for y, x in ((y, x) for y in range(0, height, _TILE) for x in range(0, width, _TILE)):
        rows, columns = slice(y, min(y + _TILE, height)), slice(x, min(x + _TILE, width))
        near_rows = slice(max(0, y - radius), rows.stop + radius)
        near_columns = slice(max(0, x - radius), columns.stop + radius)
        near = sources[:, :, near_rows, near_columns].transpose(0, 1).flatten(1)
        similarity = target[:, rows, columns].flatten(1).T @ near
        reach = _in_reach(rows, columns, near_rows, near_columns, (height, width), radius, target.device)
        similarity = similarity.unflatten(1, (len(sources), -1)).masked_fill_(~reach[:, None], -torch.inf).flatten(1)
        known = labels[:, :, near_rows, near_columns].transpose(0, 1).flatten(1)
        said = _said_by_most_similar(similarity, known, temperature, top_k)
        result[:, rows, columns] = said.unflatten(1, (rows.stop - y, columns.stop - x))
    return result


def _said_by_most_similar(similarity: Tensor, known: Tensor, temperature: float, top_k: int) -> Tensor:
    """Return the labels (K, cells) that the ``top_k`` most similar of the known cells give to each cell.

    Args:
        similarity: (cells, known cells), -inf where out of reach; is changed.
        known: (K, known cells), labels.
        temperature: of the softmax.
        top_k: how many have a say; ties at the last place all have.
    """
    # One more than have a say tells whether there are ties, which are rare: the sum over a few goes without the weights
    # of all.
    best, place = similarity.topk(min(top_k + 1, similarity.shape[1]))
    if best.shape[1] > top_k:
        last, next_one = best[:, top_k - 1], best[:, top_k]
        if ((last == next_one) & last.isfinite()).any():
            weights = similarity.masked_fill_(similarity < last[:, None], -torch.inf).div_(temperature).softmax(1)
            return known @ weights.T
        best, place = best[:, :top_k], place[:, :top_k]
    return (known[:, place] * best.div(temperature).softmax(1)).sum(2)


def labels_on_grid(
    mask: Tensor,
    grid: tuple[int, int],
    classes: int,
    *,
    size: tuple[int, int] | None = None,
    cells: Cells | None = None,
) -> Tensor:
    """Return a mask of ids as one label map a class on the feature grid.

    Args:
        mask: (H, W) int64, ids; those that are no class (void) give no label.
        grid: height and width of the feature grid.
        classes: number of ids, background included.
        size: height and width of the image that the features were computed from; those of the mask if None.
        cells: where the cells lie in that image; they tile it evenly if None, as the official code has it.

    Returns:
        (classes, *grid) float32 in {0, 1}, by nearest neighbour at cell centres. Pillow's NEAREST, which the official
        code takes, does the same but for centres that lie between two pixels: there its sums are rounded either way,
        mostly to the earlier pixel, and this takes the later one.
    """
    size = size or (mask.shape[0], mask.shape[1])
    if cells is None or tile_evenly(cells, grid, size):
        small = F.interpolate(mask[None, None].float(), size=grid, mode="nearest-exact")[0, 0]
    else:
        rows, columns = (
            _pixels_at_centres(cells.at(length, pixels), count, length).to(mask.device)
            for count, pixels, length in zip(grid, size, mask.shape, strict=True)
        )
        small = mask[rows[:, None], columns]
    return (small == torch.arange(classes, device=mask.device)[:, None, None]).float()


def _pixels_at_centres(cells: Cells, count: int, length: int) -> Tensor:
    """Return the pixels (count,) int64 of a side of ``length`` in which the centres of cells lie."""
    centres = torch.tensor([cells.centre(cell) for cell in range(count)], dtype=torch.float64)
    return centres.floor().long().clamp(0, length - 1)


def decode_labels(
    labels: Tensor, size: tuple[int, int], original_size: tuple[int, int], cells: Cells | None = None
) -> Tensor:
    """Return the mask of ids that soft labels stand for.

    Args:
        labels: (K, h, w), one map a class.
        size: height and width of the image that the features were computed from; labels are enlarged to it
            bilinearly. The official code enlarges by the patch size instead, which overshoots to twice the image with
            LiFT's grid; the size of the image treats every grid alike.
        original_size: height and width of the mask returned, by nearest neighbour.
        cells: where the cells lie in the image; they tile it evenly if None.

    Returns:
        (H, W) int64: the largest class after each class has been stretched to [0, 1], absent and constant ones aside.
    """
    soft = enlarge(labels, size, cells)
    low, high = soft.amin((1, 2), keepdim=True), soft.amax((1, 2), keepdim=True)
    soft = torch.where(high > low, (soft - low) / (high - low), soft)
    mask = soft.argmax(0)[None, None].float()
    return F.interpolate(mask, size=original_size, mode="nearest-exact")[0, 0].long()


def _in_reach(
    rows: slice,
    columns: slice,
    near_rows: slice,
    near_columns: slice,
    grid: tuple[int, int],
    radius: int,
    device: torch.device,
) -> Tensor:
    """Return (cells of the tile, cells around it) bool: at most ``radius`` rows and columns apart."""

    def along(tile: slice, around: slice, length: int) -> Tensor:
        cells = torch.arange(length, device=device)
        return (cells[tile][:, None] - cells[around]).abs() <= radius

    by_row, by_column = along(rows, near_rows, grid[0]), along(columns, near_columns, grid[1])
    return (by_row[:, None, :, None] & by_column[None, :, None, :]).flatten(2).flatten(0, 1)
