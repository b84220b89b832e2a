import pytest
import torch

from lightning_modules import Detector, Gen2Det
from lightning_modules.gen2det.loss import Ignored
from lightning_modules.gen2det.module import ignored_share
from tests.helpers.small_detectors import CENTERNET, FPN, MASKS, ONE, TWO
from tests.lightning_modules.gen2det.cases import Watched, batch, loss_of, module
from visionscapes.errors import UserError


def losses(found, given):
    torch.manual_seed(1)
    return found.losses(given)


@pytest.mark.parametrize("config", [FPN, MASKS])
def test_real_batches_are_trained_on_as_by_a_detector(config):
    given = batch(synthetic=False, masks=True)
    mine, plain = losses(module(config), given), losses(module(config, Detector), given)
    assert mine.keys() == plain.keys()
    assert all(torch.equal(mine[name], plain[name]) for name in plain)
    without_a_word = {name: value for name, value in given.items() if name != "synthetic"}
    assert losses(module(config), without_a_word).keys() == plain.keys()


@pytest.mark.parametrize("config", [FPN, MASKS, CENTERNET])
def test_generated_batches_have_no_background_and_no_masks(config):
    found = module(config)
    seen = Watched(found.detector)
    terms = losses(found, batch())
    assert 0 < terms.pop("ignored_background") <= 1
    loss_of(terms).backward()
    for logits, labels, none in zip(seen.logits, seen.labels, seen.background, strict=True):
        assert (logits.grad[labels == none] == 0).all()
    assert [name for name, value in terms.items() if "mask" in name and float(value) != 0] == []
    assert all(each.grad is not None for each in found.parameters() if each.requires_grad)


def test_without_a_threshold_generated_pictures_are_as_real_ones():
    given = batch(synthetic=[True, False])
    mine, plain = losses(module(tau_i=None), given), losses(module(kind=Detector), given)
    assert mine.keys() == plain.keys()
    assert all(torch.equal(mine[name], plain[name]) for name in plain)


def test_batches_of_both_kinds_cannot_ignore_the_background_of_one():
    with pytest.raises(UserError, match=r"--data\.synthetic\.mixing=sampling"):
        losses(module(), batch(ONE, TWO, synthetic=[True, False]))


def test_the_whole_background_is_ignored_at_zero_and_none_at_one():
    assert losses(module(), batch())["ignored_background"] == 1
    assert losses(module(tau_i=1.0), batch())["ignored_background"] == 0


def test_the_share_of_a_step_is_over_all_losses():
    parts = [Ignored(torch.tensor(3), torch.tensor(4)), Ignored(torch.tensor(1), torch.tensor(4))]
    assert float(ignored_share(parts)) == 0.5
    assert float(ignored_share([Ignored(torch.tensor(0), torch.tensor(0))])) == 0


def test_detectors_that_it_cannot_train_are_refused():
    with pytest.raises(UserError, match="cannot be left out of the loss: set tau_i to null"):
        Gen2Det("mmdet::yolox/yolox_tiny_8xb8-300e_coco.py")
    Gen2Det("mmdet::yolox/yolox_tiny_8xb8-300e_coco.py", tau_i=None)
