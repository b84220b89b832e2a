import pytest
import torch
from torch.nn import functional as F

from lightning_modules.gan_discovery.loss import class_balanced_cross_entropy, set_balanced_cross_entropy

LOGITS = torch.randn(12, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABELS = torch.tensor([0, 1, 2, 3] * 3)


def test_the_mean_over_all_batches_is_equation_4_1():
    discovered = torch.arange(12) >= 9  # nine labelled and three clustered images
    expected = F.cross_entropy(LOGITS[:9], LABELS[:9]) + F.cross_entropy(LOGITS[9:], LABELS[9:])
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    batches = [
        set_balanced_cross_entropy(LOGITS[part], LABELS[part], discovered[part], (9, 3)) for part in order.split(4)
    ]
    assert torch.stack(batches).mean().item() == pytest.approx(expected.item(), rel=1e-12)


def test_without_clustered_images_it_is_plain_cross_entropy():
    none = torch.zeros(12, dtype=torch.bool)
    loss = set_balanced_cross_entropy(LOGITS, LABELS, none, (12, 0))
    assert loss.item() == pytest.approx(F.cross_entropy(LOGITS, LABELS).item(), rel=1e-12)


def test_a_class_weighs_as_the_largest_one_has_times_its_images():
    counts = torch.tensor([10, 5, 1, 0])
    labels = torch.tensor([0, 1, 2])
    losses = F.cross_entropy(LOGITS[:3], labels, reduction="none")
    weights = torch.tensor([1.0, 2.0, 10.0], dtype=torch.float64)
    expected = (weights * losses).sum() / weights.sum()
    assert class_balanced_cross_entropy(LOGITS[:3], labels, counts).item() == pytest.approx(expected.item(), rel=1e-12)


def test_from_eleven_clusters_on_each_has_its_own_weight():
    """The official code orders clusters as strings, so that label 2 gets the weight of cluster 10."""
    counts = torch.arange(1, 13)
    logits = torch.zeros(1, 12, dtype=torch.float64)
    for label in range(12):
        grad = torch.zeros(1, 12, dtype=torch.float64, requires_grad=True)
        other = torch.zeros(2, 12, dtype=torch.float64)
        other[0, label] = 3
        loss = class_balanced_cross_entropy(other + torch.cat([grad, logits]), torch.tensor([label, 11]), counts)
        share = 12 / counts[label].item()
        first, second = -F.log_softmax(other, 1)[0, label].item(), -F.log_softmax(other, 1)[1, 11].item()
        assert loss.item() == pytest.approx((share * first + second) / (share + 1), rel=1e-12)
