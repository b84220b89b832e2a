import functools
import math

import pytest
import torch
from torchvision.ops import box_iou

from networks.detection.build import build_detector, setup_mmdet
from tests.helpers.drawn_detection import drawn_batch, losses_of, predicted, total_of, without_gradient

ONE, OTHER = [(14, 20, 52, 48, 0)], [(50, 10, 92, 58, 1)]
SIZE = (64, 96)


@functools.cache
def tiny(**changes):
    """Return the detector of the published config, made small; the same object for the same changes."""
    torch.manual_seed(0)
    overrides = {
        "backbone.depth": 18,
        "backbone.base_channels": 8,
        "backbone.norm_cfg": {"type": "BN", "requires_grad": True},
        "backbone.norm_eval": False,
        "neck.in_channels": [16, 32, 64],
        "neck.out_channels": 16,
        "rpn_head.in_channels": 16,
        "rpn_head.feat_channels": 16,
        "rpn_head.stacked_convs": 1,
        "rpn_head.norm_cfg": {"type": "GN", "num_groups": 4},
        "roi_head.bbox_roi_extractor.out_channels": 16,
        "roi_head.mask_roi_extractor.out_channels": 16,
        "roi_head.mask_head.in_channels": 16,
        "roi_head.mask_head.conv_out_channels": 16,
        "roi_head.mask_head.num_convs": 1,
        "train_cfg.rpn_proposal.max_per_img": 20,
        "test_cfg.rpn.max_per_img": 10,
        "train_cfg.rcnn.0.sampler.num": 16,
    }
    for stage in range(3):
        head = f"roi_head.bbox_head.{stage}."
        overrides |= {head + "in_channels": 16, head + "fc_out_channels": 16, head + "loss_cls.power": 0}
    changes = {key.replace("__", "."): value for key, value in changes.items()}
    return build_detector("configs/detectors/centernet2.py", overrides | changes, num_classes=2)


def proposal_head(**options):
    setup_mmdet()
    from networks.detection.centernet_proposals import CenterNetProposals

    loss_cls = options.pop("loss_cls", {"type": "HeatmapFocalLoss"})
    return CenterNetProposals(
        num_classes=1,
        in_channels=4,
        feat_channels=4,
        stacked_convs=1,
        strides=[8, 16],
        regress_ranges=((0, 80), (64, 1000)),
        norm_cfg=None,
        loss_cls=loss_cls,
        loss_bbox={"type": "GIoULoss", "loss_weight": 1.0},
        **options,
    )


def instances(*boxes):
    from mmengine.structures import InstanceData

    boxes = torch.tensor(boxes, dtype=torch.float32).view(-1, 4)
    return InstanceData(bboxes=boxes, labels=torch.zeros(len(boxes), dtype=torch.int64))


def maps(batch=1, seed=0):
    """Return heat and distances of an image of 64 x 96 pixels on strides 8 and 16."""
    generator = torch.Generator().manual_seed(seed)
    heat = [torch.randn(batch, 1, 64 // s, 96 // s, generator=generator) for s in (8, 16)]
    return heat, [torch.rand(batch, 4, 64 // s, 96 // s, generator=generator) * 4 for s in (8, 16)]


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


def test_the_heatmap_loss_by_hand():
    setup_mmdet()
    from networks.detection.centernet_proposals import HeatmapFocalLoss, heatmap_focal_loss

    heat, target = torch.tensor([0.5, 0.2, 0.9]), torch.tensor([1.0, 0.5, 0.0])
    positive, negative = heatmap_focal_loss(heat, target, torch.tensor([0]))
    assert positive.item() == pytest.approx(-math.log(0.5) * 0.5**2)
    near, confident = -math.log(0.8) * 0.2**2 * 0.5**4, -math.log(0.1) * 0.9**2
    assert negative.item() == pytest.approx(near + confident, rel=1e-5)
    _, kept = heatmap_focal_loss(heat, target, torch.tensor([0]), ignore_high_fp=0.85)
    assert kept.item() == pytest.approx(near, rel=1e-5)
    loss = HeatmapFocalLoss()(heat[:, None], target[:, None], torch.tensor([0]), torch.tensor([0]), torch.tensor(2.0))
    assert loss.item() == pytest.approx((0.125 * positive.item() + 0.375 * near) / 2, rel=1e-5)


@pytest.mark.parametrize("more_positives", [False, True])
def test_losses_equal_those_of_mmdet_for_pictures_with_objects(more_positives, monkeypatch):
    head = proposal_head(
        more_positives=more_positives,
        loss_cls={"type": "GaussianFocalLoss", "pos_weight": 0.25, "neg_weight": 0.75},
    )
    from mmdet.models.dense_heads import CenterNetUpdateHead

    objects = [instances((10, 10, 50, 40), (30, 20, 95, 60)), instances((0, 0, 96, 64))]
    heat, boxes = maps(2)
    ours = head.loss_by_feat(heat, boxes, objects, [{}, {}])
    if not more_positives:  # mmdet has no switch for it
        monkeypatch.setattr(CenterNetUpdateHead, "add_cls_pos_inds", type(head).add_cls_pos_inds)
    monkeypatch.setattr(type(head), "_get_targets_single", CenterNetUpdateHead._get_targets_single)
    theirs = CenterNetUpdateHead.loss_by_feat(head, heat, boxes, objects, [{}, {}])
    assert ours["loss_cls"].item() == pytest.approx(theirs["loss_cls"].item())
    assert ours["loss_bbox"].item() == pytest.approx(theirs["loss_bbox"].item())


def test_positives_are_the_cells_of_the_centres_on_the_levels_for_their_size():
    head = proposal_head()
    sizes = [(8, 12), (4, 6)]
    points = head.prior_generator.grid_priors(sizes, device="cpu")
    located = [(level, k, point) for level, grid in enumerate(points) for k in range(3) for point in grid.tolist()]
    # Half diagonals 25 (finer level), 35 and 72: both levels care for the last.
    objects = [instances((10, 10, 50, 40)), instances(), instances((0, 0, 42, 56), (0, 0, 128, 64))]
    expected = []
    for k, each in enumerate(objects):
        for x1, y1, x2, y2 in each.bboxes.tolist():
            half_diagonal = math.hypot(x2 - x1, y2 - y1) / 2
            for level, (stride, (least, most)) in enumerate(zip(head.strides, head.regress_ranges, strict=True)):
                if least <= half_diagonal <= most:
                    cell = [stride * ((a + b) / 2 // stride) + stride / 2 for a, b in ((x1, x2), (y1, y2))]
                    expected.append(located.index((level, k, cell)))
    all_points = torch.cat([points_of.repeat(3, 1) for points_of in points])
    found, labels = head.add_cls_pos_inds(all_points, torch.rand(len(located), 4), torch.tensor(sizes), objects)
    assert len(expected) == 4
    assert sorted(found.tolist()) == sorted(expected)
    assert labels.tolist() == [0] * 4


def test_a_picture_without_objects_is_all_background():
    head = proposal_head()
    heat, boxes = maps()
    quiet = [each - 3 for each in heat]
    losses = [head.loss_by_feat(each, boxes, [instances()], [{}]) for each in (heat, quiet)]
    assert losses[1]["loss_cls"] < losses[0]["loss_cls"]
    assert losses[0]["loss_bbox"] == 0
    # Beside a picture with an object too: its loss is a sum over both, divided by the one object.
    alone = head.loss_by_feat(*maps(1, seed=1), [instances((10, 10, 50, 40))], [{}])["loss_cls"]
    both = [
        [torch.cat(pair) for pair in zip(*each, strict=True)] for each in zip((heat, boxes), maps(1, 1), strict=True)
    ]
    together = head.loss_by_feat(*both, [instances(), instances((10, 10, 50, 40))], [{}, {}])["loss_cls"]
    assert together.item() == pytest.approx((alone + losses[0]["loss_cls"]).item(), rel=1e-5)


def test_every_rank_takes_part_in_the_same_reductions(monkeypatch):
    head = proposal_head()
    from mmdet.models.dense_heads import centernet_update_head

    calls = []
    monkeypatch.setattr(centernet_update_head, "reduce_mean", lambda value: calls.append(value.shape) or value)
    for objects in (instances((10, 10, 50, 40)), instances()):
        head.loss_by_feat(*maps(), [objects], [{}])
    assert len(calls) == 4
    assert calls[:2] == calls[2:]


@pytest.mark.parametrize("training", [True, False])
def test_a_proposal_is_in_pixels_and_its_score_the_root_of_its_heat(training):
    head = proposal_head().train(training)
    from mmengine import ConfigDict

    heat, boxes = [torch.full_like(each, -20) for each in maps()[0]], maps()[1]
    heat[1][0, 0, 2, 3] = 0.0  # the cell around (56, 40) at stride 16, heat 1/2
    boxes[1][0, :, 2, 3] = torch.tensor([1.0, 0.5, 2.0, 1.0])
    config = ConfigDict(score_thr=1e-4, nms_pre=10, max_per_img=5, nms={"type": "nms", "iou_threshold": 0.9})
    (found,) = head.predict_by_feat(heat, boxes, batch_img_metas=[{"img_shape": SIZE}], cfg=config)
    assert found.bboxes.tolist() == [[40, 32, 88, 56]]
    assert found.scores.tolist() == pytest.approx([math.sqrt(0.5)])


def test_outputs_are_float32_under_autocast():
    features = [torch.randn(1, 4, 8, 12), torch.randn(1, 4, 4, 6)]
    with torch.autocast("cpu", torch.bfloat16):
        outputs = proposal_head()(features)
    assert {level.dtype for levels in outputs for level in levels} == {torch.float32}


def test_scores_are_roots_of_mean_probability_times_proposal_score(monkeypatch):
    head = tiny().roi_head
    boxes = torch.tensor([[10.0, 10, 30, 40], [50, 10, 80, 30], [40, 40, 60, 60]])
    logits = [
        torch.tensor([[0.0, -9], [2, 1], [-9, -9]]),
        torch.tensor([[1.0, -9], [0, 2], [-9, -9]]),
        torch.zeros(3, 2),
    ]
    stages = iter(logits)
    monkeypatch.setattr(head, "_bbox_forward", lambda *_: {"cls_score": next(stages), "bbox_pred": torch.zeros(3, 4)})
    proposals = instances()[:0], instances()[:0]
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
