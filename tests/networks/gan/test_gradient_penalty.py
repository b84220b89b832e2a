import pytest
import torch
from torch import nn

from networks.gan.gradient_penalty import gradient_penalty


@pytest.mark.parametrize("batch", [1, 5])
def test_of_a_linear_discriminator_is_its_squared_norm(batch):
    """D(x) = <w, x> has the gradient w at every image: ||w||^2, whose own gradient is 2 w."""
    weight = torch.randn(3, 4, 4, dtype=torch.float64, requires_grad=True)
    images = torch.randn(batch, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    penalty = gradient_penalty((images * weight).sum((1, 2, 3)), images)
    torch.testing.assert_close(penalty, weight.square().sum())
    (gradient,) = torch.autograd.grad(penalty, weight)
    torch.testing.assert_close(gradient, 2 * weight)


def test_of_a_quadratic_discriminator():
    """D(x) = a ||x||^2 / 2 has the gradient a x: the penalty is a^2 E||x||^2."""
    a = torch.tensor(3.0, requires_grad=True)
    images = torch.randn(6, 2, 3, 3, requires_grad=True)
    penalty = gradient_penalty(a * images.square().sum((1, 2, 3)) / 2, images)
    square = images.detach().square().sum((1, 2, 3)).mean()
    torch.testing.assert_close(penalty, 9 * square)
    torch.testing.assert_close(torch.autograd.grad(penalty, a)[0], 6 * square)


def test_is_the_mean_over_samples_taken_alone():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Tanh(), nn.Conv2d(4, 1, 2)).double()
    images = torch.randn(3, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    alone = [gradient_penalty(network(images[i : i + 1]), images)[None] * 3 for i in range(3)]  # / len(images) inside
    together = gradient_penalty(network(images), images)  # logits (3, 1, 1, 1)
    torch.testing.assert_close(together, torch.cat(alone).mean())


def test_leaves_out_a_concatenated_condition():
    weight = torch.randn(5, 4, 4)
    images, condition = torch.randn(2, 3, 4, 4, requires_grad=True), torch.randn(2, 2, 4, 4)
    logits = (torch.cat([images, condition], 1) * weight).sum((1, 2, 3))
    torch.testing.assert_close(gradient_penalty(logits, images), weight[:3].square().sum())


def test_of_low_precision_is_summed_in_float32():
    images = torch.randn(2, 3, 32, 32).bfloat16().requires_grad_()
    penalty = gradient_penalty((images * 0.5).sum((1, 2, 3)), images)
    assert penalty.dtype == torch.float32
    assert penalty.item() == 3 * 32 * 32 * 0.25
