"""What attention maps are reduced to: aligned averages, distances, repeated patterns, masks (thesis 2.3)."""

import torch
from torch import Tensor
from torch.nn import functional as F


def cls_rows(attention: Tensor, prefix: int) -> Tensor:
    """Return how the class token attends to the patches, not renormalised, as float32.

    Args:
        attention: (B, H, P + N, P + N) after the softmax, the class token first.
        prefix: P, number of class and register tokens.

    Returns:
        (B, H, N); a row sums to at most 1, the rest of its attention is on prefix tokens.
    """
    return attention[:, :, 0, prefix:].float()


def mean_patch_row(attention: Tensor, prefix: int) -> Tensor:
    """Return how the patches attend to the patches on average, not renormalised, as float32.

    Args:
        attention: (B, H, P + N, P + N) after the softmax.
        prefix: P; columns of prefix tokens are dropped before the mean, as in the official code of chapter 2.

    Returns:
        (B, H, N).
    """
    return attention[:, :, prefix:, prefix:].mean(2, dtype=torch.float32)


def patch_rows(attention: Tensor, prefix: int) -> tuple[Tensor, Tensor]:
    """Return the attention among patches, each query's divided by its sum, as float32.

    Args:
        attention: (B, H, P + N, P + N) after the softmax.
        prefix: P.

    Returns:
        Rows (B, H, N, N) that sum to 1, or to 0 for a query whose attention is wholly on prefix tokens; and which
        queries these are, (B, H, N) bool.
    """
    rows = attention[:, :, prefix:, prefix:].float()
    mass = rows.sum(-1)
    empty = mass == 0
    return rows / torch.where(empty, 1.0, mass)[..., None], empty


def aligned_attention(rows: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return the Aligned Aggregated Attention Map (AAAM) of every head as a sum over images and queries.

    Every query's map is shifted so that the query lies in the centre (thesis 2.3.2). The mean is this divided by
    images times queries; the official code divides by batches times queries, which differs by a factor. Large offsets
    are within the grid of few queries and come out dim; divide by images times ``coverage`` to undo that.

    Args:
        rows: (B, H, N, N), attention of queries to keys, or (1, H, N, N) summed over images, which gives the same.
        grid: h and w, N = h w.

    Returns:
        (H, 2h - 1, 2w - 1) float64; index (h - 1 + dy, w - 1 + dx) is attention to what lies dy below and dx right.
    """
    height, width = grid
    # Images first, then one direction after the other: height + width additions of blocks in place of one a query.
    summed = rows.sum(0).unflatten(2, grid).unflatten(1, grid)  # (H, y and x of the query, y and x of the key)
    beside = summed.new_zeros(len(summed), height, height, 2 * width - 1)
    for x in range(width):
        beside[..., width - 1 - x : 2 * width - 1 - x] += summed[:, :, x]
    canvas = beside.new_zeros(len(summed), 2 * height - 1, 2 * width - 1, dtype=torch.float64)
    for y in range(height):
        canvas[:, height - 1 - y : 2 * height - 1 - y] += beside[:, y]
    return canvas


def coverage(grid: tuple[int, int]) -> Tensor:
    """Return how many queries have a key at each offset, (2h - 1, 2w - 1) float64, for a grid h x w."""
    down, right = (side - torch.arange(1 - side, side, dtype=torch.float64).abs() for side in grid)
    return down[:, None] * right


def centre_of_mass(aligned: Tensor) -> Tensor:
    """Return where the attention of an AAAM lies on average: what tells Offset Local Attention Heads (thesis 2.3.2).

    Args:
        aligned: (..., 2h - 1, 2w - 1), not negative.

    Returns:
        (..., 2), x to the right and y downwards in [-1, 1], 0 the query itself and 1 the grid's whole side away; NaN
        for a map of zeros.
    """
    height, width = aligned.shape[-2:]
    y, x = (
        (torch.arange(side, device=aligned.device) - side // 2).to(aligned.dtype) / max(side // 2, 1)
        for side in (height, width)
    )
    total = aligned.sum((-2, -1))
    means = [(aligned.sum(-2) * x).sum(-1) / total, (aligned.sum(-1) * y).sum(-1) / total]
    return torch.stack(means, -1)


def attention_distance(rows: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return the Average Attention Distance: how far from a query its attention lies, the grid being a 1 x 1 square.

    Uniform attention gives 0.602, 0.560, 0.555 and 0.540 on square grids of 7, 14, 16 and 28 tokens, so that figures of
    different patch sizes differ a little for this reason alone.

    Args:
        rows: (B, H, N, N), rows that sum to 1, or to 0 where a query attends to no patch, which then does not count. A
            sum of such rows over images gives the mean over images and queries.
        grid: h and w, N = h w.

    Returns:
        (B, H) in [0, sqrt(2)]; NaN where no query counts. Thesis 2.3.3 and 2.7.4.2.
    """
    height, width = grid
    y = torch.arange(height, device=rows.device, dtype=torch.float64) / max(height - 1, 1)
    x = torch.arange(width, device=rows.device, dtype=torch.float64) / max(width - 1, 1)
    points = torch.cartesian_prod(y, x)
    between = (points[:, None] - points).norm(dim=-1).to(rows.dtype)
    return (rows * between).sum((-2, -1)) / rows.sum((-2, -1))


def repeating_score(maps: Tensor) -> Tensor:
    """Return how much of the heads' attention is one sparse pattern that they share, for every image.

    The thesis describes Sparse Repeating Patterns (2.3.1) without a measure; this one is ours. Each map is divided by
    its sum, and its morphological opening by 3 x 3 tokens is taken away: structures thinner than three tokens are left
    (the "white top-hat"), objects vanish, with sharp outlines too. Then the 3 x 3 mean is taken away, so that noise
    which is stronger in one region than in another does not count as shared. With R_i what remains of head i,
    score = mean over pairs i != j of <R_i, R_j> / mean over i of max(|M_i - mean M_i|^2, |R_i|^2).

    Args:
        maps: (B, H, h, w), attention of one token to the patches in H heads, not negative.

    Returns:
        (B,), at most 1. About 0.9 if all heads attend to the same few isolated tokens, about 0 if their tokens are
        independent (down to -1 / (H - 1) if they avoid each other's) or they share an object or a smooth blob. 0 for a
        single head, and where all maps are constant.
    """
    batch, heads = maps.shape[:2]
    total = maps.sum((-2, -1), keepdim=True)
    maps = (maps / torch.where(total == 0, 1, total)).double()
    opened = F.max_pool2d(-F.max_pool2d(-maps, 3, 1, 1), 3, 1, 1)
    thin = maps - opened
    isolated = (thin - F.avg_pool2d(thin, 3, 1, 1, count_include_pad=False)).flatten(2)
    energy = isolated.square().sum(-1)
    variance = maps.flatten(2).var(-1, correction=0) * isolated.shape[-1]
    scale = torch.maximum(variance, energy).mean(1)
    if heads == 1:
        return scale.new_zeros(batch)
    shared = (isolated.sum(1).square().sum(-1) - energy.sum(1)) / (heads * (heads - 1))
    # Constant maps differ by rounding, which may look like anything.
    constant = scale <= 1e-12 * maps.flatten(2).square().sum(-1).mean(1)
    return torch.where(constant, 0.0, shared / torch.where(constant, 1.0, scale))


def mass_mask(weights: Tensor, share: float = 0.6) -> Tensor:
    """Return the smallest set of tokens that holds a share of the attention (thesis 2.3.4).

    As in the official code: sorted from the smallest, tokens belong to it whose cumulative share exceeds 1 - share.

    Args:
        weights: (..., N), not negative; each row counts relative to its sum.
        share: in (0, 1].

    Returns:
        (..., N) bool. Of equal tokens the later ones are taken first, so that a constant row keeps its last
        ceil(share N) tokens; a row of zeros keeps none.
    """
    ordered, order = weights.double().sort(dim=-1, stable=True)
    kept = ordered.cumsum(-1) / ordered.sum(-1, keepdim=True) > 1 - share  # 0 / 0 is not greater than anything
    return torch.zeros_like(kept).scatter(-1, order, kept)


def mask_iou(masks: Tensor, others: Tensor) -> Tensor:
    """Return the intersection over union of masks (..., N) bool, (...) float32; 0 where both are empty."""
    union = (masks | others).sum(-1)
    return (masks & others).sum(-1) / union.clamp_min(1)


def token_masks(masks: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return which tokens a mask touches, as the official code of chapter 2 decides it.

    It makes the mask an image of 0 and 255, resizes that to the token grid with Pillow's bicubic filter and takes what
    is greater than 0. Pillow resizes rows, then columns, each rounded to whole numbers from 0 to 255; so does this.

    Args:
        masks: (B, S, S) bool.
        grid: h and w.

    Returns:
        (B, h, w) bool; may be empty where the mask covers less than about 1/500 of a token.
    """
    values = masks.float()[:, None] * 255
    for size in ((values.shape[-2], grid[1]), grid):
        values = F.interpolate(values, size, mode="bicubic", align_corners=False, antialias=True)
        values = (values + 0.5).floor().clamp(0, 255)
    return values[:, 0] > 0
