import functools
import math

import pytest
import torch
from torchvision.ops import box_iou

from networks.detection.build import build_detector
from tests.helpers.drawn_detection import drawn_batch, losses_of, predicted, total_of, without_gradient
from tests.helpers.small_detectors import CENTERNET, SMALL

ONE, OTHER = [(14, 20, 52, 48, 0)], [(50, 10, 92, 58, 1)]
SIZE = (64, 96)


@functools.cache
def tiny(**changes):
    """Return the detector of the published config, made small; the same object for the same changes."""
    torch.manual_seed(0)
    changes = {key.replace("__", "."): value for key, value in changes.items()}
    return build_detector(CENTERNET, SMALL[CENTERNET] | {"backbone.norm_eval": False} | changes, num_classes=2)


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("pictures", [[ONE, OTHER], [[], OTHER], [[], []]])
def test_a_step_reaches_every_parameter_whatever_the_pictures_show(pictures, bf16):
    detector = tiny()
    detector.zero_grad()
    losses = losses_of(detector, drawn_batch(pictures, SIZE), bf16)
    total = total_of(losses)
    total.backward()
    assert torch.isfinite(total)
    assert without_gradient(detector) == []
    assert {name for name in losses if "loss" in name} == {
        "rpn_loss_cls",
        "rpn_loss_bbox",
        "s0.loss_mask",
        *(f"s{stage}.loss_{part}" for stage in range(3) for part in ("cls", "bbox")),
    }
    for found in predicted(detector, drawn_batch(pictures, SIZE), bf16):
        assert found["boxes"].dtype == found["scores"].dtype == torch.float32
        assert len(found["masks"]) == len(found["scores"]) <= 300
        assert found["scores"].diff().le(0).all()


def test_without_any_roi_every_parameter_still_gets_a_gradient():
    detector = tiny(train_cfg__rpn_proposal__score_thr=1.1, test_cfg__rpn__score_thr=1.1)
    losses = losses_of(detector, drawn_batch([[], []], SIZE))
    total_of(losses).backward()
    assert without_gradient(detector) == []
    assert losses["s2.loss_cls"] == 0
    assert [len(each["scores"]) for each in predicted(detector, drawn_batch([[], []], SIZE))] == [0, 0]


@pytest.mark.slow
def test_an_overfit_detector_finds_what_was_drawn():
    detector, batch = tiny.__wrapped__(), drawn_batch([ONE, OTHER], SIZE)
    optimizer = torch.optim.AdamW(detector.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0.05, 80)
    for _ in range(80):
        loss = total_of(losses_of(detector, batch))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(detector.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    for found, boxes, labels in zip(predicted(detector, batch), batch["boxes"], batch["labels"], strict=True):
        assert found["scores"][0] > 0.5
        assert found["labels"][0] == labels[0]
        assert box_iou(found["boxes"][:1], boxes) > 0.75


def test_scores_are_roots_of_mean_probability_times_proposal_score(monkeypatch):
    from mmengine.structures import InstanceData

    head = tiny().roi_head
    boxes = torch.tensor([[10.0, 10, 30, 40], [50, 10, 80, 30], [40, 40, 60, 60]])
    logits = [
        torch.tensor([[0.0, -9], [2, 1], [-9, -9]]),
        torch.tensor([[1.0, -9], [0, 2], [-9, -9]]),
        torch.zeros(3, 2),
    ]
    stages = iter(logits)
    monkeypatch.setattr(head, "_bbox_forward", lambda *_: {"cls_score": next(stages), "bbox_pred": torch.zeros(3, 4)})
    proposals = InstanceData(), InstanceData()
    for each, own, scores in zip(proposals, (boxes[:1], boxes[1:]), ([0.8], [0.5, 0.1]), strict=True):
        each.bboxes, each.scores = own, torch.tensor(scores)
    metas = [{"img_shape": SIZE, "scale_factor": (2.0, 0.5)}] * 2
    first, second = head.predict_bbox((), metas, proposals, head.test_cfg, rescale=True)
    mean = torch.stack(logits).sigmoid().mean(0)
    assert first.bboxes[0].tolist() == pytest.approx([5, 20, 15, 80])
    assert first.scores[0].item() == pytest.approx((mean[0, 0] * 0.8).sqrt().item())
    expected = torch.cat([(mean[1] * 0.5).sqrt(), (mean[2] * 0.1).sqrt()])
    assert second.scores.tolist() == pytest.approx(expected.sort(descending=True).values.tolist())


def test_later_stages_take_every_refined_box_and_one_mask_head_learns_at_the_first(monkeypatch):
    detector, seen = tiny(), []
    loss = type(detector.roi_head).bbox_loss

    def watch(self, stage, x, samples):
        seen.append([sorted(sample.priors.shape[0] for sample in samples), samples])
        return loss(self, stage, x, samples)

    monkeypatch.setattr(type(detector.roi_head), "bbox_loss", watch)
    losses_of(detector, drawn_batch([ONE, OTHER], SIZE))
    assert seen[0][0] == seen[1][0] == seen[2][0]
    assert max(seen[0][0]) <= 16
    assert all(sample.pos_is_gt.any() for sample in seen[0][1])  # objects are proposals of the first stage
    assert len(detector.roi_head.mask_head) == 1


def test_stages_share_their_gradient():
    head = tiny().roi_head
    features = [torch.randn(1, 16, 8 // k, 12 // k, requires_grad=True) for k in (1, 2, 4)]
    rois = torch.tensor([[0.0, 8, 8, 40, 40]])
    head._bbox_forward(0, features, rois)["cls_score"].sum().backward()
    ours = features[0].grad.clone()
    features[0].grad = None
    head.bbox_head[0](head.bbox_roi_extractor[0](features, rois))[0].sum().backward()
    assert torch.allclose(ours, features[0].grad / 3, atol=1e-7)
    assert ours.abs().max() > 0


def test_the_box_loss_is_a_mean_over_positives():
    head = tiny().roi_head.bbox_head[0]
    predictions, labels = torch.randn(5, 4), torch.tensor([1, 2, 2, 0, 2])  # two objects, three backgrounds
    targets, weights = torch.randn(5, 4), torch.tensor([1.0, 0, 0, 1, 0])[:, None].expand(5, 4)
    losses = head.loss(torch.zeros(5, 2), predictions, torch.zeros(5, 5), labels, torch.ones(5), targets, weights)
    expected = (predictions - targets).abs()[[0, 3]].mean()
    assert losses["loss_bbox"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert losses["loss_cls"].item() == pytest.approx(2 * math.log(2), rel=1e-5)


def test_what_the_published_config_says():
    from mmengine import Config

    model = Config.fromfile("configs/detectors/centernet2.py").model
    train, test = model.train_cfg.rpn_proposal, model.test_cfg.rpn
    assert (train.nms_pre, train.max_per_img, test.nms_pre, test.max_per_img) == (4000, 2000, 1000, 256)
    assert [stage.assigner.pos_iou_thr for stage in model.train_cfg.rcnn] == [0.6, 0.7, 0.8]
    head = tiny()
    assert head.roi_head.bbox_head[0].fc_cls.bias[0].item() == pytest.approx(-math.log(99), rel=1e-5)
    assert head.rpn_head.conv_reg.bias[0].item() == 8
    # RoIs of 224 pixels and more are pooled from stride 16, those of 448 from 32, as in FPN.
    rois = torch.tensor([[0, 0, 0, side, side] for side in (20, 223, 225, 447, 449, 2000)], dtype=torch.float32)
    assert head.roi_head.bbox_roi_extractor[0].map_roi_levels(rois, 3).tolist() == [0, 0, 1, 1, 2, 2]
