import copy

import pytest
import torch
from mmengine.structures import InstanceData

from lightning_modules.sparsedet.proposing import PROPOSALS, SeparateRPNs, widened
from lightning_modules.sparsedet.views import concatenated, two_views
from networks.detection.build import setup_mmdet
from networks.detection.configs import read_config
from networks.detection.two_stage import rpn
from tests.helpers.small_detectors import C4, FCOS, FPN, ONE, RETINA, TWO
from tests.lightning_modules.sparsedet.cases import batch, module
from visionscapes.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore:.*tensors of the backbone")
MOST = 40  # proposals of a picture in the small detector


def prepared(mode, config=FPN):
    """Return a detector for a way to propose, and both views' features and samples."""
    found = module("SparseDet", config, proposals=mode)
    return found.detector, *two_views(found.detector, batch(ONE, TWO), training=True)


@pytest.mark.parametrize("config", [FPN, C4])
def test_the_common_rpn_takes_both_views_and_keeps_their_width(config):
    setup_mmdet()
    model = read_config(config)
    before = copy.deepcopy(model)
    wide = widened(model)
    assert model == before
    channels = before["rpn_head"]["in_channels"]
    assert wide["rpn_head"]["in_channels"] == wide["rpn_head"]["feat_channels"] == 2 * channels
    wide["rpn_head"] = before["rpn_head"]
    assert wide == before  # nothing else changes: the box head sees one view at a time


def test_the_common_rpn_is_built_as_wide_as_said():
    detector = module("SparseDet").detector
    assert detector.rpn_head.rpn_conv.weight.shape[:2] == (32, 32)
    assert detector.roi_head.bbox_head.shared_fcs[0].in_features == 16 * 5 * 5
    assert module("SparseDet", proposals="original").detector.rpn_head.rpn_conv.weight.shape[:2] == (16, 16)


@pytest.mark.parametrize("config", [RETINA, FCOS])
def test_detectors_of_one_stage_have_no_rpn_to_widen(config):
    setup_mmdet()
    with pytest.raises(UserError, match="two stages"):
        widened(read_config(config))


@pytest.mark.parametrize(("mode", "most"), [("common", 1), ("original", 1), ("both", 2), ("both_halved", 1)])
def test_number_of_proposals(mode, most):
    detector, f_o, f_a, samples = prepared(mode)
    _, regions = PROPOSALS[mode](detector, f_o, f_a, samples)
    assert [len(each) for each in regions] == [most * MOST] * 2
    detector.eval()
    inference = PROPOSALS[mode].inference(detector, f_o, f_a, samples)
    assert [len(each) for each in inference] == [most * MOST] * 2


@pytest.mark.parametrize("mode", PROPOSALS)
def test_training_and_inference_propose_alike(mode):
    """Their limits are the same in the small detector."""
    detector, f_o, f_a, samples = prepared(mode)
    _, regions = PROPOSALS[mode](detector, f_o, f_a, samples)
    for ours, theirs in zip(regions, PROPOSALS[mode].inference(detector, f_o, f_a, samples), strict=True):
        torch.testing.assert_close(ours.bboxes, theirs.bboxes)
        torch.testing.assert_close(ours.scores, theirs.scores)


@pytest.mark.parametrize("mode", PROPOSALS)
def test_rescaled_proposals_are_in_pixels_of_the_original(mode):
    detector, f_o, f_a, samples = prepared(mode)
    own = PROPOSALS[mode].inference(detector, f_o, f_a, samples)
    for each in samples:
        each.set_metainfo({"scale_factor": (0.5, 0.25)})
    for each, scaled in zip(own, PROPOSALS[mode].inference(detector, f_o, f_a, samples, rescale=True), strict=True):
        # NMS of squeezed boxes keeps others; what both have is where it should be.
        expected = each.bboxes / torch.tensor([0.5, 0.25, 0.5, 0.25])
        distances = torch.cdist(scaled.bboxes, expected).amin(1)
        assert (distances < 1e-3).float().mean() > 0.5


def test_original_ignores_the_second_view():
    detector, f_o, f_a, samples = prepared("original")
    torch.manual_seed(1)
    losses, regions = PROPOSALS["original"](detector, f_o, f_a, samples)
    torch.manual_seed(1)
    alone, own = rpn(detector, f_o, samples)
    torch.testing.assert_close(losses, alone)
    assert all(torch.equal(a.bboxes, b.bboxes) for a, b in zip(regions, own, strict=True))


def test_common_depends_on_both_views_in_their_order():
    detector, f_o, f_a, samples = prepared("common")
    _, regions = PROPOSALS["common"](detector, f_o, f_a, samples)
    _, expected = rpn(detector, concatenated(f_o, f_a), samples)
    assert regions[0].scores.equal(expected[0].scores)
    for other in ((f_a, f_o), (f_o, f_o), (f_a, f_a)):
        assert not PROPOSALS["common"](detector, *other, samples)[1][0].scores.equal(expected[0].scores)


def test_both_views_share_a_loss_and_put_their_regions_together():
    detector, f_o, f_a, samples = prepared("both")
    torch.manual_seed(1)
    losses, regions = PROPOSALS["both"](detector, f_o, f_a, samples)
    torch.manual_seed(1)
    (losses_o, of_o), (losses_a, of_a) = rpn(detector, f_o, samples), rpn(detector, f_a, samples)
    for name, value in losses.items():
        torch.testing.assert_close(value, (losses_o[name] + losses_a[name]) / 2)
    for each, first, second in zip(regions, of_o, of_a, strict=True):
        assert each.bboxes.equal(torch.cat([first.bboxes, second.bboxes]))


def scored(*scores):
    values = torch.tensor(scores)
    return InstanceData(bboxes=values[:, None].repeat(1, 4), scores=values)


@pytest.mark.parametrize(
    ("share", "expected"), [(1.0, [0.9, 0.5, 0.3, 0.1, 0.8, 0.7, 0.2]), (0.5, [0.9, 0.5, 0.8, 0.7])]
)
def test_halves_are_the_most_certain_regions(share, expected):
    first, second = scored(0.1, 0.9, 0.3, 0.5), scored(0.8, 0.2, 0.7)
    (joined,) = SeparateRPNs(share).together([first], [second])
    torch.testing.assert_close(joined.scores, torch.tensor(expected))
    torch.testing.assert_close(joined.bboxes[:, 0], joined.scores)


def test_half_of_one_region_and_of_none():
    first, second = scored(0.4), scored(0.4)[:0]
    (joined,) = SeparateRPNs(0.5).together([first], [second])
    assert joined.scores.tolist() == pytest.approx([0.4])


@pytest.mark.parametrize("mode", PROPOSALS)
def test_all_proposals_filtered(mode):
    """mmdet gives such pictures results of its own making."""
    more = {"train_cfg.rpn_proposal.min_bbox_size": 1000, "test_cfg.rpn.min_bbox_size": 1000}
    found = module("SparseDet", FPN, more, proposals=mode)
    f_o, f_a, samples = two_views(found.detector, batch(ONE, []), training=True)
    _, regions = PROPOSALS[mode](found.detector, f_o, f_a, samples)
    assert [each.bboxes.shape for each in regions] == [(0, 4)] * 2
    assert [len(each) for each in PROPOSALS[mode].inference(found.detector, f_o, f_a, samples)] == [0, 0]
