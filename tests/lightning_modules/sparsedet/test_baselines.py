import pytest
import torch

from lightning_modules import CoMining, PseudoLabels
from lightning_modules.sparsedet import baselines
from lightning_modules.sparsedet.views import two_views
from networks.detection.two_stage import detected, plain_losses
from tests.helpers.small_detectors import C4, FPN, MASKS, ONE, RETINA, SMALL, TWO
from tests.lightning_modules.sparsedet.cases import at_step, batch, gradients, module, sure_of
from visionscapes.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore:.*tensors of the backbone")
METHODS = ("TwoViewDetector", "PseudoLabels", "CoMining")


def labels_trained_on(monkeypatch):
    """Record features and labels of every call of ``plain_losses``."""
    calls = []

    def spy(detector, features, samples):
        calls.append((features, [each.gt_instances.labels.tolist() for each in samples]))
        return plain_losses(detector, features, samples)

    monkeypatch.setattr(baselines, "plain_losses", spy)
    return calls


def only_losses(figures):
    return {name: value for name, value in figures.items() if "loss" in name}


@pytest.mark.parametrize("kind", METHODS)
@pytest.mark.parametrize("pictures", [(ONE, TWO), (ONE, []), ([], [])])
def test_every_parameter_has_a_gradient(kind, pictures):
    found = module(kind)
    losses = found.losses(batch(*pictures))
    assert all(value.isfinite() for value in losses.values())
    gradients(found, losses)


def test_c4():
    found = module("CoMining", C4)
    assert any(gradient.any() for gradient in gradients(found, found.losses(batch(ONE, TWO))).values())


def test_two_equal_views_are_the_plain_detector():
    """Both views are sampled, so that equal draws need all regions and anchors."""
    every = {"train_cfg.rpn.sampler.num": 5000, "train_cfg.rcnn.sampler.num": 200}
    ours, plain = module("TwoViewDetector", more=every), module("Detector", more=every)
    sparse = batch(ONE, TWO)
    sparse["second_view"] = sparse["image"]
    losses, expected = only_losses(ours.losses(sparse)), only_losses(plain.losses(sparse))
    torch.testing.assert_close(losses, expected)
    theirs = gradients(plain, expected)
    for name, gradient in gradients(ours, losses).items():
        torch.testing.assert_close(gradient, theirs[name], rtol=1e-4, atol=1e-5)


def test_two_views_are_averaged():
    found = module("TwoViewDetector")
    sparse = batch(ONE, TWO)
    torch.manual_seed(3)
    losses = found.losses(sparse)
    f_o, f_a, samples = two_views(found.detector, sparse, training=True)
    torch.manual_seed(3)
    first, second = plain_losses(found.detector, f_o, samples), plain_losses(found.detector, f_a, samples)
    for name, value in only_losses(losses).items():
        torch.testing.assert_close(value, (first[name] + second[name]) / 2)
        assert first[name] != second[name]


def test_pseudo_labels_that_nothing_reaches_are_plain_training():
    sparse = batch(ONE, TWO)
    torch.manual_seed(3)
    ours = module("PseudoLabels", threshold=1.0).losses(sparse)
    torch.manual_seed(3)
    plain = module("Detector").losses(sparse)
    torch.testing.assert_close(only_losses(ours), only_losses(plain))
    assert ours["merged"] == 0


def test_pseudo_labels_are_detections_in_the_same_picture(monkeypatch):
    found = module("PseudoLabels")
    sure_of(found, 5)
    calls = labels_trained_on(monkeypatch)
    figures = found.losses(batch(ONE, []))
    ((_, labels),) = calls
    assert labels[0][0] == 0
    assert set(labels[0][1:]) == set(labels[1]) == {5}
    assert figures["merged"] == sum(map(len, labels)) / 2 - 0.5


def test_co_mining_labels_each_view_by_the_other(monkeypatch):
    found = module("CoMining")
    calls = labels_trained_on(monkeypatch)
    seen = []

    def fake(detector, features, samples):
        """In the picture class 5, in the second view class 7."""
        label = 5 if not seen else 7
        seen.append(features)
        result = detected(detector, features, samples)
        boxes, scores = torch.tensor([[40.0, 4, 60, 24]]), torch.tensor([0.99])
        return [each._replace(boxes=boxes, labels=torch.tensor([label]), scores=scores) for each in result]

    monkeypatch.setattr(baselines, "detected", fake)
    sparse = batch(ONE, [])
    found.losses(sparse)
    f_o, f_a, _ = two_views(found.detector, sparse, training=True)
    (first, labels_o), (second, labels_a) = calls
    torch.testing.assert_close(seen[0], f_o)
    torch.testing.assert_close(seen[1], f_a)
    torch.testing.assert_close(first, f_o)
    torch.testing.assert_close(second, f_a)
    assert labels_o == [[0, 7], [7]]
    assert labels_a == [[0, 5], [5]]


@pytest.mark.parametrize("kind", ["PseudoLabels", "CoMining"])
@pytest.mark.parametrize(("step", "merges"), [(2, False), (3, True)])
def test_start(monkeypatch, kind, step, merges):
    at_step(monkeypatch, step)
    found = module(kind, start=3)
    sure_of(found, 5)
    assert (found.losses(batch(ONE, TWO))["merged"] > 0) == merges


@pytest.mark.parametrize("kind", ["PseudoLabels", "CoMining"])
def test_labelling_leaves_the_modes_as_they_were(monkeypatch, kind):
    found = module(kind)
    before = [each.training for each in found.detector.modules()]

    def fails(*_):
        assert not found.detector.training
        raise RuntimeError

    monkeypatch.setattr(baselines, "detected", fails)
    with pytest.raises(RuntimeError):
        found.losses(batch(ONE, TWO))
    assert [each.training for each in found.detector.modules()] == before


@pytest.mark.parametrize("kind", METHODS)
def test_detects_in_the_picture_itself(kind):
    """No method but SparseDet needs a second view at inference."""
    found, plain = module(kind).eval(), module("Detector").eval()
    sparse = batch(ONE, TWO)
    expected = plain.predict_step(sparse, 0)
    del sparse["second_view"]
    torch.testing.assert_close(found.predict_step(sparse, 0), expected)


@pytest.mark.parametrize("kind", ["TwoViewDetector", "CoMining"])
def test_needs_a_second_view_to_train(kind):
    sparse = batch(ONE)
    del sparse["second_view"]
    with pytest.raises(UserError, match="second view"):
        module(kind).losses(sparse)


@pytest.mark.parametrize("config", [MASKS, RETINA])
@pytest.mark.parametrize("kind", METHODS)
def test_detectors_that_do_not_fit(kind, config):
    with pytest.raises(UserError, match="faster-rcnn_r50_fpn_1x_coco"):
        getattr(baselines, kind)(config, overrides=SMALL[config])


@pytest.mark.parametrize("kind", [PseudoLabels, CoMining])
def test_threshold_is_a_share(kind):
    with pytest.raises(UserError, match=r"threshold is 1\.5"):
        kind(FPN, overrides=SMALL[FPN], threshold=1.5)


def test_options_are_kept():
    found = module("CoMining", threshold=0.7, start=5)
    assert (found.hparams["threshold"], found.hparams["start"], found.hparams["config"]) == (0.7, 5, FPN)
