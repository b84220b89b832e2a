import pytest
import torch

from metrics.keypoint_error import keypoint_errors, pose_differences, thirds


def heads(count=4):
    return 100 * torch.rand(count, 68, 2, generator=torch.Generator().manual_seed(count))


def with_eyes(points, apart):
    points = points.clone()
    points[:, 36], points[:, 45] = torch.tensor([0.0, 0.0]), torch.tensor([apart, 0.0])
    return points


def test_every_point_by_three_and_four_pixels_with_eyes_ten_apart():
    truth = with_eyes(heads(), 10.0)
    assert keypoint_errors(truth + torch.tensor([3.0, 4.0]), truth).tolist() == pytest.approx([0.5] * 4)
    assert keypoint_errors(truth, truth).tolist() == [0] * 4


def test_the_eyes_of_the_truth_are_the_unit_and_size_does_not_count():
    first, truth = heads(), with_eyes(heads(4) + 5, 20.0)
    expected = keypoint_errors(first, truth)
    torch.testing.assert_close(keypoint_errors(7 * first, 7 * truth), expected)
    assert not torch.allclose(keypoint_errors(truth, first), expected)
    assert keypoint_errors(torch.full_like(first, torch.nan), truth).isnan().all()


def test_the_nearest_shot_counts_and_where_it_stands_does_not():
    shots = with_eyes(heads(3), 10.0)
    target = shots[1:2] + 50
    assert pose_differences(shots, target) == pytest.approx(0, abs=1e-6)
    without = pose_differences(shots[[0, 2]], target)
    each = [float(pose_differences(shots[k : k + 1], target)) for k in (0, 2)]
    assert without == pytest.approx(min(each))
    moved = target.clone()
    moved[:, 60:64, 1] += 17  # 4 of 68 points, 16 of 17 pixels beyond the mean, and 64 that the mean has left by 1
    assert pose_differences(shots[1:2], moved) == pytest.approx((4 * 16 + 64) / 68 / 10, rel=1e-5)


def test_a_third_is_in_each_group():
    values = torch.tensor([5.0, 1, 9, 2, 8, 3, 7, 4, 6])
    assert thirds(values).tolist() == [1, 0, 2, 0, 2, 0, 2, 1, 1]
    assert thirds(values.flip(0)).tolist() == thirds(values).flip(0).tolist()
    assert thirds(torch.zeros(0)).tolist() == []
