import pytest
import torch

from metrics.perceptual_distance import feature_distance


def test_mean_angle_of_the_cells():
    truth = torch.zeros(2, 2, 1, 2)
    truth[:, 0] = 1
    features = truth.clone()
    features[1, :, 0, 0] = torch.tensor([0.0, 3.0])  # one of two cells at a right angle, whatever its length
    assert feature_distance(features, truth).tolist() == pytest.approx([0, 0.5])
    assert feature_distance(-5 * truth, truth).tolist() == pytest.approx([2, 2])
