import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor

from networks.attention_statistics import (
    aligned_attention,
    attention_distance,
    centre_of_mass,
    cls_rows,
    coverage,
    mask_iou,
    mass_mask,
    mean_patch_row,
    patch_rows,
    repeating_score,
    token_masks,
)

GRIDS = [(3, 4), (5, 2), (1, 4), (1, 1)]


def maps(*shape: int, seed: int = 0) -> Tensor:
    """Return attention (..., N): rows that sum to 1."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).mul(2).softmax(-1)


def rows_of(grid: tuple[int, int], batch: int = 2, heads: int = 3) -> Tensor:
    cells = grid[0] * grid[1]
    return maps(batch, heads, cells, cells)


def naive_aligned(rows: Tensor, grid: tuple[int, int]) -> Tensor:
    """Paste every query's map into a canvas with the query in its centre."""
    (h, w), images = grid, rows.double()
    canvas = torch.zeros(rows.shape[1], 2 * h - 1, 2 * w - 1, dtype=torch.float64)
    for image in images:
        for query in range(h * w):
            i, j = divmod(query, w)
            canvas[:, h - 1 - i : 2 * h - 1 - i, w - 1 - j : 2 * w - 1 - j] += image[:, query].reshape(-1, h, w)
    return canvas


def naive_distance(row: np.ndarray, query: int, grid: tuple[int, int]) -> float:
    """Weight the distance to every key with its attention."""
    h, w = grid
    total = 0.0
    for key, weight in enumerate(row):
        (qy, qx), (ky, kx) = divmod(query, w), divmod(key, w)
        total += weight * math.hypot((ky - qy) / max(h - 1, 1), (kx - qx) / max(w - 1, 1))
    return total


def test_prefix_tokens_are_left_out() -> None:
    attention = maps(2, 3, 9, 9)
    assert torch.equal(cls_rows(attention, 3), attention[:, :, 0, 3:])
    expected = torch.stack([attention[:, :, query, 3:] for query in range(3, 9)]).mean(0)
    torch.testing.assert_close(mean_patch_row(attention, 3), expected)
    rows, empty = patch_rows(attention, 3)
    for query in range(6):
        own = attention[1, 2, 3 + query, 3:]
        torch.testing.assert_close(rows[1, 2, query], own / own.sum())
    assert not empty.any()
    assert cls_rows(attention.bfloat16(), 3).dtype == mean_patch_row(attention.bfloat16(), 3).dtype == torch.float32


def test_a_query_wholly_on_prefix_tokens_becomes_zeros_and_is_told() -> None:
    attention = maps(1, 2, 5, 5)
    attention[0, 1, 3] = torch.tensor([1.0, 0, 0, 0, 0])
    rows, empty = patch_rows(attention, 1)
    assert empty.nonzero().tolist() == [[0, 1, 2]]
    assert rows[0, 1, 2].tolist() == [0, 0, 0, 0]
    assert torch.allclose(rows.sum(-1), (~empty).float())
    # It does not count for the distance, which is that of the other three queries.
    others = [naive_distance(rows[0, 1, q].numpy(), q, (2, 2)) for q in (0, 1, 3)]
    assert float(attention_distance(rows, (2, 2))[0, 1]) == pytest.approx(np.mean(others), rel=1e-5)


@pytest.mark.parametrize("grid", GRIDS)
def test_aligned_attention_equals_pasting_query_by_query(grid: tuple[int, int]) -> None:
    rows = rows_of(grid)
    torch.testing.assert_close(aligned_attention(rows, grid), naive_aligned(rows, grid), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(aligned_attention(rows.sum(0)[None], grid), aligned_attention(rows, grid))


@pytest.mark.parametrize("grid", GRIDS)
def test_coverage_is_the_aligned_sum_of_ones(grid: tuple[int, int]) -> None:
    cells = grid[0] * grid[1]
    assert torch.equal(coverage(grid), aligned_attention(torch.ones(1, 1, cells, cells), grid)[0])


@pytest.mark.parametrize("grid", GRIDS)
def test_distance_equals_a_loop_over_queries_and_keys(grid: tuple[int, int]) -> None:
    rows = rows_of(grid)
    found = attention_distance(rows, grid)
    assert found.shape == (2, 3)
    for image in range(2):
        for head in range(3):
            own = [naive_distance(row, query, grid) for query, row in enumerate(rows[image, head].numpy())]
            assert float(found[image, head]) == pytest.approx(np.mean(own), abs=1e-6)
    summed = attention_distance(rows.sum(0)[None], grid)[0]
    torch.testing.assert_close(summed, found.mean(0))


@pytest.mark.parametrize(("side", "expected"), [(7, 0.602), (14, 0.560), (16, 0.555), (28, 0.540)])
def test_distance_of_uniform_attention(side: int, expected: float) -> None:
    cells = side**2
    uniform = torch.full((1, 1, cells, cells), 1 / cells)
    assert float(attention_distance(uniform, (side, side))) == pytest.approx(expected, abs=5e-4)


def test_distance_of_the_farthest_corner_and_of_nothing() -> None:
    rows = torch.eye(4).flip(1)[None, None]  # 2 x 2: every query attends to the opposite corner
    assert float(attention_distance(rows, (2, 2))) == pytest.approx(math.sqrt(2))
    assert float(attention_distance(torch.eye(4)[None, None], (2, 2))) == 0
    assert math.isnan(attention_distance(torch.zeros(1, 1, 4, 4), (2, 2)))


def test_distance_follows_from_the_aligned_map() -> None:
    """How far attention reaches depends on offsets only, so the two statistics have to agree."""
    grid = (4, 6)
    rows = rows_of(grid)
    aligned = aligned_attention(rows, grid)
    y = torch.arange(-3, 4, dtype=torch.float64)[:, None] / 3
    x = torch.arange(-5, 6, dtype=torch.float64) / 5
    expected = (aligned * (y**2 + x**2).sqrt()).sum((1, 2)) / aligned.sum((1, 2))
    torch.testing.assert_close(attention_distance(rows, grid).mean(0).double(), expected, rtol=1e-6, atol=1e-6)


def test_centre_of_mass_tells_the_offset_of_a_head() -> None:
    h, w = 4, 5
    aligned = torch.zeros(4, 2 * h - 1, 2 * w - 1, dtype=torch.float64)
    aligned[0, h - 1, w - 1] = 1  # itself
    aligned[1, h - 1, w] = 2  # one to the right
    aligned[2, 0, w - 1] = 3  # the grid's height above
    aligned[3, h, w - 2 : w + 1] = 1  # below, spread out
    found = centre_of_mass(aligned)
    torch.testing.assert_close(found, torch.tensor([[0, 0], [1 / 4, 0], [0, -1], [0, 1 / 3]], dtype=torch.float64))
    centre = ndimage.center_of_mass(naive_aligned(rows_of((h, w)), (h, w))[0].numpy())
    own = centre_of_mass(aligned_attention(rows_of((h, w)), (h, w)))[0]
    assert own.tolist() == pytest.approx([(centre[1] - (w - 1)) / (w - 1), (centre[0] - (h - 1)) / (h - 1)], abs=1e-6)
    assert centre_of_mass(torch.ones(1, 1)).tolist() == [0, 0]
    assert centre_of_mass(torch.zeros(3, 3)).isnan().all()


HEADS, SIDE = 12, 14
DOWN, ACROSS = torch.meshgrid(torch.arange(14.0), torch.arange(14.0), indexing="ij")


def peaks(count: int, seed: int) -> Tensor:
    """Return a map with a few tokens that get nearly all attention."""
    found = torch.full((SIDE * SIDE,), 0.02)
    found[torch.randperm(SIDE * SIDE, generator=torch.Generator().manual_seed(seed))[:count]] = 1
    return found.view(SIDE, SIDE)


def noise(seed: int) -> Tensor:
    """Return positive noise with a long tail, another map for every head."""
    return -torch.rand(HEADS, SIDE, SIDE, generator=torch.Generator().manual_seed(seed)).clamp_min(1e-6).log()


def blob(width: float) -> Tensor:
    return torch.exp(-((DOWN - 6.5) ** 2 + (ACROSS - 6.5) ** 2) / (2 * width**2)) + 0.02


DISC = ((DOWN - 6) ** 2 + (ACROSS - 7) ** 2 < 16) + 0.02  # an object with a sharp outline
SHARED = torch.ones(HEADS, 1, 1)
CASES = {  # heads, lowest and highest score that is right
    "the same peaks": (SHARED * peaks(8, 0), 0.85, 1),
    "the same peaks, many": (SHARED * peaks(30, 0), 0.7, 1),
    "the same peaks over noise": (SHARED * peaks(8, 0) + 0.2 * noise(0), 0.3, 1),
    "the same peaks on blobs of their own": (SHARED * peaks(8, 0) + noise(1)[:, :1, :1] * blob(3), 0.25, 1),
    "stripes": (SHARED * (ACROSS % 2), 0.85, 1),
    "peaks of their own": (torch.stack([peaks(8, head) for head in range(HEADS)]), -0.05, 0.05),
    "noise of their own": (noise(2), -0.05, 0.05),
    "one wide blob": (SHARED * blob(3), -0.05, 0.05),
    "one narrow blob": (SHARED * blob(2), -0.05, 0.05),
    "one blob, noise of their own": (blob(3) * noise(3), -0.05, 0.05),
    "one object": (SHARED * DISC, -0.05, 0.05),
    "one object, noise of their own": (DISC * noise(4), -0.05, 0.12),
    "constant": (torch.full((HEADS, SIDE, SIDE), 0.3), 0, 0),
    "nothing": (torch.zeros(HEADS, SIDE, SIDE), 0, 0),
}


@pytest.mark.parametrize("name", CASES)
def test_repeating_score_tells_shared_sparse_patterns(name: str) -> None:
    heads, lowest, highest = CASES[name]
    score = float(repeating_score(heads[None]))
    assert lowest <= score <= highest + 1e-9


def test_repeating_score_equals_a_loop_over_pairs() -> None:
    heads = (peaks(8, 0) + 0.3 * noise(5))[:4]
    remains, scale = [], []
    for one in heads.double().numpy():
        one = one / one.sum()
        thin = one - ndimage.grey_opening(one, size=3, mode="nearest")
        ones = ndimage.uniform_filter(np.ones_like(one), 3, mode="constant")
        remains.append(thin - ndimage.uniform_filter(thin, 3, mode="constant") / ones)
        scale.append(max(((one - one.mean()) ** 2).sum(), (remains[-1] ** 2).sum()))
    pairs = [(a * b).sum() for i, a in enumerate(remains) for j, b in enumerate(remains) if i != j]
    assert float(repeating_score(heads[None])) == pytest.approx(np.mean(pairs) / np.mean(scale), rel=1e-5)


def test_repeating_score_is_per_image_and_needs_two_heads() -> None:
    images = torch.stack([CASES["the same peaks"][0], CASES["one wide blob"][0]])
    alone = torch.cat([repeating_score(image[None]) for image in images])
    assert torch.equal(repeating_score(images), alone)
    torch.testing.assert_close(repeating_score(7 * images), alone)  # the scale of a map is of no matter
    assert repeating_score(images[:, :1]).tolist() == [0, 0]
    # Half of the heads share it: only pairs among them agree.
    half = torch.cat([CASES["the same peaks"][0][:6], CASES["peaks of their own"][0][6:]])
    assert float(repeating_score(half[None])) == pytest.approx(float(alone[0]) * (6 * 5) / (12 * 11), abs=0.05)


def test_mass_mask_is_the_smallest_set() -> None:
    weights = torch.tensor([[5.0, 1, 0, 3, 1], [0.1, 0.25, 0.1, 0.3, 0.25]])
    assert mass_mask(weights).tolist() == [[1, 0, 0, 1, 0], [0, 1, 0, 1, 1]]
    assert mass_mask(weights, 0.5).tolist() == [[1, 0, 0, 0, 0], [0, 0, 0, 1, 1]]
    assert mass_mask(weights, 1).tolist() == [[1, 1, 0, 1, 1], [1, 1, 1, 1, 1]]
    random = maps(50, 30)
    kept = mass_mask(random)
    held = (random * kept).sum(-1)
    smallest = torch.where(kept, random, torch.inf).min(-1).values
    assert (held >= 0.6).all()
    assert (held - smallest < 0.6 + 1e-6).all()  # one token fewer would not do
    assert (smallest > torch.where(kept, 0, random).max(-1).values).all()  # and no smaller one is outside


def test_mass_mask_of_constant_rows_and_of_zeros() -> None:
    assert mass_mask(torch.full((10,), 0.1)).tolist() == [False] * 4 + [True] * 6
    assert mass_mask(torch.full((7,), 3.0)).sum() == math.ceil(0.6 * 7)
    assert not mass_mask(torch.zeros(2, 7)).any()


def test_iou() -> None:
    one = torch.tensor([[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]).bool()
    other = torch.tensor([[0, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]]).bool()
    assert mask_iou(one, other).tolist() == pytest.approx([1 / 3, 1, 0])


def shapes(count: int, side: int) -> Tensor:
    """Return masks of ellipses, noise, thin lines and single pixels."""
    generator = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side]
    masks = []
    for index in range(count):
        cy, cx, ry, rx = generator.uniform(1, side, 4) * [1, 1, 0.4, 0.4]
        ellipse = ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < 1
        speckles = generator.random((side, side)) < 0.002
        masks.append([ellipse, speckles, y == int(cy), (y == int(cy)) & (x == int(cx))][index % 4])
    return torch.from_numpy(np.stack(masks))


@pytest.mark.parametrize(("side", "grid"), [(224, (14, 14)), (224, (7, 7)), (64, (8, 8)), (60, (7, 9)), (8, (8, 8))])
def test_token_masks_equal_those_of_pillow(side: int, grid: tuple[int, int]) -> None:
    masks = shapes(40, side)
    found = token_masks(masks, grid)
    for mask, own in zip(masks.numpy(), found.numpy(), strict=True):
        image = Image.fromarray(mask.astype(np.uint8) * 255)
        expected = np.array(image.resize(grid[::-1], Image.Resampling.BICUBIC)) > 0
        assert (own == expected).all()
