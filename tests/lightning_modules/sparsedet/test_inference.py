"""What SparseDet detects, in full and in reduced precision, and what it refuses."""

import pytest
import torch

from lightning_modules import SparseDet
from lightning_modules.sparsedet.views import two_views
from tests.helpers.small_detectors import CASCADE, FCOS_RPN, FPN, MASKS, ONE, RETINA, SMALL, TWO
from tests.lightning_modules.sparsedet.cases import batch, gradients, miner, module
from visionscapes.errors import UserError

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*tensors of the backbone"),
]


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


def test_options_are_kept_in_the_checkpoint():
    found = module(tau_m=0.8, proposals="both", mining_start=3, lr=0.02)
    again = SparseDet(**found.hparams)
    assert again.hparams == found.hparams
    assert (again.tau_m, again.mining_start, again.lr, again.common) == (0.8, 3, 0.02, False)
    again.load_state_dict(found.state_dict())


def test_defaults_are_those_of_the_thesis():
    """Section 3.3.3 and 3.3.6."""
    found = module()
    assert (found.tau_bg, found.tau_ppm, found.tau_m) == (0.2, 0.8, 0.9)
    assert (found.lr, found.warmup_steps, found.mining_start) == (0.01, 1000, 30_000)
    assert (found.ssl_weight, found.lone_weight, found.mined_nms) == (1.0, 0.5, 0.3)
