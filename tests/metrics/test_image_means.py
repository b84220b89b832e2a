import math

import pytest
import torch

from metrics.estimate import mean_estimate
from metrics.image_means import ImageMeans


def test_batches_give_the_estimate_of_all_images():
    samples = torch.rand(11, generator=torch.Generator().manual_seed(0)) + 40
    metric = ImageMeans(["other", "L1"])
    for part in samples.split(4):
        metric.update({"L1": part})
    found, wanted = metric.compute()["L1"], mean_estimate(samples)
    assert (float(found.value), float(found.standard_error)) == pytest.approx((float(wanted[0]), float(wanted[1])))
    assert found[2] == 11
    assert math.isnan(metric.compute()["other"].value)
    assert metric.compute()["other"][2] == 0


def test_images_without_the_figure_do_not_count_and_one_has_no_error():
    metric = ImageMeans(["std"])
    metric.update({"std": torch.tensor([math.nan, 3.0])})
    value, error, count = metric.compute()["std"]
    assert (value, count) == (3, 1)
    assert math.isnan(error)
