import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from networks.cells import Cells
from networks.correspondence import enlarged_norm, match_keypoints, sample_enlarged, similarity_maps

GRIDS = [((7, 7), (7, 7), (56, 56)), ((5, 8), (9, 4), (40, 65)), ((1, 6), (6, 1), (17, 30)), ((12, 12), (6, 6), (9, 9))]


def enlarge(features: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(features[None], size=size, mode="bilinear", align_corners=False)[0]


def features(grid: tuple[int, int], seed: int) -> Tensor:
    return torch.randn(6, *grid, generator=torch.Generator().manual_seed(seed))


def keypoints(count: int, size: tuple[int, int]) -> Tensor:
    return torch.rand(count, 2, generator=torch.Generator().manual_seed(3)) * torch.tensor([size[1], size[0]])


def plain_scores(source: Tensor, target: Tensor, points: Tensor, size: tuple[int, int], rule: str) -> Tensor:
    """Return the scores (K, H, W) by enlarging both maps."""
    source, target = (enlarge(F.normalize(map_, dim=0), size) for map_ in (source, target))
    if rule == "normalised":
        target = F.normalize(target, dim=0)
    return torch.einsum("ck,chw->khw", source[:, points[:, 1].floor().long(), points[:, 0].long()], target)


@pytest.mark.parametrize(("grid", "_", "size"), GRIDS)
def test_sampling_and_length_equal_those_of_the_enlarged_map(grid: tuple, _: tuple, size: tuple) -> None:
    map_, points = features(grid, 0), keypoints(50, size)
    large = enlarge(map_, size)
    torch.testing.assert_close(
        sample_enlarged(map_, points, size), large[:, points[:, 1].long(), points[:, 0].long()].T, atol=1e-5, rtol=0
    )
    torch.testing.assert_close(enlarged_norm(map_, size), large.norm(dim=0), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("rule", ["official", "normalised"])
@pytest.mark.parametrize(("source_grid", "target_grid", "size"), GRIDS)
def test_matching_equals_enlarging_both_maps(source_grid: tuple, target_grid: tuple, size: tuple, rule: str) -> None:
    source, target, points = features(source_grid, 0), features(target_grid, 1), keypoints(40, size)
    expected = plain_scores(source, target, points, size, rule)
    if rule == "official":
        torch.testing.assert_close(similarity_maps(source, target, points, size), expected, atol=1e-5, rtol=0)
    x, y = match_keypoints(source, target, points, size, [rule])[0].long().unbind(1)
    best = expected.flatten(1).max(1).values
    torch.testing.assert_close(expected[torch.arange(len(points)), y, x], best, atol=1e-5, rtol=0)
    # Along the image's border pixels tie exactly; where the plain way has one winner, it is the same pixel.
    unique = (expected > best[:, None, None] - 1e-5).flatten(1).sum(1) == 1
    assert unique.any() or 1 in target_grid  # a single column ties everywhere
    assert torch.equal((y * size[1] + x)[unique], expected.flatten(1).argmax(1)[unique])


def test_rules_together_equal_rules_alone_and_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    source, target, points, size = features((7, 5), 0), features((7, 5), 1), keypoints(37, (42, 30)), (42, 30)
    together = match_keypoints(source, target, points, size, ["normalised", "official"])
    monkeypatch.setattr("networks.correspondence._KEYPOINTS_AT_ONCE", 5)
    for rule, found in zip(["normalised", "official"], together, strict=True):
        scores = plain_scores(source, target, points, size, rule)
        (x, y), (x_alone, y_alone) = (
            map_.long().unbind(1) for map_ in (found, match_keypoints(source, target, points, size, [rule])[0])
        )
        index = torch.arange(len(points))
        torch.testing.assert_close(scores[index, y, x], scores[index, y_alone, x_alone], atol=1e-5, rtol=0)


def test_a_map_matches_itself_where_vectors_have_unit_length() -> None:
    map_ = features((8, 8), 0)
    points = torch.tensor([[3.0, 17.0], [29.0, 2.0], [12.9, 12.9]])
    assert torch.equal(match_keypoints(map_, map_, points, (32, 32), ["normalised"])[0], points.floor())


def test_the_official_rule_favours_cell_centres() -> None:
    target = torch.eye(2).reshape(2, 1, 2)  # two cells, orthogonal: between them vectors are short
    keypoint = torch.tensor([[3.0, 0.0]])  # the blend of both, nearer to the left one
    official, normalised = match_keypoints(target, target, keypoint, (1, 8), ["official", "normalised"])[:, 0, 0]
    assert official < 3 <= normalised


def test_keypoints_on_the_border_are_clamped() -> None:
    map_ = features((4, 4), 0)
    outside = sample_enlarged(map_, torch.tensor([[16.0, -1.0]]), (16, 16))
    assert torch.equal(outside, sample_enlarged(map_, torch.tensor([[15.0, 0.0]]), (16, 16)))


def test_zero_features_give_no_nan() -> None:
    found = match_keypoints(torch.zeros(3, 4, 4), torch.zeros(3, 4, 4), torch.ones(2, 2), (8, 8), ["normalised"])
    assert torch.equal(found, torch.zeros(1, 2, 2))


def test_no_keypoint_gives_no_match() -> None:
    map_ = features((4, 4), 0)
    found = match_keypoints(map_, map_, torch.zeros(0, 2), (16, 16), ["official", "normalised"])
    assert found.shape == (2, 0, 2)
    assert similarity_maps(map_, map_, torch.zeros(0, 2), (16, 16)).shape == (0, 16, 16)


@pytest.mark.parametrize("rule", ["official", "normalised"])
def test_images_of_different_sizes(rule: str) -> None:
    """As enlarging each map to its own image."""
    source, target, points = features((5, 8), 0), features((9, 4), 1), keypoints(40, (40, 65))
    source_large, target_large = (
        enlarge(F.normalize(source, dim=0), (40, 65)),
        enlarge(F.normalize(target, dim=0), (70, 31)),
    )
    if rule == "normalised":
        target_large = F.normalize(target_large, dim=0)
    scores = torch.einsum("ck,chw->khw", source_large[:, points[:, 1].long(), points[:, 0].long()], target_large)
    x, y = match_keypoints(source, target, points, (70, 31), [rule], source_size=(40, 65))[0].long().unbind(1)
    best = scores.flatten(1).max(1).values
    torch.testing.assert_close(scores[torch.arange(40), y, x], best, atol=1e-5, rtol=0)


def test_covered_cells_are_matched_where_they_lie() -> None:
    """Six cells of 16 pixels, of which one image has 15 more that no cell covers; the official view is off."""
    map_, points = features((6, 6), 0), torch.tensor([[40.0, 8.0], [24.0, 56.0], [88.0, 88.0]])
    options = {"rules": ["normalised"], "source_size": (111, 111)}
    found = match_keypoints(map_, map_, points, (96, 96), cells=Cells(0, 16), **options)[0]
    assert torch.equal(found, points)
    official = match_keypoints(map_, map_, points, (96, 96), **options)[0]
    assert (official - points).abs().max() > 4
    # What is most similar beyond the outermost cells' centres is looked for on the cells only.
    corner = match_keypoints(map_, map_, torch.tensor([[110.0, 110.0]]), (111, 111), ["official"], cells=Cells(0, 16))
    assert corner.max() < 96


def test_cells_of_half_a_patch_begin_a_quarter_of_it_from_the_border() -> None:
    """Thirteen cells of 8 pixels around the centres of patches of 16 in 112 pixels: 8, 16, ... 104."""
    each_its_own = torch.eye(13 * 13).reshape(-1, 13, 13)
    for row, column in ((1, 1), (4, 7), (11, 11)):
        wanted = each_its_own[:, row, column, None, None]
        ((found,),) = match_keypoints(wanted, each_its_own, torch.zeros(1, 2), (112, 112), cells=Cells(4, 8))
        # The centre lies between two pixels, of which the first is taken.
        assert found.tolist() == [8 * (column + 1) - 1, 8 * (row + 1) - 1]
