import pytest
import torch
from torch import Tensor

from lightning_modules.sparsedet import module as stages
from lightning_modules.sparsedet.mining import pseudo_positives, thinned
from lightning_modules.sparsedet.views import two_views
from networks.detection.labelled import LabelledBoxes
from networks.detection.samples import as_instances
from tests.helpers.small_detectors import ONE, TWO
from tests.lightning_modules.sparsedet.cases import Spy, at_step, batch, miner, module, sure_of
from visionscapes.errors import UserError

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*tensors of the backbone"),
]


def has_any(boxes: Tensor, others: Tensor) -> bool:
    return bool((boxes[:, None] == others).all(2).any())


class TestOrderOfAStep:
    """Reference: mining before sampling, one cleaned pool for both views, thinned regions for Eq. 3.4 alone."""

    def run(self, monkeypatch, *pictures, more=None):
        found = miner(more=more)
        proposing = Spy(monkeypatch, "pseudo_positives")
        sampling, embedding = Spy(monkeypatch, "sampled"), Spy(monkeypatch, "embedded")
        heads: list[Tensor] = []
        original = stages.BoxHead.__init__

        def init(head, detector, features, regions, samples):
            original(head, detector, features, regions, samples)
            heads.append(head.rois[:, 1:])

        monkeypatch.setattr(stages.BoxHead, "__init__", init)
        losses = found.losses(batch(*pictures))
        return found, proposing, sampling, embedding, heads, losses

    def test_mined_regions_leave_the_pool_of_both_views(self, monkeypatch):
        _, mining, sampling, _, heads, _ = self.run(monkeypatch, ONE, TWO)
        assert len(sampling.calls) == len(heads) == 2
        pools = [call[1] for call in sampling.calls]
        for k in range(2):
            boxes, taken = mining.calls[k][0], mining.results[k]
            assert 0 < taken.sum() < len(taken)
            for pool in pools:
                assert pool[k].bboxes.equal(boxes[~taken])
            for head in heads:
                assert not has_any(head, boxes[taken])

    def test_the_self_supervised_loss_sees_thinned_regions_of_both_views(self, monkeypatch):
        found, mining, _, embedding, _, losses = self.run(monkeypatch, ONE, [])
        assert len(embedding.calls) == 2
        for _, _, regions in embedding.calls:
            for k in range(2):
                boxes, scores = mining.calls[k][:2]
                taken = mining.results[k]
                kept = thinned(boxes[taken], scores[taken], found.mined_nms)
                assert regions[k].equal(kept)
                assert len(kept) < taken.sum()  # or thinning would not show
        (_, first, _), (_, second, _) = embedding.calls
        assert not first[0].equal(second[0])
        expected = (embedding.results[0] - embedding.results[1]).square().mean()
        torch.testing.assert_close(losses["loss_ssl"], expected)

    def test_views_and_labels_of_the_two_losses(self, monkeypatch):
        """Eq. 3.2 on f_o with the annotations, Eq. 3.3 on f_a with the merged ones."""
        found = module()
        sure_of(found, 5)
        seen = []
        original = stages.BoxHead.__init__

        def init(head, detector, features, regions, samples):
            seen.append((features, [each.gt_instances.labels.tolist() for each in samples]))
            original(head, detector, features, regions, samples)

        monkeypatch.setattr(stages.BoxHead, "__init__", init)
        sparse = batch(ONE, [])
        losses = found.losses(sparse)
        f_o, f_a, _ = two_views(found.detector, sparse, training=True)
        (first, labels_o), (second, labels_a) = seen
        torch.testing.assert_close(first, f_o)
        torch.testing.assert_close(second, f_a)
        assert labels_o == [[0], []]
        assert labels_a[0][0] == 0
        assert set(labels_a[0][1:]) == set(labels_a[1]) == {5}
        assert losses["merged"] == sum(map(len, labels_a)) / 2 - 0.5

    def test_both_samplings_draw_anew(self, monkeypatch):
        few = {"train_cfg.rcnn.sampler.num": 4}
        _, _, sampling, _, _, _ = self.run(monkeypatch, ONE, TWO, more=few)
        first, second = ([each.priors for each in result] for result in sampling.results)
        assert not all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


class TestWeights:
    def test_terms_of_equation_3_5(self, monkeypatch):
        found = miner(ssl_weight=0.25, ssl_norm="squared")
        seen = []
        original = stages.BoxHead.losses

        def spy(head):
            seen.append(original(head))
            return seen[-1]

        monkeypatch.setattr(stages.BoxHead, "losses", spy)
        ssl = Spy(monkeypatch, "embedded")
        losses = found.losses(batch(ONE, TWO))
        det_o, det_a = seen
        for name in ("loss_cls", "loss_bbox"):
            torch.testing.assert_close(losses[f"{name}_o"], 0.5 * det_o[name])
            torch.testing.assert_close(losses[f"{name}_a"], 0.5 * det_a[name])
        f_a, f_o = ssl.results
        torch.testing.assert_close(losses["loss_ssl"], 0.25 * (f_a - f_o).square().sum(1).mean())
        assert {name for name in losses if "loss" in name} == {
            *("loss_cls_o", "loss_bbox_o", "loss_cls_a", "loss_bbox_a", "loss_rpn_cls", "loss_rpn_bbox", "loss_ssl")
        }

    def test_the_rpn_has_weight_one(self, monkeypatch):
        found = module()
        torch.manual_seed(3)
        losses = found.losses(batch(ONE, TWO))
        torch.manual_seed(3)
        f_o, f_a, samples = two_views(found.detector, batch(ONE, TWO), training=True)
        rpn_losses, _ = found.propose(found.detector, f_o, f_a, samples)
        for name, value in rpn_losses.items():
            torch.testing.assert_close(losses[name], value)

    @pytest.mark.parametrize("lone_weight", [0.5, 1.0])
    @pytest.mark.parametrize("pictures", [(ONE, []), ([], [])])
    def test_weight_of_the_second_view_alone(self, monkeypatch, lone_weight, pictures):
        """A batch of which nothing is annotated but something merged has Eq. 3.3 only."""
        found = module(lone_weight=lone_weight)
        sure_of(found, 5)
        seen = []
        original = stages.BoxHead.losses
        monkeypatch.setattr(stages.BoxHead, "losses", lambda head: seen.append(original(head)) or seen[-1])
        losses = found.losses(batch(*pictures))
        weight = 0.5 if any(pictures) else lone_weight
        assert seen[1]["loss_cls"] > 0
        torch.testing.assert_close(losses["loss_cls_a"], weight * seen[1]["loss_cls"])
        torch.testing.assert_close(losses["loss_cls_o"], 0.5 * seen[0]["loss_cls"])
        assert bool(losses["loss_cls_o"] > 0) == any(pictures)

    def test_the_only_loss_counts_in_full(self):
        """Without Eq. 3.3 the rows of table 3.4 train with Eq. 3.2, not with half of it."""
        losses = {"loss_cls": torch.tensor(2.0)}
        assert module(merging=False).weighted(losses, {}, True) == {"loss_cls_o": torch.tensor(2.0)}


class TestMining:
    @pytest.mark.parametrize(("step", "mines"), [(0, False), (6, False), (7, False), (8, True), (100, True)])
    def test_starts_after_the_warm_up(self, monkeypatch, step, mines):
        at_step(monkeypatch, step)
        found = module(tau_ppm=0.3, mining_start=7)
        assert (found.losses(batch(ONE, TWO))["mined"] > 0) == mines
        assert (sum(map(len, found.mined(batch(ONE, TWO)))) > 0) == mines

    def test_can_be_switched_off(self, monkeypatch):
        at_step(monkeypatch, 10)
        losses = module(tau_ppm=0.3, mining=False, mining_start=0).losses(batch(ONE, TWO))
        assert losses["mined"] == losses["loss_ssl"] == 0

    def test_takes_by_objectness_and_overlap(self):
        found = module(tau_ppm=0.5, tau_bg=0.2, mined_nms=0.3)
        found.mining_start = -1
        boxes = torch.tensor([[0.0, 0, 10, 10], [30, 30, 40, 40], [31, 30, 41, 40], [30, 30, 40, 40]])
        regions = as_instances(boxes)
        regions.scores = torch.tensor([0.9, 0.8, 0.7, 0.5])
        annotated = LabelledBoxes(torch.tensor([[0.0, 0, 10, 12]]), torch.tensor([3]))
        nothing = LabelledBoxes(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
        mined = found.mine([regions, regions], [annotated, nothing])
        assert mined.unlabelled[0].equal(boxes[[1]])
        assert mined.rest[0].bboxes.equal(boxes[[0, 3]])
        assert mined.unlabelled[1].equal(boxes[[0, 1]])
        assert mined.rest[1].scores.equal(regions.scores[[3]])
        assert len(regions) == 4

    @pytest.mark.parametrize("name", ["tau_ppm", "tau_bg", "mined_nms"])
    def test_thresholds_change_what_is_mined(self, name):
        counts = []
        for value in (0.05, 0.499, 0.95):
            found = miner(**{name: value})
            counts.append(found.losses(batch(TWO, TWO))["mined"].item())
        assert counts == sorted(counts, reverse=name == "tau_ppm")
        assert counts[0] != counts[-1]

    def test_what_is_mined_is_what_a_step_mines(self):
        found = miner()
        sparse = batch(ONE, TWO)
        boxes = found.mined(sparse)
        assert sum(map(len, boxes)) / 2 == found.losses(sparse)["mined"] > 0
        f_o, f_a, samples = two_views(found.detector, sparse, training=False)
        _, regions = found.propose(found.detector, f_o, f_a, samples)
        for each, region, known in zip(boxes, regions, sparse["boxes"], strict=True):
            taken = pseudo_positives(region.bboxes, region.scores, known, 0.3, 0.2)
            assert each.equal(thinned(region.bboxes[taken], region.scores[taken], 0.3))
            assert not each.requires_grad


class TestMerging:
    @pytest.mark.parametrize(("step", "merges"), [(0, False), (4, False), (5, True), (9, True)])
    def test_starts_when_it_is_said_to(self, monkeypatch, step, merges):
        at_step(monkeypatch, step)
        found = module(merging_start=5)
        sure_of(found, 5)
        assert (found.losses(batch(ONE, TWO))["merged"] > 0) == merges

    def test_starts_with_the_first_step_by_default(self):
        found = module()
        sure_of(found, 5)
        assert found.losses(batch(ONE, TWO))["merged"] > 0

    def test_threshold(self):
        """A score of 0.95."""
        for tau_m, merges in ((0.9, True), (0.97, False)):
            found = module(tau_m=tau_m)
            sure_of(found, 5)
            with torch.no_grad():
                found.detector.roi_head.bbox_head.fc_cls.bias[5] = torch.tensor(12 * 0.95 / 0.05).log()
            assert (found.losses(batch(ONE, TWO))["merged"] > 0) == merges

    @pytest.mark.parametrize("keep", [True, False])
    def test_overlapping_annotations(self, monkeypatch, keep):
        spy = Spy(monkeypatch, "relabelled")
        found = module(keep_annotations=keep)
        found.losses(batch([(8, 8, 40, 40, 0), (10, 8, 42, 40, 0)]))
        assert len(spy.calls[0][1][0].boxes) == (2 if keep else 1)

    def test_can_be_switched_off(self):
        losses = module(merging=False).losses(batch(ONE, TWO))
        assert not any(name.endswith("_a") or name.startswith("merge") for name in losses)


class TestSelfSupervision:
    @pytest.mark.parametrize("norm", ["mean", "squared"])
    def test_gradient_flows_through_both_views(self, norm):
        found = miner(ssl_norm=norm)
        views = two_views(found.detector, batch(ONE, TWO), training=True)[:2]
        f_o, f_a = (tuple(level.detach().requires_grad_() for level in view) for view in views)
        regions = [torch.tensor([[4.0, 4, 30, 30], [20, 20, 60, 60]])] * 2
        found.self_supervised(f_o, f_a, regions, labelled=True).backward()
        for view in (f_o, f_a):
            assert any(level.grad is not None and level.grad.any() for level in view)

    def test_views_that_are_equal_cost_nothing(self):
        sparse = batch(ONE, TWO)
        sparse["second_view"] = sparse["image"]
        losses = miner().losses(sparse)
        assert losses["mined"] > 0
        assert losses["loss_ssl"] == 0

    def test_squared_is_mean_times_the_dimensions(self):
        mean, squared = (miner(ssl_norm=norm).losses(batch(ONE, TWO))["loss_ssl"] for norm in ("mean", "squared"))
        assert mean > 0
        torch.testing.assert_close(squared, 32 * mean)

    @pytest.mark.parametrize("pictures", [(ONE, []), ([], [])])
    @pytest.mark.parametrize("unlabelled", [True, False])
    def test_batches_without_annotation(self, pictures, unlabelled):
        losses = miner(ssl_unlabelled=unlabelled).losses(batch(*pictures))
        assert losses["mined"] > 0
        assert bool(losses["loss_ssl"] > 0) == (unlabelled or any(pictures))

    def test_weight(self):
        plain, doubled, none = (
            miner(ssl_weight=weight).losses(batch(ONE, TWO))["loss_ssl"] for weight in (1.0, 2.0, 0.0)
        )
        torch.testing.assert_close(doubled, 2 * plain)
        assert none == 0
        assert plain > 0


@pytest.mark.parametrize("options", [{"ssl_weight": -1.0}, {"lone_weight": -0.5}, {"tau_m": 1.5}, {"mined_nms": -0.1}])
def test_weights_and_thresholds_that_mean_nothing(options):
    with pytest.raises(UserError, match=next(iter(options))):
        module(**options)
