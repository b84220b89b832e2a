import math

import pytest
import torch

from networks.detection.build import setup_mmdet

SIZE = (64, 96)


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


@pytest.mark.parametrize(
    ("box", "column", "row"),
    [
        ((80, 48, 96, 64), 11, 7),  # in the last cell
        ((90, 58, 102, 70), 11, 7),  # its centre on the border of picture and cell
        ((-6, -6, 4, 4), 0, 0),
        ((0, 56, 8, 64), 0, 7),
        ((88, 0, 96, 8), 11, 0),
    ],
)
def test_centres_at_the_border_belong_to_the_cells_there(box, column, row):
    head, (height, width) = proposal_head(), (8, 12)
    points = torch.zeros(height * width + 24, 2)
    found, _ = head.add_cls_pos_inds(
        points, torch.zeros(len(points), 4), torch.tensor([(8, 12), (4, 6)]), [instances(box)]
    )
    assert found.tolist() == [row * width + column]


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
