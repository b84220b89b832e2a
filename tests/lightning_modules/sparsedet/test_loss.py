import pytest
import torch

from lightning_modules.sparsedet.loss import SSL_NORMS, mean_distance, squared_distance


def features(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(5, 7, generator=generator).to(dtype).requires_grad_() for _ in range(2)]


def test_by_hand():
    f_a, f_o = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[0.0, 0.0], [0.0, 3.0]])
    assert squared_distance(f_a, f_o) == (5 + 9) / 2  # squared norms 5 and 9
    assert mean_distance(f_a, f_o) == (5 + 9) / 4


def test_squared_is_mean_times_the_dimensions():
    f_a, f_o = features()
    torch.testing.assert_close(squared_distance(f_a, f_o), 7 * mean_distance(f_a, f_o))


@pytest.mark.parametrize("norm", SSL_NORMS)
def test_gradient_flows_into_both_views(norm):
    f_a, f_o = features()
    SSL_NORMS[norm](f_a, f_o).backward()
    assert f_a.grad.abs().sum() > 0
    torch.testing.assert_close(f_a.grad, -f_o.grad)


@pytest.mark.parametrize("norm", SSL_NORMS)
def test_reduced_precision_is_compared_in_full(norm):
    f_a, f_o = features(torch.bfloat16)
    loss = SSL_NORMS[norm](f_a, f_o)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, SSL_NORMS[norm](f_a.detach().double(), f_o.detach().double()).float())
