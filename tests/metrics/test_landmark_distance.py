import math

import pytest
import torch

from metrics.landmark_distance import LandmarkDistance, mouth_distances, second_difference


def still(frames=6, seed=0):
    points = 100 * torch.rand(68, 2, generator=torch.Generator().manual_seed(seed))
    points[36], points[45] = torch.tensor([10.0, 20.0]), torch.tensor([40.0, 60.0])  # eyes 50 pixels apart
    return points.expand(frames, -1, -1).clone()


def test_where_the_mouth_is_does_not_count_but_its_shape_does():
    truth = still()
    moved = truth + torch.tensor([5.0, -3.0])
    assert float(mouth_distances(moved, truth).max()) == pytest.approx(0, abs=1e-4)
    wider = truth.clone()
    wider[:, 48:58, 0] -= 3
    wider[:, 58:68, 0] += 3
    metric = LandmarkDistance()
    metric.update(wider, truth)
    assert float(metric.compute()["LMD"].value) == pytest.approx(3)


def test_only_the_twenty_points_of_the_mouth_count():
    truth = still()
    other = truth.clone()
    other[:, :48] += torch.rand(6, 48, 2)
    metric = LandmarkDistance()
    metric.update(other, truth)
    assert float(metric.compute()["LMD"].value) == 0
    assert float(metric.compute()["jitter"].value) == 0


def test_jitter_is_the_second_difference_more_than_the_truth_has_in_distances_of_the_eyes():
    truth = still()
    truth += torch.arange(6)[:, None, None] * 2.0  # steady motion has none
    trembling = truth.clone()
    trembling[1::2, 48:, 1] += 10  # up and down: 20 pixels a frame and a frame
    metric = LandmarkDistance()
    metric.update(trembling, truth)
    assert float(metric.compute()["jitter"].value) == pytest.approx(20 / 50)
    other = LandmarkDistance()
    other.update(truth, trembling)
    assert float(other.compute()["jitter"].value) == pytest.approx(-20 / 50)


def test_frames_without_a_face_do_not_count_and_short_clips_have_no_jitter():
    truth, found = still(), torch.tensor([True, True, True, False, True, True])
    other = truth.clone()
    other[3] = 1e6
    metric = LandmarkDistance()
    metric.update(other, truth, found)
    assert float(metric.compute()["LMD"].value) == 0
    assert float(second_difference(other, found)) == 0
    metric.update(truth[:2], truth[:2])
    assert (metric.compute()["LMD"].count, metric.compute()["jitter"].count) == (2, 1)


def test_parts_add_up():
    whole, parts = LandmarkDistance(), [LandmarkDistance(), LandmarkDistance()]
    for number in range(5):
        pair = still(seed=number), still(seed=10 + number)
        whole.update(*pair)
        parts[number % 2].update(*pair)
    parts[0].merge_state(parts[1])
    for name, estimate in parts[0].compute().items():
        torch.testing.assert_close(torch.stack(estimate[:2]), torch.stack(whole.compute()[name][:2]))
    assert math.isnan(LandmarkDistance().compute()["LMD"].value)


def test_where_the_truth_is_of_another_head_jitter_is_counted_against_the_video():
    trembling = still()
    trembling[1::2, 48:, 1] += 10
    other_head = still(seed=1)
    metric = LandmarkDistance()
    metric.update(trembling, other_head, None, trembling)
    found = metric.compute()
    assert float(found["jitter"].value) == 0
    assert float(found["LMD"].value) == pytest.approx(float(mouth_distances(trembling, other_head).mean()))
