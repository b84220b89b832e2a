"""Whatever a batch is like and whatever is switched off, a step of SparseDet reaches every parameter."""

import pytest
import torch
from torch import Tensor

from tests.helpers.small_detectors import C4, FPN, ONE, TWO
from tests.lightning_modules.sparsedet.cases import Spy, at_step, batch, gradients, loss_of, miner, module

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*tensors of the backbone"),
]


FILTERED = {"train_cfg.rpn_proposal.min_bbox_size": 1000, "test_cfg.rpn.min_bbox_size": 1000}
PLAIN = {"proposals": "original", "mining": False, "ssl_weight": 0.0, "merging": False}


def numbers(losses: dict[str, Tensor]) -> dict[str, float]:
    return {name: value.item() for name, value in losses.items()}


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
    losses = found.losses(batch(*pictures))
    assert all(value.isfinite() for value in losses.values())
    learns = any(gradient.any() for gradient in gradients(found, losses).values())
    assert learns or situation == "no proposal, no annotation"  # of which there may be nothing to learn


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
    before = {name: each.clone() for name, each in found.named_buffers() if name.endswith("running_mean")}
    losses = found.losses(batch(ONE, []))
    assert any(gradient.any() for gradient in gradients(found, losses).values())
    after = dict(found.named_buffers())
    assert any(not after[name].equal(each) for name, each in before.items()), "its statistics are learnt"


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
