"""Adversarial losses of a discriminator D and a generator G as pure functions of logits.

All take logits of any shape, such as (B,) of a global and (B, 1, h, w) of a patch discriminator, and return a scalar,
the mean E over all of them, in float32 at least. A discriminator of several scales has the mean of its scales' losses.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class GANLoss(NamedTuple):
    """The two losses of one game.

    Attributes:
        discriminator: of logits of real and of fake images, to be minimised by D.
        generator: of logits of fake images, to be minimised by G.
    """

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]


def logistic_discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return E[softplus(-D(real))] + E[softplus(D(fake))] (Goodfellow et al. 2014, Eq. 1).

    This is the binary cross-entropy of calling images real or fake: softplus(-d) = -log sigmoid(d).
    """
    return F.softplus(-_precise(real_logits)).mean() + F.softplus(_precise(fake_logits)).mean()


def logistic_generator(fake_logits: Tensor) -> Tensor:
    """Return E[softplus(-D(fake))], the non-saturating loss (Goodfellow et al. 2014, section 3)."""
    return F.softplus(-_precise(fake_logits)).mean()


def hinge_discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return E[max(0, 1 - D(real))] + E[max(0, 1 + D(fake))] (Lim & Ye 2017; used by SPADE)."""
    return F.relu(1 - _precise(real_logits)).mean() + F.relu(1 + _precise(fake_logits)).mean()


def hinge_generator(fake_logits: Tensor) -> Tensor:
    """Return -E[D(fake)] (Lim & Ye 2017; used by SPADE)."""
    return -_precise(fake_logits).mean()


def least_squares_discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return (E[(D(real) - 1)^2] + E[D(fake)^2]) / 2 (Mao et al. 2017, Eq. 9; used by pix2pixHD)."""
    return ((_precise(real_logits) - 1).square().mean() + _precise(fake_logits).square().mean()) / 2


def least_squares_generator(fake_logits: Tensor) -> Tensor:
    """Return E[(D(fake) - 1)^2].

    Mao et al. 2017, Eq. 9 has half of it. pix2pixHD's official code, whose weights of the other losses go with it, has
    not.
    """
    return (_precise(fake_logits) - 1).square().mean()


GAN_LOSSES: dict[str, GANLoss] = {
    "logistic": GANLoss(logistic_discriminator, logistic_generator),
    "hinge": GANLoss(hinge_discriminator, hinge_generator),
    "least_squares": GANLoss(least_squares_discriminator, least_squares_generator),
}


def _precise(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
