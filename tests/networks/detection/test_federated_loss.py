import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from networks.detection.federated_loss import FederatedLoss, federated_loss, sample_classes, set_frequencies
from visionscapes.errors import UserError


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_loss_by_hand():
    logits = torch.tensor([[0.0, math.log(3), 5.0], [math.log(3), 0.0, -2.0]])  # probabilities 1/2, 3/4, ...
    labels = torch.tensor([1, 3])  # class 1, background
    classes = torch.tensor([True, True, False])
    first = -math.log(1 / 2) - math.log(3 / 4)
    second = -math.log(1 / 4) - math.log(1 / 2)
    assert federated_loss(logits, labels, classes).tolist() == pytest.approx([first, second])
    weighted = federated_loss(logits, labels, classes, torch.tensor([1.0, 0.5]))
    assert weighted.tolist() == pytest.approx([first, second / 2])


def test_with_all_classes_it_is_the_sum_of_binary_cross_entropies():
    logits, labels = torch.randn(20, 7, generator=generator()), torch.randint(0, 8, (20,), generator=generator())
    target = torch.zeros(20, 8)
    target[range(20), labels] = 1
    expected = F.binary_cross_entropy_with_logits(logits, target[:, :7], reduction="sum") / 20
    assert FederatedLoss(num_sampled=None)(logits, labels).item() == pytest.approx(expected.item(), rel=1e-5)
    assert FederatedLoss(num_sampled=7, power=0)(logits, labels).item() == pytest.approx(expected.item(), rel=1e-5)


def test_only_chosen_classes_learn():
    logits = torch.randn(6, 40, generator=generator()).requires_grad_()
    labels = torch.tensor([3, 3, 17, 40, 40, 40])
    FederatedLoss(num_sampled=10, power=0)(logits, labels).backward()
    learning = logits.grad.abs().sum(0) > 0
    assert learning.sum() == 10
    assert learning[3]
    assert learning[17]


@pytest.mark.parametrize("seed", range(20))
def test_present_classes_are_always_chosen_and_background_takes_no_place(seed):
    labels = torch.randint(0, 101, (30,), generator=generator(seed))
    labels[0] = 100
    chosen = sample_classes(labels, torch.rand(100, generator=generator(seed)) + 0.1, 50, generator(seed))
    present = labels[labels < 100].unique()
    assert chosen[present].all()
    assert chosen.sum() == 50


def test_more_present_classes_than_asked_for_are_all_chosen():
    labels = torch.arange(8)
    assert sample_classes(labels, torch.ones(20), 5).nonzero().flatten().tolist() == labels.tolist()


def test_classes_without_weight_are_chosen_only_where_present():
    weights = torch.tensor([0.0, 0.0, 1.0, 1.0])
    assert sample_classes(torch.tensor([0]), weights, 4).tolist() == [True, False, True, True]


def test_the_generator_alone_decides():
    draw = [sample_classes(torch.tensor([2]), torch.ones(200), 50, generator(seed)) for seed in (1, 1, 2)]
    assert torch.equal(draw[0], draw[1])
    assert not torch.equal(draw[0], draw[2])
    torch.manual_seed(7)
    first = sample_classes(torch.tensor([2]), torch.ones(200), 50)
    torch.manual_seed(7)
    assert torch.equal(first, sample_classes(torch.tensor([2]), torch.ones(200), 50))


def test_chances_follow_the_square_root_of_frequencies():
    loss = FederatedLoss(num_sampled=1, power=0.5, frequencies=[100, 400, 900, 0])
    torch.manual_seed(0)
    nothing = torch.tensor([4, 4])
    counts = sum(loss._classes(torch.zeros(2, 4), nothing).int() for _ in range(3000))
    for count, chance in zip(counts.tolist(), (1 / 6, 2 / 6, 3 / 6, 0), strict=True):
        assert abs(count - 3000 * chance) <= 4 * math.sqrt(3000 * chance * (1 - chance))


def test_frequencies_are_asked_for_and_checked():
    detector = nn.ModuleList([FederatedLoss(num_sampled=2), FederatedLoss(num_sampled=2), nn.Linear(1, 1)])
    logits, labels = torch.zeros(1, 3), torch.tensor([3])
    with pytest.raises(UserError, match=r"set_frequencies, or set loss_cls\.power to 0"):
        detector[0](logits, labels)
    assert set_frequencies(detector, [5, 6, 7]) == 2
    assert detector[1](logits, labels).item() == pytest.approx(2 * math.log(2))
    set_frequencies(detector, [5, 6])
    with pytest.raises(UserError, match="frequencies of 2 classes, but the detector has 3"):
        detector[0](logits, labels)


def test_what_mmdet_asks_a_loss_for():
    loss = FederatedLoss(num_sampled=None)
    logits = torch.tensor([[0.0, 9.0], [2.0, 1.0], [0.0, 1.0]])
    probabilities = loss.get_activation(logits.bfloat16())
    assert (probabilities.shape, probabilities.dtype) == ((3, 3), torch.float32)
    assert probabilities[:, 2].eq(0).all()
    assert probabilities[0, 0] == 0.5
    assert loss.get_accuracy(logits, torch.tensor([1, 1, 2]))["acc_classes"] == 0.5  # the third is background
    assert loss.get_accuracy(logits, torch.tensor([2, 2, 2]))["acc_classes"] == 0
    each = loss(logits, torch.tensor([1, 1, 2]), reduction_override="none")
    assert loss(logits, torch.tensor([1, 1, 2]), avg_factor=2.0).item() == pytest.approx(each.sum().item() / 2)
    assert loss(logits[:0], torch.zeros(0, dtype=torch.int64)) == 0
