import pytest
import torch

from lightning_modules.gen2det.masks import check_masks, masks_left_out
from tests.helpers.small_detectors import CENTERNET, FPN, MASKS
from tests.lightning_modules.gen2det.cases import Detector, batch, detector, loss_of, module
from visionscapes.errors import UserError


@pytest.mark.parametrize("config", [MASKS, CENTERNET])
def test_boxes_are_learnt_without_masks_and_every_parameter_has_a_gradient(config):
    found = module(config, Detector)
    with masks_left_out(found.detector) as untrained:
        losses = found.losses(batch())
    assert not any("mask" in name for name in losses)
    assert float(untrained) == 0
    loss_of(losses | {"loss_mask": untrained}).backward()
    of_masks = [each.grad for each in found.detector.roi_head.mask_head.parameters()]
    assert of_masks
    assert all((grad == 0).all() for grad in of_masks)
    assert all(each.grad is not None for each in found.parameters() if each.requires_grad)


def test_the_head_is_back_afterwards_also_after_an_error():
    found = detector(MASKS)
    head = found.roi_head.mask_head
    with masks_left_out(found):
        assert not found.with_mask
    with pytest.raises(RuntimeError), masks_left_out(found):
        raise RuntimeError
    assert found.roi_head.mask_head is head
    assert found.with_mask


def test_a_detector_of_boxes_is_left_alone():
    found = detector(FPN)
    check_masks(found)
    with masks_left_out(found) as untrained:
        assert untrained is None


def test_a_frozen_mask_head_asks_for_nothing():
    found = detector(MASKS)
    found.roi_head.mask_head.requires_grad_(False)
    with masks_left_out(found) as untrained:
        assert untrained is None


class Both(torch.nn.Module):
    with_mask = True


def test_masks_in_the_head_of_boxes_are_refused():
    with pytest.raises(UserError, match="Both learns masks and boxes in one head"):
        check_masks(Both())
