"""Dense features made visible: similarity to one cell, and principal components as colours."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


def self_similarity(features: Tensor, row: int, column: int) -> Tensor:
    """Return the cosine similarity of every cell to one cell, stretched to [0, 1].

    Args:
        features: (C, h, w).
        row: of the cell.
        column: of the cell. The official visualiser takes (h // 2, w // 2), thesis section 8.5.2.

    Returns:
        (h, w); 0 everywhere where all cells are alike.
    """
    unit = F.normalize(features.float(), dim=0)
    similarity = torch.einsum("chw,c->hw", unit, unit[:, row, column])
    similarity = similarity - similarity.min()
    largest = similarity.max()
    return similarity / largest if largest > 1e-6 else torch.zeros_like(similarity)


def principal_colours(methods: list[list[Tensor]]) -> list[list[Tensor]]:
    """Return the three first principal components of features as RGB, comparable between images and methods.

    The cells of all images of a method share one basis, so that a colour means the same in each. Components are known
    only up to signs, and order where variances are close: each method's are therefore turned to agree as far as
    possible with the first method's (orthogonal Procrustes on the same places of the same images).

    Args:
        methods: for each method the features (C, h, w) of the same images in the same order; grids and channels may
            differ between methods, grids also between images.

    Returns:
        The same lists with colours (h, w, 3) float32 in [0, 1] in the features' places.
    """
    scores = [_scores(maps) for maps in methods]
    return [_stretched(_turned(maps, scores[0])) for maps in scores]


def _scores(maps: list[Tensor]) -> list[Tensor]:
    """Return the first three components (3, h, w) of maps (C, h, w), each of variance 1, on the CPU."""
    unit = [F.normalize(features.detach().cpu().float(), dim=0) for features in maps]
    cells = torch.cat([features.flatten(1) for features in unit], 1)
    mean = cells.mean(1)
    variances, vectors = torch.linalg.eigh((cells @ cells.T / cells.shape[1] - torch.outer(mean, mean)).double())
    variances, vectors = variances.flip(0)[:3], vectors.flip(1)[:, :3]
    signs = vectors.gather(0, vectors.abs().argmax(0, keepdim=True)).sign()
    # A component without variance, as of constant features, stays at zero instead of showing rounding errors.
    scale = torch.where(variances > 1e-6, variances.clamp_min(1e-6).rsqrt(), 0.0)
    basis = F.pad(vectors * signs * scale, (0, 3 - len(variances))).float()
    return [torch.einsum("chw,ck->khw", features - mean[:, None, None], basis) for features in unit]


def _turned(maps: list[Tensor], reference: list[Tensor]) -> list[Tensor]:
    """Return component maps (3, h, w) turned or mirrored to be as close as possible to the reference's."""
    resized = [
        F.interpolate(target[None], own.shape[-2:], mode="bilinear", align_corners=False)[0]
        for own, target in zip(maps, reference, strict=True)
    ]
    cells, targets = (torch.cat([x.flatten(1) for x in side], 1) for side in (maps, resized))
    left, _, right = torch.linalg.svd(targets @ cells.T)
    return [torch.einsum("kj,jhw->khw", left @ right, own) for own in maps]


def _stretched(maps: list[Tensor]) -> list[Tensor]:
    """Return component maps (3, h, w) as colours (h, w, 3): the middle 98 % of each component fills [0, 1]."""
    cells = torch.cat([x.flatten(1) for x in maps], 1)
    low, high = (torch.from_numpy(np.percentile(cells.numpy(), q, axis=1)).float() for q in (1, 99))
    span = high - low
    flat = span < 1e-6
    offset, scale = torch.where(flat, low - 0.5, low), torch.where(flat, 1.0, span)
    return [((x.permute(1, 2, 0) - offset) / scale).clamp(0, 1) for x in maps]
