import pytest
import torch

from networks.gan.minibatch_stddev import MinibatchStddev


def naive(x: torch.Tensor, group: int) -> torch.Tensor:
    batch = len(x)
    size = max(n for n in range(1, group + 1) if batch % n == 0 and n <= batch)
    out = torch.zeros(batch, 1, *x.shape[2:], dtype=x.dtype)
    for first in range(batch // size):
        members = range(first, batch, batch // size)
        deviations = []
        for c in range(x.shape[1]):
            for h in range(x.shape[2]):
                for w in range(x.shape[3]):
                    values = torch.stack([x[i, c, h, w] for i in members])
                    deviations.append(((values - values.mean()) ** 2).mean().add(1e-8).sqrt())
        for i in members:
            out[i] = 0 if size == 1 else torch.stack(deviations).mean()
    return out


@pytest.mark.parametrize(("batch", "group"), [(4, 4), (8, 4), (6, 4), (9, 4), (5, 4), (3, 4), (1, 4), (2, 16), (6, 1)])
def test_is_the_naive_loop(batch, group):
    x = torch.randn(batch, 2, 2, 3, dtype=torch.float64)
    out = MinibatchStddev(group)(x)
    assert torch.equal(out[:, :2], x)
    torch.testing.assert_close(out[:, 2:], naive(x, group))


def test_by_hand():
    x = torch.tensor([0.0, 10.0, 2.0, 16.0]).view(4, 1, 1, 1)  # groups {0, 2} and {10, 16}
    torch.testing.assert_close(MinibatchStddev(2)(x)[:, 1].flatten(), torch.tensor([1.0, 3.0, 1.0, 3.0]))


@pytest.mark.parametrize("batch", [1, 5])
def test_alone_a_sample_has_no_deviation(batch):
    x = torch.randn(batch, 3, 4, 4, requires_grad=True)
    out = MinibatchStddev(4)(x)
    assert not out[:, 3].any()
    out.sum().backward()
    assert torch.equal(x.grad, torch.ones_like(x))


def test_equal_samples_have_finite_gradients():
    x = torch.ones(4, 2, 2, 2, requires_grad=True)
    MinibatchStddev()(x)[:, 2].sum().backward()
    assert torch.isfinite(x.grad).all()


def test_gradients_to_second_order():
    x = torch.randn(4, 2, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(MinibatchStddev(2), x)
    assert torch.autograd.gradgradcheck(MinibatchStddev(2), x)


def test_bf16_is_computed_in_float32():
    x = (torch.randn(4, 8, 4, 4) * 0.01 + 100).bfloat16().to(memory_format=torch.channels_last)
    out = MinibatchStddev()(x)
    assert out.dtype == torch.bfloat16
    expected = MinibatchStddev()(x.float())[:, 8]
    torch.testing.assert_close(out[:, 8].float(), expected, rtol=0.01, atol=0)


def test_empty_groups_are_refused():
    with pytest.raises(ValueError, match="at least 1"):
        MinibatchStddev(0)
