import copy
from functools import cache

import pytest
import torch
from torch.nn import functional as F

from networks.detection.build import build_detector
from networks.detection.labelled import LabelledBoxes
from networks.detection.samples import as_instances, preprocess, to_samples
from networks.detection.two_stage import (
    BoxHead,
    averaged,
    detected,
    embedded,
    ground_truth,
    of_two_stages,
    plain_losses,
    relabelled,
    rpn,
    sampled,
)
from tests.helpers.drawn_detection import drawn_batch
from tests.helpers.small_detectors import C4, CASCADE, FCOS, FCOS_RPN, FPN, MASKS, ONE, SMALL, TWO
from visionscapes.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore:.*tensors of the backbone")


@cache
def built(config, more):
    torch.manual_seed(0)
    return build_detector(config, SMALL[config] | dict(more))


def detector_of(config=FPN, more=None):
    """Return a fresh copy of a small detector that trains."""
    found = copy.deepcopy(built(config, tuple((more or {}).items())))
    torch.manual_seed(0)
    return found.train()


def batch(*pictures, masks=False):
    found = drawn_batch(list(pictures), (64, 64))
    if not masks:
        del found["masks"]
    return found


def prepared(*pictures, config=FPN, more=None):
    """Return a detector, the features of pictures, and mmdet's samples of them."""
    detector = detector_of(config, more)
    found = batch(*pictures)
    images, samples = preprocess(detector, found["image"], to_samples(found), training=True)
    return detector, detector.extract_feat(images), samples


def proposals_of(*lists):
    boxes = [torch.tensor(rows, dtype=torch.float32).reshape(-1, 4) for rows in lists]
    return [as_instances(each) for each in boxes]


def scalar(losses):
    return {name: sum(value) if isinstance(value, list) else value for name, value in losses.items()}


@pytest.mark.parametrize(
    ("config", "pictures"),
    [(FPN, (ONE, TWO)), (FPN, (TWO, [])), (FPN, ([], [])), (C4, (ONE, TWO)), (MASKS, (ONE, [])), (FCOS_RPN, (ONE, []))],
)
def test_plain_losses_are_those_of_mmdet(config, pictures):
    detector = detector_of(config)
    found = batch(*pictures, masks=config == MASKS)
    images, samples = preprocess(detector, found["image"], to_samples(found), training=True)
    torch.manual_seed(3)
    ours = plain_losses(detector, detector.extract_feat(images), samples)
    torch.manual_seed(3)
    theirs = scalar(detector.loss(images, samples))
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=0, atol=0)


def test_plain_losses_leave_the_labels_alone():
    detector, features, samples = prepared(ONE, TWO)
    plain_losses(detector, features, samples)
    assert [each.gt_instances.labels.tolist() for each in samples] == [[0], [0, 1]]


class TestRPN:
    def test_losses_and_proposals_are_those_of_mmdet_where_all_is_annotated(self):
        detector, features, samples = prepared(ONE, TWO)
        targets = [copy.deepcopy(each) for each in samples]
        for each in targets:
            each.gt_instances.labels.zero_()
        torch.manual_seed(3)
        losses, proposals = rpn(detector, features, samples)
        torch.manual_seed(3)
        config = detector.train_cfg.rpn_proposal
        theirs, boxes = detector.rpn_head.loss_and_predict(features, targets, proposal_cfg=config)
        torch.testing.assert_close(losses, scalar(theirs))
        for ours, each in zip(proposals, boxes, strict=True):
            torch.testing.assert_close(ours.bboxes, each.bboxes)
            torch.testing.assert_close(ours.scores, each.scores)

    def test_pictures_without_annotation_have_no_part_in_the_loss(self):
        detector, features, samples = prepared([], TWO, [])
        torch.manual_seed(3)
        losses, proposals = rpn(detector, features, samples)
        torch.manual_seed(3)
        alone, own = rpn(detector, tuple(level[1:2] for level in features), samples[1:2])
        torch.testing.assert_close(losses, alone)
        torch.testing.assert_close(proposals[1].bboxes, own[0].bboxes)
        assert [len(each) > 0 for each in proposals] == [True] * 3

    def test_a_batch_without_annotation_has_no_loss(self):
        """Not "all background": the head's weights get a gradient of zero, and get one."""
        detector, features, samples = prepared([], [])
        losses, proposals = rpn(detector, features, samples)
        assert losses.keys() == {"loss_rpn_cls", "loss_rpn_bbox"}
        assert [float(value) for value in losses.values()] == [0, 0]
        sum(losses.values()).backward()
        assert all(each.grad is not None and not each.grad.any() for each in detector.rpn_head.parameters())
        assert all(len(each) for each in proposals)

    def test_labels_are_zero_for_the_rpn_only(self, monkeypatch):
        detector, features, samples = prepared(ONE, TWO)
        samples[0].gt_instances.labels.fill_(7)
        seen = []
        original = detector.rpn_head.loss_by_feat

        def spy(scores, deltas, targets, *rest):
            seen.extend(targets)
            return original(scores, deltas, targets, *rest)

        monkeypatch.setattr(detector.rpn_head, "loss_by_feat", spy)
        rpn(detector, features, samples)
        assert [each.labels.tolist() for each in seen] == [[0], [0, 0]]
        assert [each.gt_instances.labels.tolist() for each in samples] == [[7], [0, 1]]

    def test_proposals_carry_no_gradient(self):
        detector, features, samples = prepared(ONE, TWO)
        _, proposals = rpn(detector, features, samples)
        for each in proposals:
            assert not each.bboxes.requires_grad
            assert not each.scores.requires_grad
            assert ((each.scores >= 0) & (each.scores <= 1)).all()
            assert (each.bboxes >= 0).all()
            assert (each.bboxes <= 64).all()

    def test_ignored_regions_are_handed_on(self):
        """With an IoF limit, anchors inside an ignored region are no background."""
        more = {"train_cfg.rpn.assigner.ignore_iof_thr": 0.5, "train_cfg.rpn.sampler.num": 4096}
        detector, features, samples = prepared(ONE, more=more)
        before = rpn(detector, features, samples)[0]
        samples[0].ignored_instances = as_instances(torch.tensor([[40.0, 40, 64, 64]]))
        assert rpn(detector, features, samples)[0]["loss_rpn_cls"] != before["loss_rpn_cls"]


class TestSampling:
    def test_regions_may_be_sampled_twice(self):
        detector, features, samples = prepared(ONE, [])
        _, proposals = rpn(detector, features, samples)
        before = [each.bboxes.clone() for each in proposals]
        torch.manual_seed(1)
        first = sampled(detector, proposals, samples)
        torch.manual_seed(1)
        second = sampled(detector, proposals, samples)
        for one, two, each, old in zip(first, second, proposals, before, strict=True):
            torch.testing.assert_close(one.priors, two.priors)
            torch.testing.assert_close(each.bboxes, old)
            assert "priors" not in each

    def test_annotations_are_among_the_candidates(self):
        detector, _, samples = prepared(TWO, [])
        result = sampled(detector, proposals_of([], []), samples)
        assert result[0].priors.tolist() == [list(row[:4]) for row in TWO]
        assert result[0].pos_gt_labels.tolist() == [0, 1]
        assert result[1].priors.shape == (0, 4)

    def test_ignored_regions_are_no_background(self):
        more = {"train_cfg.rcnn.assigner.ignore_iof_thr": 0.5}
        detector, _, samples = prepared(ONE, more=more)
        samples[0].ignored_instances = as_instances(torch.tensor([[44.0, 44, 64, 64]]))
        inside, outside = [46.0, 46, 60, 60], [40.0, 4, 60, 20]
        result = sampled(detector, proposals_of([inside, outside]), samples)
        assert result[0].neg_priors.tolist() == [outside]


class TestBoxHead:
    @pytest.mark.parametrize("config", [FPN, C4])
    def test_losses_are_those_of_mmdet_where_all_is_annotated(self, config):
        detector, features, samples = prepared(ONE, TWO, config=config)
        _, proposals = rpn(detector, features, samples)
        torch.manual_seed(3)
        ours = BoxHead(detector, features, sampled(detector, proposals, samples), samples).losses()
        torch.manual_seed(3)
        theirs = detector.roi_head.loss(features, proposals, samples)
        assert ours.keys() == {"loss_cls", "loss_bbox"}
        for name, value in ours.items():
            torch.testing.assert_close(value, theirs[name].sum())

    def test_pictures_without_annotation_have_no_part_in_the_loss(self):
        detector, features, samples = prepared([], TWO, [])
        _, proposals = rpn(detector, features, samples)
        regions = sampled(detector, proposals, samples)
        together = BoxHead(detector, features, regions, samples).losses()
        own = tuple(level[1:2] for level in features)
        torch.testing.assert_close(together, BoxHead(detector, own, regions[1:2], samples[1:2]).losses())

    @pytest.mark.parametrize("config", [FPN, C4])
    @pytest.mark.parametrize("rows", [[], [[4.0, 4, 20, 20]]])
    def test_without_any_annotation_the_loss_is_a_zero_that_reaches_all_weights(self, config, rows):
        detector, features, samples = prepared([], [], config=config)
        head = BoxHead(detector, features, sampled(detector, proposals_of(rows, []), samples), samples)
        losses = head.losses()
        assert [float(value) for value in losses.values()] == [0, 0]
        sum(losses.values()).backward()
        trained = [each for each in detector.roi_head.parameters() if each.requires_grad]
        assert all(each.grad is not None and not each.grad.any() for each in trained)
        assert [len(each.scores) for each in head.detections()] == [
            0 if not rows else len(head.detections()[0].scores),
            0,
        ]

    def test_detections_are_those_of_mmdet_in_the_sampled_regions(self):
        detector, features, samples = prepared(ONE, [])
        for each in samples:
            each.set_metainfo({"scale_factor": (0.5, 0.5)})
        _, proposals = rpn(detector, features, samples)
        regions = sampled(detector, proposals, samples)
        ours = BoxHead(detector, features, regions, samples).detections()
        boxes = [as_instances(each.priors) for each in regions]
        metas = [each.metainfo for each in samples]
        theirs = detector.roi_head.predict_bbox(features, metas, boxes, detector.test_cfg.rcnn, rescale=False)
        for found, each in zip(ours, theirs, strict=True):
            torch.testing.assert_close(found.boxes, each.bboxes)
            torch.testing.assert_close(found.scores, each.scores)
            assert found.labels.equal(each.labels)
            assert not found.scores.requires_grad


@pytest.mark.parametrize("config", [FPN, C4])
def test_detected_is_what_the_detector_predicts(config):
    detector = detector_of(config).eval()
    found = batch(ONE, TWO)
    images, samples = preprocess(detector, found["image"], to_samples(found), training=False)
    ours = detected(detector, detector.extract_feat(images), samples)
    for each in samples:
        each.set_metainfo({"scale_factor": (0.5, 0.5)})  # the originals are twice as large
    theirs = detector.predict(images, samples, rescale=True)
    for own, each in zip(ours, theirs, strict=True):
        order, other = (
            scores.argsort(descending=True, stable=True) for scores in (own.scores, each.pred_instances.scores)
        )
        assert len(order)
        torch.testing.assert_close(2 * own.boxes[order], each.pred_instances.bboxes[other])
        torch.testing.assert_close(own.scores[order], each.pred_instances.scores[other])
        assert own.labels[order].equal(each.pred_instances.labels[other])
        assert not own.boxes.requires_grad


class TestEmbedding:
    boxes = (torch.tensor([[0.0, 0, 20, 20], [8, 8, 40, 40]]), torch.tensor([[30.0, 30, 60, 60]]))

    def rois(self):
        return torch.cat([F.pad(each, (1, 0), value=float(k)) for k, each in enumerate(self.boxes)])

    def test_is_what_the_two_layers_of_an_fpn_detector_give(self):
        detector, features, _ = prepared(ONE, TWO)
        head = detector.roi_head
        pooled = head.bbox_roi_extractor(features[: head.bbox_roi_extractor.num_inputs], self.rois())
        first, second = head.bbox_head.shared_fcs
        expected = F.relu(second(F.relu(first(pooled.flatten(1)))))
        torch.testing.assert_close(embedded(detector, features, self.boxes), expected)
        assert expected.shape == (3, 32)

    def test_is_the_mean_of_res5_of_a_c4_detector(self):
        detector, features, _ = prepared(ONE, TWO, config=C4)
        head = detector.roi_head
        expected = head.shared_head(head.bbox_roi_extractor(features, self.rois())).mean((2, 3))
        torch.testing.assert_close(embedded(detector, features, self.boxes), expected)
        assert expected.shape == (3, 512)

    def test_pictures_without_boxes(self):
        detector, features, _ = prepared(ONE, TWO)
        every = embedded(detector, features, self.boxes)
        torch.testing.assert_close(embedded(detector, features, [self.boxes[0], torch.zeros(0, 4)]), every[:2])
        torch.testing.assert_close(embedded(detector, features, [torch.zeros(0, 4), self.boxes[1]]), every[2:])

    def test_leaves_no_hook_behind(self):
        detector, features, _ = prepared(ONE, TWO)
        embedded(detector, features, self.boxes)
        assert not detector.roi_head.bbox_head.fc_cls._forward_pre_hooks


def test_relabelling_changes_the_copy():
    _, _, samples = prepared(ONE, TWO)
    targets = [
        LabelledBoxes(torch.ones(3, 4), torch.tensor([5, 6, 7])),
        LabelledBoxes(torch.zeros(0, 4), torch.zeros(0).long()),
    ]
    changed = relabelled(samples, targets)
    assert [each.gt_instances.labels.tolist() for each in changed] == [[5, 6, 7], []]
    assert [each.labels.tolist() for each in ground_truth(samples)] == [[0], [0, 1]]
    assert [each.metainfo for each in changed] == [each.metainfo for each in samples]
    assert all(a.ignored_instances is b.ignored_instances for a, b in zip(changed, samples, strict=True))


def test_average():
    losses = averaged(
        [{"a": torch.tensor(1.0), "b": torch.tensor(2.0)}, {"a": torch.tensor(4.0), "b": torch.tensor(6.0)}]
    )
    assert {name: float(value) for name, value in losses.items()} == {"a": 2.5, "b": 4}


@pytest.mark.parametrize("config", [FPN, C4])
def test_detectors_of_two_stages(config):
    detector = build_detector(config, SMALL[config])
    assert of_two_stages(detector) is detector


@pytest.mark.parametrize("config", [MASKS, FCOS, FCOS_RPN, CASCADE])
def test_detectors_of_other_stages(config):
    with pytest.raises(UserError, match="faster_rcnn/faster-rcnn_r50_fpn_1x_coco"):
        of_two_stages(build_detector(config, SMALL[config]))
