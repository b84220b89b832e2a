import pytest
import torch
from torch.nn import functional as F

from lightning_modules.gen2det.hardness import box_stages, class_losses, instance_losses
from networks.detection.federated_loss import FederatedLoss
from networks.detection.samples import preprocess
from tests.helpers.drawn_detection import losses_of, total_of
from tests.helpers.small_detectors import C4, CASCADE, CENTERNET, FCOS, FPN, MASKS, ONE, RETINA, TWO
from tests.lightning_modules.gen2det.cases import batch, detector
from visionscapes.errors import UserError

TWO_STAGES = (FPN, C4, MASKS, CASCADE, CENTERNET)


def asked(found, given=None, images=None):
    given = given or batch()
    return instance_losses(found.eval(), images or given["image"], given["boxes"], given["labels"])


def mean_by_mmdet(found, given):
    """Return mmdet's own losses of all annotated boxes together, the weighted mean of its stages."""
    from mmdet.models.task_modules.assigners import AssignResult
    from mmdet.models.task_modules.samplers import PseudoSampler
    from mmdet.structures.bbox import bbox2roi
    from mmengine.structures import InstanceData

    inputs, _ = preprocess(found, given["image"], [], training=False)
    features = found.extract_feat(inputs)
    regions = []
    for boxes, labels in zip(given["boxes"], given["labels"], strict=True):
        own = torch.arange(1, len(boxes) + 1)
        matched = AssignResult(len(boxes), own, torch.ones(len(boxes)), labels)
        objects = InstanceData(bboxes=boxes, labels=labels)
        regions.append(PseudoSampler().sample(matched, InstanceData(priors=boxes), objects))
    rois, labels = bbox2roi([each.priors for each in regions]), torch.cat(given["labels"])
    head, stages, total = found.roi_head, box_stages(found), 0.0
    several = isinstance(head.bbox_head, torch.nn.ModuleList)
    for number, stage in enumerate(stages):
        result = head._bbox_forward(*([number] if several else []), features, rois)
        config = head.train_cfg[number] if several else head.train_cfg
        losses = stage.head.loss_and_target(result["cls_score"], result["bbox_pred"], rois, regions, config)[
            "loss_bbox"
        ]
        classified = losses["loss_cls"]
        if isinstance(stage.head.loss_cls, FederatedLoss):  # mmdet's is of other classes too, drawn by chance
            classified = -F.logsigmoid(result["cls_score"])[torch.arange(len(labels)), labels].mean()
        total = total + stage.weight * (classified + losses["loss_bbox"])
    return total / sum(stage.weight for stage in stages)


@pytest.mark.parametrize("config", TWO_STAGES)
def test_the_mean_is_the_loss_of_mmdets_own_heads(config):
    found, given = detector(config), batch()
    torch.testing.assert_close(torch.cat(asked(found, given)).mean(), mean_by_mmdet(found.eval(), given))


@pytest.mark.parametrize(("config", "divided"), [(FPN, 1), (CASCADE, 1), (CENTERNET, 3)])
def test_the_gradient_is_that_of_mmdets_own_heads(config, divided):
    """CenterNet2's stages divide theirs by how many they are, for its training alone."""
    found, given = detector(config).requires_grad_(False), batch(TWO)
    image = given["image"][0].float().requires_grad_()
    (ours,) = torch.autograd.grad(asked(found, given, [image])[0].mean(), image)
    (theirs,) = torch.autograd.grad(mean_by_mmdet(found, given | {"image": [image]}), image)
    scale = ours.abs().max()
    torch.testing.assert_close(ours / scale, divided * theirs / scale, rtol=1e-3, atol=1e-4)


def test_by_hand():
    """One box of class 2 of 12; the head says the same everywhere: logits 0 and 1, and moves of .5 in x for class 2."""
    found = detector(FPN)
    head = found.roi_head.bbox_head
    for layer in (head.fc_cls, head.fc_reg):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    head.fc_cls.bias.data[2] = 1.0
    head.fc_reg.bias.data[4 * 2] = 0.5
    head.fc_reg.bias.data[4 * 3 : 4 * 4] = 9.0  # of another class
    given = batch(ONE) | {"labels": [torch.tensor([2])]}
    e = torch.tensor(1.0).exp()
    (losses,) = asked(found, given)
    torch.testing.assert_close(losses, -(e / (e + 12)).log()[None] + 0.5)
    head.loss_cls.loss_weight, head.loss_bbox.loss_weight = 2.0, 4.0
    (losses,) = asked(found, given)
    torch.testing.assert_close(losses, -2 * (e / (e + 12)).log()[None] + 2.0)


@pytest.mark.parametrize("config", TWO_STAGES)
def test_every_object_has_a_gradient_by_its_picture(config):
    found, given = detector(config).requires_grad_(False), batch()
    images = [each.float().requires_grad_() for each in given["image"]]
    losses = asked(found, given, images)
    assert [each.shape for each in losses] == [(1,), (2,)]
    for loss, image in zip(losses, images, strict=True):
        (gradient,) = torch.autograd.grad(loss.sum(), image, retain_graph=True)
        assert gradient.abs().max() > 0
        others = [each for each in images if each is not image]
        assert torch.autograd.grad(loss.sum(), others, retain_graph=True, allow_unused=True)[0].abs().max() == 0


def test_an_object_of_a_wrong_class_is_harder():
    torch.manual_seed(0)
    found, given = detector(FPN), batch(ONE, TWO)
    optimizer = torch.optim.AdamW(found.parameters(), 3e-3)
    for _ in range(25):
        optimizer.zero_grad()
        total_of(losses_of(found, given)).backward()
        optimizer.step()
    right = torch.cat(asked(found, given))
    wrong = torch.cat(asked(found, given | {"labels": [1 - each for each in given["labels"]]}))
    assert (wrong > right).all()


def test_pictures_and_boxes_of_any_kind():
    found = detector(FPN)
    given = batch(TWO, [], ONE)
    small = given["image"][2][:, :48, :56]
    whole = asked(found, given | {"image": [*given["image"][:2], small]})
    assert [len(each) for each in whole] == [2, 0, 1]
    alone = asked(found, batch(TWO))[0]
    torch.testing.assert_close(whole[0], alone)
    assert [len(each) for each in asked(found, batch([], []))] == [0, 0]
    flat = given | {"boxes": [torch.tensor([[4.0, 4, 4, 4], [3, 3, 3, 9]]), *given["boxes"][1:]]}
    assert torch.cat(asked(found, flat)).isfinite().all()


class Seesaw:
    custom_activation = True

    def get_activation(self, logits):
        return logits.softmax(1) ** 2


def test_losses_with_an_activation_of_their_own():
    logits, labels = torch.tensor([[0.0, 3.0, -200.0]]), torch.tensor([1])
    torch.testing.assert_close(class_losses(Seesaw(), logits, labels), -2 * logits.log_softmax(1)[:, 1])
    assert class_losses(Seesaw(), logits, torch.tensor([2])).isfinite().all()
    torch.testing.assert_close(class_losses(FederatedLoss(None), logits, labels), -F.logsigmoid(torch.tensor([3.0])))


class OtherHead(torch.nn.Module):
    pass


@pytest.mark.parametrize("config", [RETINA, FCOS])
def test_detectors_of_one_stage_are_refused(config):
    with pytest.raises(UserError, match=r"has no head for the boxes of .* a detector of two stages, .*faster_rcnn"):
        box_stages(detector(config))


def test_other_heads_are_refused_by_name():
    found = detector(FPN)
    found.roi_head.bbox_head = OtherHead()
    with pytest.raises(UserError, match="FasterRCNN has the head OtherHead, so that it cannot be asked"):
        instance_losses(found, [], [], [])
