import pytest
import torch
from torch import Tensor

from errors import UserError
from lightning_modules import SparseDet
from lightning_modules.sparsedet import module as stages
from lightning_modules.sparsedet.merging import Labelled
from lightning_modules.sparsedet.mining import pseudo_positives, thinned
from lightning_modules.sparsedet.two_stage import two_views
from networks.detection.samples import as_instances
from tests.lightning_modules.sparsedet.cases import (
    C4,
    CASCADE,
    FCOS_RPN,
    FPN,
    MASKS,
    ONE,
    RETINA,
    SMALL,
    TWO,
    at_step,
    batch,
    gradients,
    loss_of,
    miner,
    module,
    sure_of,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*tensors of the backbone"),
    pytest.mark.filterwarnings("ignore:You are trying to `self.log"),
]
FILTERED = {"train_cfg.rpn_proposal.min_bbox_size": 1000, "test_cfg.rpn.min_bbox_size": 1000}
PLAIN = {"proposals": "original", "mining": False, "ssl_weight": 0.0, "merging": False}


def numbers(losses: dict[str, Tensor]) -> dict[str, float]:
    return {name: value.item() for name, value in losses.items()}


class Spy:
    """Records the arguments of a function of the module's and calls it."""

    def __init__(self, monkeypatch, name: str):
        self.calls: list[tuple] = []
        self.results: list = []
        original = getattr(stages, name)

        def called(*arguments):
            self.calls.append(arguments)
            self.results.append(original(*arguments))
            return self.results[-1]

        monkeypatch.setattr(stages, name, called)


def same_boxes(first: Tensor, second: Tensor) -> bool:
    """Whether two sets of boxes are the same in any order."""
    return sorted(map(tuple, first.tolist())) == sorted(map(tuple, second.tolist()))


def has_any(boxes: Tensor, others: Tensor) -> bool:
    return bool((boxes[:, None] == others).all(2).any())


class TestOrderOfAStep:
    """Reference: mining before sampling, one cleaned pool for both views, thinned regions for Eq. 3.4 alone."""

    def run(self, monkeypatch, *pictures):
        found = miner()
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
        _, _, sampling, _, _, _ = self.run(monkeypatch, ONE, TWO)
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
        annotated = Labelled(torch.tensor([[0.0, 0, 10, 12]]), torch.tensor([3]))
        nothing = Labelled(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
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


class TestEquivalence:
    @pytest.mark.parametrize("config", [FPN, C4])
    def test_without_its_parts_it_is_the_plain_detector(self, config):
        """Row 1 of table 3.4; the same losses and gradients where every picture is annotated."""
        ours, theirs = module("SparseDet", config, **PLAIN), module("Detector", config)
        ours.load_state_dict(theirs.state_dict())
        sparse = batch(ONE, TWO)
        torch.manual_seed(3)
        losses = ours.losses(sparse)
        torch.manual_seed(3)
        plain = theirs.losses(sparse)
        for name, value in plain.items():
            if "loss" in name:
                torch.testing.assert_close(losses[name if "rpn" in name else f"{name}_o"], value)
        torch.testing.assert_close(loss_of(losses), loss_of(plain))
        expected = gradients(theirs, plain)
        for name, gradient in gradients(ours, losses).items():
            torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=1e-5)

    def test_pictures_without_annotation_do_not_train_a_detector_without_parts(self):
        """Where plain training calls them background."""
        found = module(**PLAIN)
        assert loss_of(found.losses(batch([], []))) == 0
        assert loss_of(module("Detector").losses(batch([], []))) > 0


# What a batch and its proposals can be like; every one has to reach every parameter, or DDP waits for ever.
SITUATIONS = {
    "ordinary": ({}, (ONE, TWO), None),
    "one empty picture": ({}, (ONE, []), None),
    "no annotation": ({}, ([], []), None),
    "nothing mined": ({"tau_ppm": 1.0}, (ONE, TWO), None),
    "everything mined": ({"tau_ppm": 0.0, "tau_bg": 1.0}, (ONE, TWO), None),
    "everything mined, no annotation": ({"tau_ppm": 0.0, "tau_bg": 1.0}, ([], []), None),
    "no proposal": ({}, (ONE, []), FILTERED),
    "no proposal, no annotation": ({}, ([], []), FILTERED),
    "no merging": ({"merging": False}, (ONE, TWO), None),
    "no merging, no annotation": ({"merging": False}, ([], []), None),
    "nothing but the plain detector, no annotation": (PLAIN, ([], []), None),
    "one picture": ({}, (ONE,), None),
    "official code": ({"ssl_unlabelled": False, "lone_weight": 1.0, "keep_annotations": False}, ([], []), None),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_every_parameter_has_a_gradient(situation):
    options, pictures, more = SITUATIONS[situation]
    found = miner(more=more, **options)
    losses = found.losses(batch(*pictures))
    assert all(value.isfinite() for value in losses.values())
    gradients(found, losses)


@pytest.mark.parametrize("situation", ["ordinary", "everything mined, no annotation", "no proposal, no annotation"])
@pytest.mark.parametrize("proposals", ["original", "both", "both_halved"])
def test_every_parameter_has_a_gradient_however_regions_are_proposed(situation, proposals):
    options, pictures, more = SITUATIONS[situation]
    found = miner(more=more, proposals=proposals, **options)
    gradients(found, found.losses(batch(*pictures)))


@pytest.mark.parametrize("situation", ["ordinary", "everything mined, no annotation"])
def test_every_parameter_of_a_c4_detector_has_a_gradient(situation):
    options, pictures, more = SITUATIONS[situation]
    found = miner(C4, more=more, **options)
    losses = found.losses(batch(*pictures))
    assert losses["mined"] > 0
    gradients(found, losses)


def test_everything_mined_leaves_the_annotations(monkeypatch):
    found = miner(tau_ppm=0.0, tau_bg=1.0)
    sampling = Spy(monkeypatch, "sampled")
    losses = found.losses(batch(ONE, TWO))
    assert [len(each) for each in sampling.calls[0][1]] == [0, 0]
    assert [len(each.priors) for each in sampling.results[0]] == [1, 2]
    assert losses["loss_cls_o"] > 0


def test_batch_norm_in_training_mode():
    found = miner(more={"backbone.norm_eval": False})
    losses = found.losses(batch(ONE, []))
    gradients(found, losses)


ABLATIONS = {
    "C-RPN off": {"proposals": "original"},
    "two sets": {"proposals": "both"},
    "two halves": {"proposals": "both_halved"},
    "PPM off": {"mining": False},
    "SSL off": {"ssl_weight": 0.0},
    "no second detection loss": {"merging": False},
    "tau_ppm": {"tau_ppm": 0.6},
    "tau_m": {"tau_m": 0.8},
    "PPM later": {"mining_start": 4000},
    "squared norm": {"ssl_norm": "squared"},
}
# Which losses a switch has to change, and which it must not.
CHANGED = {
    "C-RPN off": ("loss_rpn_cls", None),
    "two sets": ("loss_rpn_cls", None),
    "two halves": ("loss_rpn_cls", None),
    "PPM off": ("loss_ssl", "loss_rpn_cls"),
    "SSL off": ("loss_ssl", "loss_cls_o"),
    "no second detection loss": ("loss_cls_a", "loss_rpn_cls"),
    "tau_ppm": ("loss_ssl", "loss_rpn_cls"),
    "tau_m": ("merged", "loss_cls_o"),
    "PPM later": ("loss_ssl", "loss_rpn_cls"),
    "squared norm": ("loss_ssl", "loss_cls_o"),
}


@pytest.mark.parametrize("name", ABLATIONS)
def test_every_switch_of_the_tables_changes_its_part_alone(monkeypatch, name):
    """Tables 3.4, 3.5, 3.11, 3.12 and section 3.5.2.4."""
    at_step(monkeypatch, 10)
    base = {"tau_ppm": 0.3, "mining_start": 9}
    results = []
    for options in (base, base | ABLATIONS[name]):
        found = module(**options)
        with torch.no_grad():  # scores of 0.85
            head = found.detector.roi_head.bbox_head
            head.fc_cls.weight.zero_()
            head.fc_cls.bias.zero_()
            head.fc_cls.bias[5] = torch.tensor(12 * 0.85 / 0.15).log()
        torch.manual_seed(3)
        results.append(numbers(found.losses(batch(ONE, TWO))))
    changed, same = CHANGED[name]
    assert results[0].get(changed) != results[1].get(changed)
    if same is not None:
        assert results[0][same] == results[1][same]


class TestInference:
    def test_detections_come_from_the_picture_itself(self, monkeypatch):
        """Regions from both views, the box head on f_o (3.3.3)."""
        found = module().eval()
        sparse = batch(ONE, TWO)
        seen = []
        original = found.detector.roi_head.predict
        spy = lambda x, *rest, **options: seen.append((x, rest[0])) or original(x, *rest, **options)  # noqa: E731
        monkeypatch.setattr(found.detector.roi_head, "predict", spy)
        with torch.no_grad():
            predictions = found.predict_step(sparse, 0)
            f_o, f_a, samples = two_views(found.detector, sparse, training=False)
        ((features, regions),) = seen
        torch.testing.assert_close(features, f_o)
        expected = found.propose.inference(found.detector, f_o, f_a, samples)
        assert all(a.bboxes.equal(b.bboxes) for a, b in zip(regions, expected, strict=True))
        for each in predictions:
            assert each.keys() == {"boxes", "scores", "labels"}
            assert each["boxes"].dtype == each["scores"].dtype == torch.float32
            assert each["scores"].equal(each["scores"].sort(descending=True).values)

    def test_the_second_view_matters_only_through_the_regions(self):
        """Table 3.6: a clean second view changes the regions; that of an ordinary RPN does not matter."""
        sparse, clean = batch(ONE, TWO), batch(ONE, TWO)
        clean["second_view"] = clean["image"]
        for proposals, same in (("common", False), ("original", True), ("both", False)):
            found = module(proposals=proposals).eval()
            with torch.no_grad():
                first, second = (found.proposals(each)[0]["scores"] for each in (sparse, clean))
            assert first.equal(second) == same

    def test_boxes_are_in_pixels_of_the_original(self):
        found = module().eval()
        sparse = batch(ONE, TWO)
        halved = batch(ONE, TWO)
        halved["size"] = [torch.tensor([128, 64])] * 2  # height was halved
        with torch.no_grad():
            for method in (lambda each: found.predict_step(each, 0), found.proposals):
                own, larger = method(sparse)[0]["boxes"], method(halved)[0]["boxes"]
                assert own[:, 3].max() <= 64
                assert 64 < larger[:, 3].max() <= 128
                assert larger[:, 2].max() <= 64

    @pytest.mark.parametrize("proposals", ["common", "both"])
    def test_proposals_are_sorted(self, proposals):
        found = module(proposals=proposals).eval()
        with torch.no_grad():
            for each in found.proposals(batch(ONE, TWO)):
                assert each["boxes"].shape == (len(each["scores"]), 4)
                assert each["scores"].equal(each["scores"].sort(descending=True).values)

    def test_needs_a_second_view(self):
        sparse = batch(ONE)
        del sparse["second_view"]
        for method in (lambda each: module().predict_step(each, 0), module().losses, module().proposals):
            with pytest.raises(UserError, match="second view"):
                method(sparse)


def test_bf16():
    found = miner()
    with torch.autocast("cpu", torch.bfloat16):
        losses = found.losses(batch(ONE, TWO))
    assert losses["mined"] > 0
    assert all(value.dtype == torch.float32 for name, value in losses.items() if "loss" in name)
    gradients(found, losses)
    full = miner().losses(batch(ONE, TWO))
    torch.testing.assert_close(losses["loss_rpn_cls"], full["loss_rpn_cls"], rtol=0.02, atol=0.01)
    found.eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        (first, _), (regions, _) = found.predict_step(batch(ONE, TWO), 0), found.proposals(batch(ONE, TWO))
    assert first["boxes"].dtype == first["scores"].dtype == regions["boxes"].dtype == torch.float32


@pytest.mark.parametrize("name", ["tau_ppm", "tau_bg", "tau_m", "mined_nms"])
@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_thresholds_are_shares(name, value):
    with pytest.raises(UserError, match=name):
        SparseDet(FPN, **{name: value})


@pytest.mark.parametrize("proposals", ["common", "original"])
@pytest.mark.parametrize("config", [RETINA, MASKS, CASCADE, FCOS_RPN])
def test_detectors_that_do_not_fit(config, proposals):
    with pytest.raises(UserError, match="faster-rcnn_r50_fpn_1x_coco"):
        SparseDet(config, overrides=SMALL[config], proposals=proposals)


def test_weights_of_a_plain_detector_do_not_fit_a_common_rpn(tmp_path):
    torch.save(module("Detector").detector.state_dict(), tmp_path / "plain.pth")
    with pytest.raises(UserError, match="rpn_head"):
        SparseDet(FPN, overrides=SMALL[FPN], weights=str(tmp_path / "plain.pth"))
    SparseDet(FPN, overrides=SMALL[FPN], weights=str(tmp_path / "plain.pth"), proposals="original")


def test_options_are_kept_in_the_checkpoint(tmp_path):
    found = module(tau_m=0.8, proposals="both", mining_start=3)
    assert found.hparams["tau_m"] == 0.8
    assert found.hparams["proposals"] == "both"
    assert found.hparams["overrides"] == SMALL[FPN]
    assert {"config", "lr", "mining_start", "ssl_norm", "keep_annotations"} <= found.hparams.keys()


def test_defaults_are_those_of_the_thesis():
    """Section 3.3.3 and 3.3.6."""
    found = module()
    assert (found.tau_bg, found.tau_ppm, found.tau_m) == (0.2, 0.8, 0.9)
    assert (found.lr, found.warmup_steps, found.mining_start) == (0.01, 1000, 30_000)
    assert (found.ssl_weight, found.lone_weight, found.mined_nms) == (1.0, 0.5, 0.3)
