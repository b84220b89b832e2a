import math

import torch

from lightning_modules.lsr.loss import latent_penalty, pixel_loss, segmentation_loss


def test_the_cross_entropy_is_a_mean_over_pixels_and_batch():
    logits = torch.zeros(2, 4, 3, 3)
    logits[:, 1] = math.log(3)  # probabilities 1/6, 3/6, 1/6, 1/6
    labels = torch.ones(2, 3, 3, dtype=torch.uint8)
    labels[0, 0, 0] = 3
    expected = (17 * math.log(2) + math.log(6)) / 18
    assert math.isclose(segmentation_loss(logits, labels), expected, rel_tol=1e-6)


def test_a_latent_code_is_penalised_by_its_norm_or_the_mean_of_its_squares():
    code = torch.tensor([[3.0, 4.0], [0.0, 1.0]])
    assert latent_penalty(code, "norm") == (25 + 1) / 2  # Eq. 6.4
    assert latent_penalty(code, "mean") == (25 + 1) / 4  # the official code


def test_the_pixel_loss_is_a_mean_of_absolute_differences():
    assert pixel_loss(torch.tensor([1.0, -1.0]), torch.tensor([0.5, 0.5])) == 1.0
