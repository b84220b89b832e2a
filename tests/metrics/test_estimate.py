import math

import pytest
import torch

from metrics.estimate import mean_estimate


def test_mean_and_standard_error_by_hand():
    found = mean_estimate(torch.tensor([1.0, 2.0, 6.0]))
    assert found.value == 3
    assert float(found.standard_error) == pytest.approx(math.sqrt(((1 - 3) ** 2 + (2 - 3) ** 2 + (6 - 3) ** 2) / 2 / 3))
    assert found.count == 3


@pytest.mark.parametrize("samples", [[], [5.0]])
def test_fewer_than_two_samples_have_no_standard_error(samples):
    found = mean_estimate(torch.tensor(samples))
    assert found.count == len(samples)
    assert found.standard_error.isnan()
    assert found.value == 5 if samples else found.value.isnan()
