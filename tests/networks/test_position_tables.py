import pytest
import torch
from timm.layers import RotaryEmbeddingDinoV3
from torch.nn import functional as F

from networks.position_tables import (
    RESIZE,
    CentredRotary,
    of_any_size,
    resize_positions_official,
    resize_positions_official_traceable,
    resize_positions_timm,
    resize_positions_timm_traceable,
)

GRIDS = [(14, 14), (14, 7), (5, 9), (28, 30), (1, 1), (13, 15), (14, 15)]


def table(cells=14, channels=6):
    return torch.randn(1, channels, cells, cells, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ["official", "timm"])
@pytest.mark.parametrize("grid", GRIDS)
def test_what_compares_no_sizes_gives_the_same(name, grid):
    given = table()
    ours = RESIZE[of_any_size(name)](given, *grid)
    assert ours.shape == (1, 6, *grid)
    assert torch.allclose(ours, RESIZE[name](given, *grid), atol=1e-5)
    assert ours.dtype == given.dtype


@pytest.mark.parametrize("resize", [resize_positions_official_traceable, resize_positions_timm_traceable])
def test_the_native_grid_is_left_as_it_is(resize):
    assert torch.equal(resize(table(), 14, 14), table())


def test_official_and_timm_differ():
    """Otherwise the tests above could not tell one from the other."""
    official, timm = (resize(table(), 9, 9) for resize in (resize_positions_official, resize_positions_timm))
    assert (official - timm).abs().max() > 0.1
    assert (official - F.interpolate(table(), (9, 9), mode="bicubic")).abs().max() > 1e-3


def test_a_rule_of_any_size_is_its_own():
    assert of_any_size(of_any_size("timm")) == of_any_size("timm") != "timm"


@pytest.mark.parametrize("offset", [0.0, 0.25])
def test_rotary_positions_are_those_of_timm(offset):
    rotary = RotaryEmbeddingDinoV3(dim=16, grid_offset=offset).eval()
    ours = CentredRotary.in_place_of(rotary)
    for grid in [(3, 5), (7, 2), (1, 1)]:
        assert torch.allclose(ours.get_embed(grid), rotary.get_embed(grid), atol=1e-6)
        assert ours.get_embed(grid, torch.bfloat16).dtype == torch.bfloat16
    assert CentredRotary.in_place_of(None) is None
    assert CentredRotary.in_place_of(RotaryEmbeddingDinoV3(dim=16, normalize_coords="max")) is None
