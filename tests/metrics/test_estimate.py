import math

import pytest
import torch

from metrics.estimate import mean_estimate, ratio_estimate


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


def test_a_ratio_of_sums_has_the_error_of_its_samples():
    """Of equally large samples it is the mean, and samples without a denominator do not count."""
    parts = torch.tensor([1.0, 4, 2, 3, 0])
    plain, ratio = mean_estimate(parts / 5), ratio_estimate(parts, torch.full((5,), 5.0))
    torch.testing.assert_close(torch.stack(ratio[:2]), torch.stack(plain[:2]))
    more = ratio_estimate(torch.cat([parts, torch.zeros(2)]), torch.tensor([5.0] * 5 + [0, 0]))
    assert more[2] == 5
    assert float(ratio_estimate(torch.tensor([1.0, 3]), torch.tensor([2.0, 10])).value) == pytest.approx(4 / 12)
    assert torch.isnan(ratio_estimate(torch.zeros(0), torch.zeros(0)).value)
