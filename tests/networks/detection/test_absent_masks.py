"""Objects without a mask: their boxes are learnt as ever, and the mask loss is that of the others alone."""

import math
from types import SimpleNamespace

import pytest
import torch

from networks.detection.absent_masks import passes_over_absent_masks, with_boxes_for_masks
from networks.detection.build import build_detector, setup_mmdet
from networks.detection.samples import preprocess, to_samples
from tests.helpers.drawn_detection import drawn_batch, losses_of, total_of
from tests.helpers.small_detectors import CASCADE, FPN, MASKS, SMALL

RTMDET = "mmdet::rtmdet/rtmdet-ins_tiny_8xb32-300e_coco.py"
SMALL_RTMDET = {
    "backbone.widen_factor": 0.25, "backbone.deepen_factor": 0.33, "neck.in_channels": [64, 128, 256],
    "neck.out_channels": 32, "neck.num_csp_blocks": 1, "bbox_head.in_channels": 32, "bbox_head.feat_channels": 32,
}  # fmt: skip
PICTURES = [[(8, 8, 56, 48, 0), (60, 20, 110, 80, 1)], [(20, 4, 80, 60, 1)]]
KINDS = {MASKS: SMALL[MASKS], RTMDET: SMALL_RTMDET}
MASK_LOSS = "loss_mask"


def detector(config):
    torch.manual_seed(0)
    return build_detector(config, KINDS[config], num_classes=12)


def losses(model, batch):
    torch.manual_seed(3)
    found = losses_of(model, batch)
    return {name: torch.stack([*value]).sum() if isinstance(value, list) else value for name, value in found.items()}


def lacking(*places):
    """Return the batch in which the masks of objects (picture, object) are empty."""
    batch = drawn_batch(PICTURES)
    for picture, place in places:
        batch["masks"][picture][place] = False
    batch["with_mask"] = [masks.flatten(1).any(1) for masks in batch["masks"]]
    return batch


def test_the_loss_by_hand():
    """Three regions: two of an object with a mask that fills them, one of an object without."""
    setup_mmdet()
    from mmdet.models.roi_heads.mask_heads import FCNMaskHead
    from mmdet.structures.mask import BitmapMasks
    from mmengine.structures import InstanceData

    head = FCNMaskHead(num_convs=1, in_channels=4, conv_out_channels=4, num_classes=2)
    masks = torch.zeros(2, 20, 20)
    masks[0] = 1
    objects = InstanceData(bboxes=torch.tensor([[0.0, 0, 10, 10], [10, 10, 20, 20]]), labels=torch.tensor([0, 1]))
    objects.masks = BitmapMasks(masks.numpy(), 20, 20)
    sampled = SimpleNamespace(
        pos_priors=torch.tensor([[0.0, 0, 10, 10], [10, 10, 20, 20], [0, 0, 8, 8]]),
        pos_assigned_gt_inds=torch.tensor([0, 1, 0]),
        pos_gt_labels=torch.tensor([0, 1, 0]),
    )
    predicted = torch.tensor([2.0, 5.0, -1.0]).view(3, 1, 1, 1).repeat(1, 2, 28, 28)
    config = SimpleNamespace(mask_size=28, get=lambda *_: True)

    def loss():
        return head.loss_and_target(predicted, [sampled], [objects], config)["loss_mask"]["loss_mask"].item()

    def softplus(x):
        return math.log(1 + math.exp(x))

    # Of the object without a mask nothing is to be seen, which costs softplus(5).
    assert loss() == pytest.approx((softplus(-2) + softplus(5) + softplus(1)) / 3, abs=1e-5)
    objects.with_mask = torch.tensor([True, False])
    assert loss() == pytest.approx((softplus(-2) + softplus(1)) / 2, abs=1e-5)
    objects.with_mask = torch.tensor([False, False])
    assert loss() == 0


@pytest.mark.parametrize("config", KINDS)
def test_boxes_cost_the_same_and_masks_what_those_that_are_there_cost(config):
    model = detector(config)
    assert passes_over_absent_masks(model)
    whole, part = losses(model, lacking()), losses(model, lacking((0, 1)))
    for name in whole:
        if name != MASK_LOSS:
            torch.testing.assert_close(part[name], whole[name])
    assert part[MASK_LOSS] > 0
    assert not torch.isclose(part[MASK_LOSS], whole[MASK_LOSS], rtol=1e-6)
    # The prediction for the other object alone counts, so an all-zero target for this one would be another loss.
    marked = lacking((0, 1))
    marked["with_mask"] = [torch.ones_like(each) for each in marked["with_mask"]]
    assert not torch.isclose(losses(model, marked)[MASK_LOSS], part[MASK_LOSS], rtol=1e-6)


@pytest.mark.parametrize("config", KINDS)
def test_the_masks_alone_decide_where_the_batch_does_not_say(config):
    model, batch = detector(config), lacking((0, 1), (1, 0))
    told = losses(model, batch)
    del batch["with_mask"]
    torch.testing.assert_close(losses(model, batch), told)


@pytest.mark.parametrize("config", KINDS)
@pytest.mark.parametrize("places", [[(0, 0), (0, 1), (1, 0)], [(0, 0), (0, 1)]])
def test_without_any_mask_every_parameter_has_a_gradient(config, places):
    """Or DDP would wait for ever for those of the mask head."""
    model, batch = detector(config), lacking(*places)
    found = losses(model, batch)
    assert (found[MASK_LOSS] == 0) == (len(places) == 3)
    total_of(found).backward()
    reached = {name for name, each in model.named_parameters() if each.grad is not None}
    model.zero_grad(set_to_none=True)
    total_of(losses(model, lacking())).backward()
    assert reached == {name for name, each in model.named_parameters() if each.grad is not None}


def test_other_detectors_ignore_what_has_no_mask():
    batch = lacking((0, 1))
    first, second = to_samples(batch, boxes_alone=False)
    assert first.gt_instances.labels.tolist() == [0]
    assert first.gt_instances.masks.masks.shape[0] == 1
    assert first.ignored_instances.bboxes.tolist() == [[60, 20, 110, 80]]
    assert "with_mask" not in first.gt_instances
    assert second.gt_instances.labels.tolist() == [1]
    assert len(second.ignored_instances) == 0


def test_only_mended_heads_pass_over_them():
    from mmengine.config import ConfigDict

    assert not passes_over_absent_masks(build_detector(FPN, SMALL[FPN]))  # learns no masks at all
    assert not passes_over_absent_masks(build_detector(CASCADE, SMALL[CASCADE]))
    scoring = "mmdet::ms_rcnn/ms-rcnn_r50-caffe_fpn_1x_coco.py"
    assert not passes_over_absent_masks(build_detector(scoring, ConfigDict({})))


def test_what_stands_for_a_mask_is_the_box():
    masks = torch.zeros(2, 8, 8, dtype=torch.bool)
    masks[0, 0, 0] = True
    filled = with_boxes_for_masks(masks, torch.tensor([[0, 0, 8, 8], [2, 3, 6, 5.0]]), torch.tensor([True, False]))
    assert filled[0].sum() == 1
    assert filled[1].nonzero().tolist() == [[y, x] for y in (3, 4) for x in (2, 3, 4, 5)]
    assert not masks[1].any()


def test_marks_survive_what_detectors_do_with_samples():
    model, batch = detector(MASKS), lacking((0, 1))
    _, (first, second) = preprocess(model, batch["image"], to_samples(batch), training=True)
    assert first.gt_instances.with_mask.tolist() == [True, False]
    assert "with_mask" not in second.gt_instances
