import math

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import nn

from metrics.frechet_distance import FrechetFeatureDistance


class Colours(nn.Module):
    num_features = 3

    def forward(self, images):
        return images.float().mean((2, 3)) / 255


def images(seed, count=40, highest=256):
    return torch.randint(0, highest, (count, 3, 2, 2), generator=torch.Generator().manual_seed(seed)).byte()


def test_equals_the_formula():
    real, fake = images(0), images(1, highest=200)
    metric = FrechetFeatureDistance(Colours())
    metric.update(real, real=True)
    metric.update(fake, real=False)
    a, b = (Colours()(each).double().numpy() for each in (real, fake))
    covariances = [np.cov(each, rowvar=False) for each in (a, b)]
    root = sqrtm(covariances[0] @ covariances[1]).real
    wanted = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(covariances[0] + covariances[1] - 2 * root)
    assert float(metric.compute()) == pytest.approx(wanted, rel=1e-4)
    assert metric.images == 40


def test_real_statistics_are_worth_the_images():
    first, second, third = (FrechetFeatureDistance(Colours()) for _ in range(3))
    for metric in (first, third):
        metric.update(images(0), real=True)
    second.update(images(2), real=False)
    third.update(images(2), real=False)
    second.take_real_statistics(first.real_statistics())
    assert float(second.compute()) == float(third.compute())


def test_too_few_images_have_no_distance():
    metric = FrechetFeatureDistance(Colours())
    assert math.isnan(metric.compute())
    metric.update(images(0), real=True)
    metric.update(images(0, 1), real=False)
    assert math.isnan(metric.compute())
