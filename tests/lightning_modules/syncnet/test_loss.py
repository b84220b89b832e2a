import math

import pytest
import torch
from torch.nn import functional as F

from lightning_modules.syncnet.loss import balanced_pair_loss, contrastive_loss, pair_loss
from networks.sync_network import SyncNetwork


def unit(*shape, seed=0):
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_the_pair_loss_is_that_of_wav2lip():
    """-log cos for pairs that belong together, -log(1 - cos) for others."""
    cosine, together = torch.tensor([0.8, 0.3, 0.5]), torch.tensor([True, False, True])
    wanted = -(math.log(0.8) + math.log(0.7) + math.log(0.5)) / 3
    logits = SyncNetwork(image_size=24, width=4).logit(cosine)
    assert float(pair_loss(logits, together)) == pytest.approx(wanted, rel=1e-5)
    assert float(pair_loss(logits, together)) == pytest.approx(float(F.binary_cross_entropy(cosine, together.float())))


def test_who_knows_nothing_is_at_ln_2():
    logits = SyncNetwork(image_size=24, width=4).logit(torch.full((6,), 0.5))
    assert float(pair_loss(logits, torch.tensor([True, False] * 3))) == pytest.approx(math.log(2))


def test_certain_errors_are_finite_and_so_are_their_gradients():
    cosine = torch.tensor([0.0, 1.0, 1.0 + 1e-6], requires_grad=True)
    loss = pair_loss(SyncNetwork(image_size=24, width=4).logit(cosine), torch.tensor([True, False, False]))
    loss.backward()
    assert loss.isfinite()
    assert loss > 10
    assert cosine.grad is not None
    assert cosine.grad.isfinite().all()


def test_true_and_false_pairs_of_a_clip_count_half_each():
    logits = 3 * torch.randn(2, 4, 4, generator=torch.Generator().manual_seed(0))
    own = torch.eye(4, dtype=torch.bool).expand(2, 4, 4)
    true, false = logits[own], logits[~own]
    wanted = (pair_loss(true, torch.ones(8)) + pair_loss(false, torch.zeros(24))) / 2
    torch.testing.assert_close(balanced_pair_loss(logits), wanted)


def test_the_contrastive_loss_is_the_plain_formula():
    video, audio = unit(3, 5, 8), unit(3, 5, 8, seed=1)
    temperature, total = torch.tensor(0.2), 0.0
    for clip in range(3):
        for s in range(5):
            for one, other in ((video, audio), (audio, video)):
                scores = [math.exp(float(one[clip, s] @ other[clip, t]) / 0.2) for t in range(5)]
                total -= math.log(scores[s] / sum(scores)) / (2 * 3 * 5)
    assert float(contrastive_loss(video, audio, temperature)) == pytest.approx(total, rel=1e-5)


def test_moments_that_fit_cost_nothing_and_equal_ones_ln_w():
    apart = torch.eye(4)[None]
    assert float(contrastive_loss(apart, apart, torch.tensor(0.01))) == pytest.approx(0, abs=1e-6)
    same = unit(1, 1, 8).expand(2, 4, 8)
    assert float(contrastive_loss(same, same, torch.tensor(0.1))) == pytest.approx(math.log(4))


def test_both_are_in_float32_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        assert pair_loss(torch.zeros(2, dtype=torch.bfloat16), torch.tensor([True, False])).dtype == torch.float32
        assert contrastive_loss(unit(1, 3, 8), unit(1, 3, 8), torch.tensor(0.1)).dtype == torch.float32
