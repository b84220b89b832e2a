import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lightning_modules.gen2det.loss import background_ignored, check_heads, foreground_scores
from lightning_modules.gen2det.masks import masks_left_out
from lightning_modules.sparsedet.baselines import Detector
from networks.detection.federated_loss import FederatedLoss
from tests.helpers.small_detectors import CASCADE, CENTERNET, FPN, RETINA
from tests.lightning_modules.gen2det.cases import FAMILIES, Watched, batch, loss_of, module
from visionscapes.errors import UserError


def watched(config, tau_i, normalizer="sampled", pictures=()):
    """Return what the losses were given, with gradients, for one training step; ``tau_i`` None for a plain one."""
    found = module(config, Detector)
    seen = Watched(found.detector)
    torch.manual_seed(1)  # of the samplers
    with masks_left_out(found.detector):
        if tau_i is None:
            losses = found.losses(batch(*pictures))
        else:
            with background_ignored(found.detector, tau_i, normalizer):
                losses = found.losses(batch(*pictures))
    loss_of(losses).backward()
    return seen


@pytest.mark.parametrize("config", FAMILIES)
def test_ignored_background_has_no_gradient_and_objects_keep_theirs(config):
    plain, ignoring = watched(config, None), watched(config, 0.0)
    objects = 0
    assert len(plain.logits) == len(ignoring.logits) > 0
    for before, after, labels, none in zip(
        plain.logits, ignoring.logits, ignoring.labels, ignoring.background, strict=True
    ):
        assert torch.equal(before, after)
        background = labels == none
        assert (after.grad[background] == 0).all()
        torch.testing.assert_close(after.grad[~background], before.grad[~background])
        objects += int((~background).sum())
    assert objects
    assert any((before.grad[labels == none] != 0).any() for before, labels, none in
               zip(plain.logits, plain.labels, plain.background, strict=True))  # fmt: skip


@pytest.mark.parametrize("config", FAMILIES)
def test_a_threshold_ignores_what_is_above_it_alone(config):
    plain = watched(config, None)
    scores = torch.cat([
        foreground(config, loss, logits)[labels == none]
        for loss, logits, labels, none in zip(plain.losses, plain.logits, plain.labels, plain.background, strict=True)
    ])  # fmt: skip
    tau_i = float(scores.median())
    ignoring = watched(config, tau_i)
    counts = [0, 0]
    for loss, before, after, labels, none in zip(
        plain.losses, plain.logits, ignoring.logits, ignoring.labels, ignoring.background, strict=True
    ):
        left_out = (labels == none) & (foreground(config, loss, after) > tau_i)
        assert (after.grad[left_out] == 0).all()
        torch.testing.assert_close(after.grad[~left_out], before.grad[~left_out])
        counts[0] += int(left_out.sum())
        counts[1] += int(((labels == none) & ~left_out).sum())
    assert min(counts) > 0


def foreground(config, loss, logits):
    return logits.detach().amax(1) if "Heatmap" in type(loss).__name__ else foreground_scores(loss, logits)


@pytest.mark.parametrize("config", [FPN, CASCADE, CENTERNET])
def test_a_box_head_may_divide_by_what_is_kept(config):
    sampled, kept = watched(config, 0.0, "sampled"), watched(config, 0.0, "kept")
    boxes = 0
    for before, after, labels, none, loss in zip(
        sampled.logits, kept.logits, kept.labels, kept.background, kept.losses, strict=True
    ):
        objects = labels != none
        one_class = none == 1
        if one_class or not objects.any() or "Heatmap" in type(loss).__name__:  # of the RPN
            torch.testing.assert_close(after.grad, before.grad)
        else:
            factor = len(labels) / objects.sum()
            torch.testing.assert_close(after.grad, before.grad * factor)
            boxes += 1
    assert boxes


@pytest.mark.parametrize("config", FAMILIES)
def test_pictures_without_objects_teach_nothing(config):
    found = module(config, Detector)
    with masks_left_out(found.detector) as unused, background_ignored(found.detector, 0.0, "sampled"):
        losses = found.losses(batch([], []))
    loss_of(losses if unused is None else losses | {"loss_mask": unused}).backward()
    gradients = {name: each.grad for name, each in found.named_parameters() if each.requires_grad}
    assert [name for name, grad in gradients.items() if grad is None] == []
    assert all((grad == 0).all() for grad in gradients.values())


def test_it_ends_with_the_context_also_after_an_error():
    found = module(RETINA, Detector)
    with pytest.raises(RuntimeError), background_ignored(found.detector, 0.0, "sampled"):
        raise RuntimeError
    seen = Watched(found.detector)
    loss_of(found.losses(batch())).backward()
    assert all((logits.grad != 0).any() for logits in seen.logits)


def test_counts_are_of_background_that_was_sampled():
    found = module(FPN, Detector)
    with background_ignored(found.detector, 0.0, "sampled") as left_out:
        found.losses(batch())
    assert len(left_out) == 4 + 1  # levels of the RPN, and the box head
    assert all(int(each.ignored) == int(each.background) for each in left_out)
    assert sum(int(each.background) for each in left_out[:4]) <= 2 * 64
    assert 0 < int(left_out[4].background) <= 2 * 16


def test_scores_of_objects_by_hand():
    softmax = nn.CrossEntropyLoss()
    logits = torch.tensor([[1.0, 2.0, 0.5]])
    expected = (torch.e + torch.e**2) / (torch.e + torch.e**2 + torch.e**0.5)
    assert float(foreground_scores(softmax, logits)) == pytest.approx(expected)
    assert float(foreground_scores(FederatedLoss(None), logits)) == pytest.approx(float(F.sigmoid(torch.tensor(2.0))))


class Head(nn.Module):
    def __init__(self):
        super().__init__()
        self.loss_cls = nn.CrossEntropyLoss()


def test_other_heads_are_refused_by_name():
    with pytest.raises(UserError, match=r"Sequential has the head Head, .* set tau_i to null, or choose .*RPNHead"):
        check_heads(nn.Sequential(Head()))
    with pytest.raises(UserError, match="Sequential has no head that classifies background"):
        check_heads(nn.Sequential(nn.Linear(1, 1)))
