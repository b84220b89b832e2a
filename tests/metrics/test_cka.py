import itertools
import math

import pytest
import torch

from metrics.cka import MinibatchCKA, cka_matrix, unbiased_hsic


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


def batched_grams(representations):
    """Gram matrices (b, R, n, n) of R representations (b, n, C) whose C may differ."""
    return torch.stack([x @ x.mT for x in representations], dim=1)


def test_matrix_is_the_ratio_of_sums_of_u_statistics():
    shared = random(3, 6, 4, seed=0)
    ours = batched_grams([shared, shared[..., :2] + random(3, 6, 2, seed=1)])
    theirs = batched_grams([shared[..., 1:] * 2 + 1, random(3, 6, 5, seed=2), shared])
    found = cka_matrix(ours, theirs)
    assert found.shape == (2, 3)
    assert found.dtype == torch.float64
    for a, b in itertools.product(range(2), range(3)):
        xy, xx, yy = (
            sum(brute_force_hsic(k, other) for k, other in zip(one, two, strict=True))
            for one, two in (
                (ours[:, a], theirs[:, b]),
                (ours[:, a], ours[:, a]),
                (theirs[:, b], theirs[:, b]),
            )
        )
        assert float(found[a, b]) == pytest.approx(xy / math.sqrt(xx * yy), rel=1e-9)


def test_matrix_equals_the_streaming_metric_and_takes_arrays():
    representations = [random(4, 9, channels, seed=channels) + 1 for channels in (2, 3, 7)]
    metric = MinibatchCKA(["0", "1", "2"])
    for batch in zip(*representations, strict=True):
        metric.update(list(batch))
    grams = batched_grams(representations)
    found = cka_matrix(grams.numpy(), grams.numpy())
    torch.testing.assert_close(found.diagonal(), torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(found, found.T)
    for a, b in itertools.combinations(range(3), 2):
        assert float(found[a, b]) == pytest.approx(float(metric.compute()[f"CKA {a}->{b}"].value), rel=1e-9)


def test_matrix_does_not_see_rotations_scales_and_shifts():
    x, y = random(2, 12, 5, seed=0), random(2, 12, 4, seed=3)
    rotation = torch.linalg.qr(random(5, 5, seed=1)).Q
    changed = 3 * x @ rotation + random(5, seed=2)
    torch.testing.assert_close(
        cka_matrix(batched_grams([changed]), batched_grams([x, y])),
        cka_matrix(batched_grams([x]), batched_grams([x, y])),
    )


def test_sorted_batches_hide_what_only_classes_share():
    """Two representations that share nothing but the class: batches of one class cannot tell (the official default)."""
    classes, each = 8, 32
    labels = torch.arange(classes).repeat_interleave(each)
    centres = random(classes, 16, seed=0)
    x, y = (centres[labels] + random(len(labels), 16, seed=seed) for seed in (1, 2))

    def measured(order):
        one, other = (z[order].unflatten(0, (classes, each)) for z in (x, y))
        return float(cka_matrix(batched_grams([one]), batched_grams([other])))

    assert abs(measured(torch.arange(len(labels)))) < 0.05
    assert measured(torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))) > 0.3


def test_matrix_of_nothing_or_of_what_tells_nothing_apart():
    grams = batched_grams([random(2, 5, 3, seed=0), torch.ones(2, 5, 3, dtype=torch.float64)])
    found = cka_matrix(grams, grams)
    assert found.isnan().tolist() == [[False, True], [True, True]]
    assert cka_matrix(grams[:0], grams[:0]).isnan().all()
    with pytest.raises(ValueError, match="same batches"):
        cka_matrix(grams, grams[:1])
    with pytest.raises(ValueError, match="same batches"):
        cka_matrix(grams, grams[..., :4, :4])
    with pytest.raises(ValueError, match="at least 4"):
        cka_matrix(grams[..., :3, :3], grams[..., :3, :3])
