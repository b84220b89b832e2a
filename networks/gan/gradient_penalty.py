"""Gradient penalty that keeps a discriminator flat around the images it sees."""

import torch
from torch import Tensor


def gradient_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """Return E[||grad_x D(x)||^2] (Mescheder et al. 2018, Eq. 9 and 10, without gamma / 2).

    gamma / 2 times it is R1 for real images and R2 for fakes. What is not to be penalised, such as a condition that
    is concatenated to the images, is left out of ``images``. LSR's official code differentiates the softplus of the
    logits instead, which adds the factor sigmoid(-D)^2.

    Run the discriminator outside of autocast for it: bfloat16 has too few digits for a gradient of gradients.

    Args:
        logits: D of the images, of any shape, each a function of its own image only (a mini-batch standard deviation
            breaks this; as in PGGAN and StyleGAN its share is included).
        images: (B, ...), which required gradients when ``logits`` were computed.

    Returns:
        A scalar in float32 at least, the mean over the batch, differentiable.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    precise = gradient.to(torch.promote_types(gradient.dtype, torch.float32))
    return precise.square().sum() / len(images)
