import numpy as np
import pytest

from callbacks.vit_analysis.report.arrays import AnalysedModel
from callbacks.vit_analysis.report.local_heads import kinds_of_heads, offset_local_head, offset_local_heads, spread_of
from tests.callbacks.vit_analysis.report import synthetic


def aligned(weights, grid):
    """Return the AAAM of attention (N, N), pasted query by query."""
    h, w = grid
    canvas = np.zeros((2 * h - 1, 2 * w - 1))
    for query in range(h * w):
        y, x = divmod(query, w)
        canvas[h - 1 - y : 2 * h - 1 - y, w - 1 - x : 2 * w - 1 - x] += weights[query].reshape(h, w)
    return canvas / (h * w)


@pytest.mark.parametrize("grid", [(4, 4), (3, 7)])
def test_uniform_attention_has_spread_one_and_no_offset(grid):
    count = grid[0] * grid[1]
    spread = spread_of(aligned(np.full((count, count), 1 / count), grid)[None, None])
    np.testing.assert_allclose(spread.sides, 1)
    np.testing.assert_allclose(spread.overall, 1)
    np.testing.assert_allclose(spread.offset, 0, atol=1e-12)
    np.testing.assert_allclose(spread.centre, 1 / count)


def test_a_head_without_attention_on_patches_is_not_local():
    assert np.isinf(spread_of(np.zeros((1, 1, 7, 7))).overall).all()


def test_the_kinds_are_found_where_they_were_put():
    found = kinds_of_heads(synthetic.model(depth=3, heads=3, grid=(8, 8)))
    places = {kind: (head.layer, head.head) for kind, head in found.items()}
    assert places == {"strict": (0, 0), "soft": (0, 1), "axial": (1, 0), "offset": (1, 1)}
    assert found["strict"].text == "on itself 100%"


def test_the_offset_is_told_in_tokens():
    maps = np.zeros((1, 2, 9, 9))
    maps[0, 0, 4 - 1, 4 + 2] = 1  # every token attends to the one 2 to the right and 1 up
    maps[0, 1] = 1  # farther on average, but not local
    offset = np.array([[[2 / 4, -1 / 4], [0.9, 0.9]]])
    model = synthetic.AnalysedModel("m", "FS", 1, 2, 8, 40, (5, 5), {"attention": {"aligned": maps, "offset": offset}})
    head = offset_local_head(model)
    assert (head.layer, head.head, head.text) == (0, 0, "offset +2.0, -1.0")


def test_a_model_without_local_heads_has_none():
    maps = np.ones((2, 2, 9, 9))
    arrays = {"attention": {"aligned": maps, "offset": np.zeros((2, 2, 2))}}
    model = synthetic.AnalysedModel("m", "FS", 2, 2, 8, 40, (5, 5), arrays)
    assert offset_local_head(model) is None
    assert set(kinds_of_heads(model).values()) == {None}


def test_every_offset_head_is_listed_with_its_strength():
    """Layer 1: one head on itself, one two tokens to the right; layer 2: uniform, and three quarters one token up."""
    grid = (8, 8)
    itself, right, up, uniform = np.eye(64), np.zeros((64, 64)), np.zeros((64, 64)), np.full((64, 64), 1 / 64)
    for query in range(64):
        y, x = divmod(query, 8)
        right[query, 8 * y + x + 2 if x < 6 else query] = 1
        up[query, query - 8 if y else query] = 1
    maps = np.stack(
        [
            [aligned(itself, grid), aligned(right, grid)],
            [aligned(uniform, grid), aligned(0.9 * up + 0.1 * uniform, grid)],
        ]
    )
    model = AnalysedModel("m", "FS", 2, 2, 8, 64, grid, {"attention": {"aligned": maps}})
    first, second = offset_local_heads(model)
    assert (first["layer"], first["head"]) == (1, 2)
    assert (first["x"], first["y"]) == pytest.approx((2 * 6 / 8, 0))  # the two last columns stay where they are
    assert first["distance"] == pytest.approx(1.5)
    assert first["strength"] == pytest.approx(6 / 8)
    assert (second["layer"], second["head"]) == (2, 2)
    assert second["y"] == pytest.approx(-0.9 * 7 / 8)
    assert second["strength"] > 0.9
    assert offset_local_heads(AnalysedModel("m", "FS", 2, 2, 8, 64, grid)) == []
