import math

import pytest
import torch
from torch.nn import functional as F

from networks.gan.losses import GAN_LOSSES

REAL = torch.tensor([0.5, -2.0, 3.0])
FAKE = torch.tensor([1.0, -0.25])


def test_logistic_is_binary_cross_entropy():
    loss = GAN_LOSSES["logistic"]
    real, fake = torch.randn(4, 1, 5, 5) * 3, torch.randn(6) * 3
    expected = F.binary_cross_entropy_with_logits(real, torch.ones_like(real))
    expected = expected + F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))
    torch.testing.assert_close(loss.discriminator(real, fake), expected)
    torch.testing.assert_close(loss.generator(fake), F.binary_cross_entropy_with_logits(fake, torch.ones_like(fake)))


def test_logistic_of_undecided_logits():
    zeros = torch.zeros(3)
    assert GAN_LOSSES["logistic"].discriminator(zeros, zeros).item() == pytest.approx(2 * math.log(2))
    assert GAN_LOSSES["logistic"].generator(zeros).item() == pytest.approx(math.log(2))


def test_hinge_by_hand():
    loss = GAN_LOSSES["hinge"]
    # real: max(0, 0.5), max(0, 3), max(0, -2); fake: 2, 0.75
    assert loss.discriminator(REAL, FAKE).item() == pytest.approx(3.5 / 3 + 2.75 / 2)
    assert loss.generator(FAKE).item() == pytest.approx(-0.375)


def test_least_squares_by_hand():
    loss = GAN_LOSSES["least_squares"]
    # real: 0.25, 9, 4; fake: 1, 0.0625
    assert loss.discriminator(REAL, FAKE).item() == pytest.approx((13.25 / 3 + 1.0625 / 2) / 2)
    assert loss.generator(FAKE).item() == pytest.approx(1.25**2 / 2)


@pytest.mark.parametrize("loss", GAN_LOSSES.values(), ids=list(GAN_LOSSES))
def test_every_loss_of_any_shape_pulls_the_right_way(loss):
    torch.manual_seed(0)
    shape = (2, 1, 3, 3)
    real, fake = (torch.rand(shape) * 0.5).requires_grad_(), (torch.rand(shape) * 0.5).requires_grad_()
    discriminator, generator = loss.discriminator(real, fake), loss.generator(fake)
    assert discriminator.shape == generator.shape == ()
    real_gradient, fake_gradient = torch.autograd.grad(discriminator, (real, fake))
    (generator_gradient,) = torch.autograd.grad(generator, fake)
    assert (real_gradient < 0).all()
    assert (fake_gradient > 0).all()
    assert (generator_gradient < 0).all()


@pytest.mark.parametrize("loss", GAN_LOSSES.values(), ids=list(GAN_LOSSES))
def test_gradients(loss):
    real = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    fake = torch.randn(2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(loss.discriminator, (real, fake))
    assert torch.autograd.gradcheck(loss.generator, fake)


@pytest.mark.parametrize("loss", GAN_LOSSES.values(), ids=list(GAN_LOSSES))
def test_bf16_logits_give_float32_losses(loss):
    real, fake = torch.randn(1000).bfloat16(), torch.randn(1000).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        low = loss.discriminator(real, fake), loss.generator(fake)
    assert low == (loss.discriminator(real.float(), fake.float()), loss.generator(fake.float()))
    assert low[0].dtype == low[1].dtype == torch.float32


def test_logistic_survives_extreme_logits():
    fake = torch.tensor([-1e4, 1e4], requires_grad=True)
    loss = GAN_LOSSES["logistic"].generator(fake)
    loss.backward()
    assert loss.item() == pytest.approx(5e3)
    assert fake.grad.tolist() == [-0.5, 0.0]
