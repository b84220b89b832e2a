"""Keypoint correspondence: where in one image lies what a keypoint marks in another, by dense features.

The protocol enlarges both feature maps to the image, (C, H, W), and compares every pixel. Interpolation is linear, so
the same scores come from inner products on the grid that are enlarged afterwards: K maps instead of 2 C, exactly.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from networks.cells import Cells, covered_pixels, enlarge, lower_and_fraction

MatchingRule = Literal["official", "normalised"]
_KEYPOINTS_AT_ONCE = 32  # bounds the memory: each takes one float32 map of the image's size


def match_keypoints(
    source: Tensor,
    target: Tensor,
    keypoints: Tensor,
    size: tuple[int, int],
    rules: Sequence[MatchingRule] = ("official",),
    *,
    source_size: tuple[int, int] | None = None,
    cells: Cells | None = None,
) -> Tensor:
    """Return the target pixel that is most similar to each keypoint of the source.

    Args:
        source: (C, h, w), dense features of the image with the keypoints.
        target: (C, h', w'), dense features of the image to be searched.
        keypoints: (K, 2), xy in pixels of the source image; K may be 0.
        size: height and width of the target image in pixels; every pixel that cells cover is searched, padding
            included.
        rules: how a pixel scores. Features are scaled to unit length on the grid, then enlarged bilinearly.
            "official": inner product; enlarged vectors are shorter than 1 between cells, which favours their centres.
            "normalised": cosine, that is, enlarged vectors are scaled to unit length again.
        source_size: height and width of the source image in pixels; those of the target if None.
        cells: where the cells of both lie in their images; they tile these evenly if None, as the official code has it.

    Returns:
        (rules, K, 2) float32, xy of the best pixels.

    Thesis section 8.3.1; the official code implements "official" and enlarges both maps.
    """
    rows, columns = (covered_pixels(cells, *side) for side in zip(target.shape[-2:], size, strict=True))
    lengths: dict[str, Tensor] = {}
    if "normalised" in rules:
        lengths["normalised"] = enlarged_norm(F.normalize(target, dim=0), size, cells).clamp(min=1e-12)
    best: list[list[Tensor]] = [[] for _ in rules]
    for part in keypoints.split(_KEYPOINTS_AT_ONCE):
        maps = similarity_maps(source, target, part, size, source_size=source_size, cells=cells)
        for rule, pixels in zip(rules, best, strict=True):
            scores = maps / lengths[rule] if rule in lengths else maps
            pixels.append(scores[:, rows, columns].flatten(1).argmax(1))
    index, width = torch.stack([torch.cat(pixels) for pixels in best]), columns.stop - columns.start
    return torch.stack([index % width + columns.start, index // width + rows.start], dim=-1).float()


def similarity_maps(
    source: Tensor,
    target: Tensor,
    keypoints: Tensor,
    size: tuple[int, int],
    *,
    source_size: tuple[int, int] | None = None,
    cells: Cells | None = None,
) -> Tensor:
    """Return the inner products of keypoints and target pixels, features of unit length on the grid then enlarged.

    Args:
        source: (C, h, w), dense features of the image with the keypoints.
        target: (C, h', w'), dense features of the image to be searched.
        keypoints: (K, 2), xy in pixels of the source image.
        size: height and width of the target image in pixels.
        source_size: see ``match_keypoints``.
        cells: see ``match_keypoints``.

    Returns:
        (K, H, W), in [-1, 1].
    """
    descriptors = sample_enlarged(F.normalize(source, dim=0), keypoints, source_size or size, cells)
    return enlarge(torch.einsum("kc,chw->khw", descriptors, F.normalize(target, dim=0)), size, cells)


def sample_enlarged(features: Tensor, keypoints: Tensor, size: tuple[int, int], cells: Cells | None = None) -> Tensor:
    """Return single pixels of bilinearly enlarged features without enlarging them.

    Args:
        features: (C, h, w).
        keypoints: (K, 2), xy in pixels of the enlarged map; rounded down (as the official code does) and clamped.
        size: height and width of the enlarged map.
        cells: where those of ``features`` lie; evenly if None.

    Returns:
        (K, C), the enlarged map at those pixels.
    """
    (top, down), (left, right) = (
        lower_and_fraction(cells, length, pixels, features)
        for length, pixels in zip(features.shape[-2:], size, strict=True)
    )
    pixel = keypoints.floor().long()
    column, row = pixel[:, 0].clamp(0, size[1] - 1), pixel[:, 1].clamp(0, size[0] - 1)
    y, x, down, right = top[row], left[column], down[row], right[column]
    y_next, x_next = (y + 1).clamp(max=features.shape[-2] - 1), (x + 1).clamp(max=features.shape[-1] - 1)
    upper = features[:, y, x].lerp(features[:, y, x_next], right)
    lower = features[:, y_next, x].lerp(features[:, y_next, x_next], right)
    return upper.lerp(lower, down).T


def enlarged_norm(features: Tensor, size: tuple[int, int], cells: Cells | None = None) -> Tensor:
    """Return the length of every vector of bilinearly enlarged features without enlarging them.

    The squared length of a blend of four neighbours needs only their inner products. Written on a grid of twice the
    density (cells, and between them the products of neighbours), it is one quadratic blend along each axis.

    Args:
        features: (C, h, w).
        size: height and width of the enlarged map.
        cells: where those of ``features`` lie; evenly if None.

    Returns:
        (H, W).
    """
    height, width = features.shape[-2:]
    products = features.new_zeros(2 * height - 1, 2 * width - 1)
    products[::2, ::2] = (features * features).sum(0)
    products[::2, 1::2] = (features[:, :, :-1] * features[:, :, 1:]).sum(0)
    products[1::2, ::2] = (features[:, :-1] * features[:, 1:]).sum(0)
    falling = (features[:, :-1, :-1] * features[:, 1:, 1:]).sum(0)
    rising = (features[:, :-1, 1:] * features[:, 1:, :-1]).sum(0)
    products[1::2, 1::2] = (falling + rising) / 2
    by_row = _blend_squares(products, height, size[0], cells)
    return _blend_squares(by_row.T, width, size[1], cells).T.clamp(min=0).sqrt()


def _blend_squares(products: Tensor, length: int, pixels: int, cells: Cells | None) -> Tensor:
    """Enlarge the first axis (2 length - 1) to ``pixels`` with weights (1 - t)^2, 2 t (1 - t), t^2."""
    lower, t = lower_and_fraction(cells, length, pixels, products)
    t = t[:, None]
    between, upper = ((2 * lower + step).clamp(max=2 * length - 2) for step in (1, 2))
    return (1 - t) ** 2 * products[2 * lower] + 2 * t * (1 - t) * products[between] + t**2 * products[upper]
