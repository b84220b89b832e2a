import math

import pytest
import torch

from lightning_modules.diff2lip.loss import (
    l2_loss,
    masked_mean,
    perceptual_loss,
    sequences,
    simple_loss,
    snr_weight,
    sync_loss,
)


def lower(height=4, width=4):
    mask = torch.zeros(1, 1, 1, height, width)
    mask[..., height // 2 :, :] = 1
    return mask


def test_equation_6_7_is_a_mean_over_the_masked_part():
    target = torch.zeros(2, 5, 3, 4, 4)
    prediction = target + 0.5
    mask = lower().expand(2, 5, 1, 4, 4)
    assert simple_loss(prediction, target, mask) == 0.25
    prediction[..., :2, :] = 100
    assert simple_loss(prediction, target, mask) == 0.25


def test_equation_6_9_and_its_weights():
    truth = torch.zeros(2, 5, 3, 4, 4)
    sample = truth.clone()
    sample[0] += 1
    sample[1] += 2
    mask = lower().expand(2, 5, 1, 4, 4)
    assert l2_loss(sample, truth, mask) == (1 + 4) / 2
    assert l2_loss(sample, truth, mask, torch.tensor([1.0, 0.25])) == (1 + 1) / 2


def test_a_mask_of_nothing_has_no_loss():
    assert masked_mean(torch.ones(1, 3, 2, 2), torch.zeros(1, 1, 2, 2)) == 0


def test_weights_by_signal_and_noise():
    alphas = torch.tensor([0.99, 0.5, 0.1])
    assert snr_weight(alphas, "none") is None
    assert torch.equal(snr_weight(alphas, "alpha_bar"), alphas)
    torch.testing.assert_close(snr_weight(alphas, "min_snr"), torch.tensor([5.0, 1.0, 0.1 / 0.9]))


def test_equation_6_10_is_the_negative_log_of_the_probability():
    probability = torch.tensor([0.9, 0.2])
    wanted = -(math.log(0.9) + math.log(0.2)) / 2
    assert sync_loss(torch.logit(probability)).item() == pytest.approx(wanted)


def test_equation_6_11_compares_what_can_be_shown():
    seen = []

    def distance(ours, theirs):
        seen.extend([ours, theirs])
        return (ours - theirs).abs().mean((1, 2, 3))

    loss = perceptual_loss(-torch.ones(2, 3, 4, 4), torch.ones(2, 3, 4, 4), distance)
    assert loss == 1
    assert (seen[0].min(), seen[1].max()) == (0, 1)


def test_the_frames_of_a_sequence_are_channels():
    frames = torch.arange(2 * 5 * 3.0).view(2, 5, 3, 1, 1).expand(2, 5, 3, 4, 4)
    seen = sequences(frames)
    assert seen.shape == (2, 15, 4, 4)
    assert seen[1, :, 0, 0].tolist() == list(range(15, 30))
