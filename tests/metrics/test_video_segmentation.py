import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from metrics.video_segmentation import VideoSegmentationQuality, boundary_f, boundary_map, dilate, region_iou


def blobs(count: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Return smooth random masks (count, height, width)."""
    noise = np.random.default_rng(seed).normal(size=(count, height, width))
    return torch.from_numpy(ndimage.gaussian_filter(noise, (0, 2, 2)) > 0.02)


def plain_boundary(mask: np.ndarray) -> np.ndarray:
    """Return the boundary by the definition: a loop over pixels."""
    height, width = mask.shape
    boundary = np.zeros_like(mask)
    for y in range(height):
        for x in range(width):
            others = [(y, x + 1), (y + 1, x), (y + 1, x + 1)]
            if y == height - 1:
                others = [(y, x + 1)]
            elif x == width - 1:
                others = [(y + 1, x)]
            inside = [mask[i, j] for i, j in others if i < height and j < width]
            boundary[y, x] = any(other != mask[y, x] for other in inside)
    return boundary


def plain_f(predicted: np.ndarray, target: np.ndarray, tolerance: float) -> float:
    radius = math.ceil(tolerance * np.linalg.norm(target.shape))
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    disk = y**2 + x**2 <= radius**2
    found, true = plain_boundary(predicted), plain_boundary(target)
    if not found.any() or not true.any():
        return float(found.any() == true.any())
    precision = (found & ndimage.binary_dilation(true, disk)).sum() / found.sum()
    recall = (true & ndimage.binary_dilation(found, disk)).sum() / true.sum()
    return 0.0 if precision + recall == 0 else 2 * precision * recall / (precision + recall)


def rectangle(top: int, left: int, bottom: int, right: int, size: int = 20) -> Tensor:
    mask = torch.zeros(size, size, dtype=torch.bool)
    mask[top:bottom, left:right] = True
    return mask


def test_region_iou_by_hand() -> None:
    whole, half, empty = rectangle(2, 2, 6, 6), rectangle(2, 2, 6, 4), torch.zeros(20, 20, dtype=torch.bool)
    predicted, target = torch.stack([half, empty, empty, whole]), torch.stack([whole, whole, empty, whole])
    assert region_iou(predicted, target).tolist() == [0.5, 0.0, 1.0, 1.0]


def test_boundary_is_one_pixel_wide_and_outside_up_and_left() -> None:
    rows = ["0000", "0110", "0110", "0000"]
    mask = torch.tensor([[[pixel == "1" for pixel in row] for row in rows]])
    expected = [[1, 1, 1, 0], [1, 0, 1, 0], [1, 1, 1, 0], [0, 0, 0, 0]]
    assert boundary_map(mask).int().tolist() == [expected]


@pytest.mark.parametrize("shape", [(9, 14), (1, 7), (7, 1)])
def test_boundary_agrees_with_the_loop(shape: tuple[int, int]) -> None:
    masks = torch.rand(5, *shape, generator=torch.Generator().manual_seed(0)) > 0.5
    assert np.array_equal(boundary_map(masks), np.stack([plain_boundary(mask.numpy()) for mask in masks]))


@pytest.mark.parametrize("radius", [0, 1, 2, 5, 8, 40])
def test_dilation_by_a_disk_agrees_with_scipy(radius: int) -> None:
    masks = torch.rand(2, 23, 17, generator=torch.Generator().manual_seed(radius)) > 0.97
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    disk = (y**2 + x**2 <= radius**2)[None]
    assert np.array_equal(dilate(masks, radius), ndimage.binary_dilation(masks.numpy(), disk))


def test_boundaries_within_the_tolerance_match() -> None:
    target = rectangle(5, 5, 12, 12)[None]  # tolerance 0.05 of a diagonal of 28.3: 2 pixels
    shifted = [rectangle(5, 5 + shift, 12, 12 + shift)[None] for shift in (0, 2)]
    assert [float(boundary_f(mask, target, 0.05)) for mask in shifted] == [1.0, 1.0]
    assert 0 < float(boundary_f(rectangle(5, 9, 12, 16)[None], target, 0.05)) < 1
    assert float(boundary_f(rectangle(15, 15, 19, 19)[None], rectangle(1, 1, 5, 5)[None], 0.05)) == 0


def test_missing_boundaries() -> None:
    empty, full, some = torch.zeros(20, 20).bool(), torch.ones(20, 20).bool(), rectangle(5, 5, 9, 9)
    score = boundary_f(torch.stack([empty, some, empty, full]), torch.stack([some, empty, empty, empty]))
    assert score.tolist() == [0.0, 0.0, 1.0, 1.0]


@pytest.mark.parametrize("tolerance", [0.008, 0.03, 0.1])
def test_boundary_f_agrees_with_the_plain_way(tolerance: float) -> None:
    predicted, target = blobs(6, 37, 52), blobs(6, 37, 52, seed=1)
    target[2] = predicted[2]
    expected = [plain_f(p.numpy(), t.numpy(), tolerance) for p, t in zip(predicted, target, strict=True)]
    assert boundary_f(predicted, target, tolerance).tolist() == pytest.approx(expected, abs=1e-12)


def video(*frames: Tensor) -> Tensor:
    return torch.stack(frames).long()


def test_first_and_last_frame_are_not_scored() -> None:
    mask, nothing = rectangle(5, 5, 9, 9), torch.zeros(20, 20).bool()
    metric = VideoSegmentationQuality()
    metric.update(video(nothing, mask, mask, nothing), video(mask, mask, mask, mask))
    assert all(figure.value == 1 for figure in metric.compute().values())
    metric.update(video(mask, nothing, nothing, mask), video(mask, mask, mask, mask))
    assert all(figure.value == 0.5 and figure.count == 2 for figure in metric.compute().values())


def test_every_object_of_the_first_frame_counts_once() -> None:
    one, two = rectangle(2, 2, 8, 8).long(), 2 * rectangle(12, 12, 18, 18).long()
    late, void = 3 * rectangle(0, 14, 4, 18).long(), 255 * rectangle(10, 0, 11, 20).long()
    target = torch.stack([one + two + void, one + two + late, one + late, one + two])
    predicted = torch.stack([one + two, one, one, one + two])
    metric = VideoSegmentationQuality()
    metric.update(predicted, target)
    # Object 1 is perfect; object 2 is lost where it is present, and rightly absent in the next frame.
    figures = metric.compute()
    for name in ("J&F", "J", "F"):
        assert float(figures[name].value) == pytest.approx(0.75)
        assert float(figures[name].standard_error) == pytest.approx(0.25)
        assert figures[name].count == 2


@pytest.mark.parametrize(("ignore_void", "region"), [(False, 0.5), (True, 1.0)])
def test_void_counts_as_background_unless_ignored(ignore_void: bool, region: float) -> None:
    target = rectangle(4, 4, 8, 8).long()
    target[4:8, 8:12] = 255
    metric = VideoSegmentationQuality(ignore_void)
    metric.update(rectangle(4, 4, 8, 12).long().expand(3, -1, -1), target.expand(3, -1, -1))
    assert metric.compute()["J"].value == region


def test_agrees_with_the_plain_way_and_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [blobs(7, 30, 44, seed) for seed in range(4)]
    predicted, target = parts[0].long() + parts[1], parts[2].long() + parts[3]
    target[0, :2, :2] = torch.tensor([[0, 1], [2, 2]])
    j, f = [], []
    for number in (1, 2):
        p, t = (predicted[1:-1] == number).numpy(), (target[1:-1] == number).numpy()
        j.append(np.mean([(a & b).sum() / (a | b).sum() for a, b in zip(p, t, strict=True)]))
        f.append(np.mean([plain_f(a, b, 0.008) for a, b in zip(p, t, strict=True)]))
    for pixels in (2**23, 1):
        monkeypatch.setattr("metrics.video_segmentation._PIXELS_AT_ONCE", pixels)
        metric = VideoSegmentationQuality()
        metric.update(predicted, target)
        figures = metric.compute()
        assert float(figures["J"].value) == pytest.approx(np.mean(j), rel=1e-6)
        assert float(figures["F"].value) == pytest.approx(np.mean(f), rel=1e-6)
        assert float(figures["J&F"].value) == pytest.approx(np.mean([*j, *f]), rel=1e-6)


def test_no_video_and_no_object() -> None:
    metric = VideoSegmentationQuality()
    metric.update(torch.zeros(3, 4, 4).long(), torch.zeros(3, 4, 4).long())
    assert all(math.isnan(figure.value) and figure.count == 0 for figure in metric.compute().values())


@pytest.mark.parametrize("shapes", [((2, 4, 4), (2, 4, 4)), ((3, 4, 4), (3, 4, 5))])
def test_wrong_shapes_are_refused(shapes: tuple) -> None:
    with pytest.raises(ValueError, match="need two equal"):
        VideoSegmentationQuality().update(*(torch.zeros(shape).long() for shape in shapes))
