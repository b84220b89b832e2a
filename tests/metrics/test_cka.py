import itertools
import math

import pytest
import torch

from metrics.cka import MinibatchCKA, unbiased_hsic


def brute_force_hsic(k, other):
    """The U-statistic itself: the mean over all quadruples of distinct samples (Song et al. 2012, Eq. 4)."""
    n, total, count = len(k), 0.0, 0
    for i, j, q, r in itertools.permutations(range(n), 4):
        total += float(k[i, j] * (other[i, j] + other[q, r] - 2 * other[i, q]))
        count += 1
    return total / count


def gram(x):
    return x @ x.T


def random(*shape, seed):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_hsic_is_the_u_statistic():
    grams = torch.stack([gram(random(7, 3, seed=0)), gram(random(7, 5, seed=1) + 2), gram(random(7, 2, seed=2))])
    hsic = unbiased_hsic(grams)
    for a, b in itertools.product(range(3), repeat=2):
        assert float(hsic[a, b]) == pytest.approx(brute_force_hsic(grams[a], grams[b]), rel=1e-9)


def test_hsic_needs_four_samples():
    with pytest.raises(ValueError, match="at least 4"):
        unbiased_hsic(torch.ones(2, 3, 3))


def test_ratio_of_sums_over_batches():
    batches = [(random(6, 4, seed=s), random(6, 3, 2, seed=s + 50)) for s in range(3)]
    metric = MinibatchCKA(["a", "b"])
    xy = xx = yy = 0.0
    for x, y in batches:
        y = y + x[:, :3, None]
        metric.update([x, y])
        kernel_x, kernel_y = gram(x), gram(y.flatten(1))
        xy += brute_force_hsic(kernel_x, kernel_y)
        xx += brute_force_hsic(kernel_x, kernel_x)
        yy += brute_force_hsic(kernel_y, kernel_y)
    estimate = metric.compute()["CKA a->b"]
    assert float(estimate.value) == pytest.approx(xy / math.sqrt(xx * yy), rel=1e-9)
    assert estimate.count == 18


def test_invariances():
    x = random(12, 5, seed=0)
    rotation = torch.linalg.qr(random(5, 5, seed=1)).Q
    metric = MinibatchCKA(["x", "turned", "other"])
    metric.update([x, 3 * x @ rotation + 7, random(12, 5, seed=2)])
    result = metric.compute()
    assert list(result) == ["CKA x->turned", "CKA x->other", "CKA turned->other"]
    assert float(result["CKA x->turned"].value) == pytest.approx(1)
    assert float(result["CKA x->other"].value) == pytest.approx(float(result["CKA turned->other"].value))
    assert abs(float(result["CKA x->other"].value)) < 0.9
    assert math.isnan(result["CKA x->other"].standard_error)


def test_too_small_a_batch_is_left_out():
    metric = MinibatchCKA(["a", "b"])
    metric.update([torch.ones(3, 2), torch.ones(3, 2)])
    estimate = metric.compute()["CKA a->b"]
    assert estimate.count == 0
    assert math.isnan(estimate.value)
    with pytest.raises(ValueError, match="representations"):
        metric.update([torch.ones(4, 2)])


def test_standard_error_agrees_with_the_spread_of_repetitions():
    values, errors = [], []
    for repetition in range(60):
        metric = MinibatchCKA(["a", "b"])
        shared = random(30, 8, 4, seed=repetition)
        noise = random(30, 8, 4, seed=1000 + repetition)
        for x, e in zip(shared, noise, strict=True):
            metric.update([x, x + e])
        estimate = metric.compute()["CKA a->b"]
        values.append(float(estimate.value))
        errors.append(float(estimate.standard_error))
    spread = torch.tensor(values).std()
    assert float(torch.tensor(errors).mean() / spread) == pytest.approx(1, abs=0.25)


def test_merging_equals_one_pass():
    whole, parts = MinibatchCKA(["a", "b"]), [MinibatchCKA(["a", "b"]) for _ in range(2)]
    for index in range(4):
        batch = [random(5, 3, seed=index), random(5, 3, seed=10 + index)]
        whole.update(batch)
        parts[index % 2].update(batch)
    parts[0].merge_state(parts[1])
    expected, merged = whole.compute()["CKA a->b"], parts[0].compute()["CKA a->b"]
    torch.testing.assert_close(merged.value, expected.value)
    torch.testing.assert_close(merged.standard_error, expected.standard_error)
