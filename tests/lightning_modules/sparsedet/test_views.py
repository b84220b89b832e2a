import pytest
import torch

from lightning_modules.sparsedet.views import concatenated, two_views
from networks.detection.samples import preprocess, to_samples
from tests.helpers.small_detectors import ONE, TWO
from tests.lightning_modules.sparsedet.cases import batch, module
from visionscapes.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore:.*tensors of the backbone")


def test_views_in_one_pass_are_those_of_two():
    detector = module("Detector").detector
    found = batch(ONE, TWO)
    f_o, f_a, samples = two_views(detector, found, training=True)
    for view, features in (("image", f_o), ("second_view", f_a)):
        images, alone = preprocess(detector, found[view], to_samples(found), training=True)
        for ours, theirs in zip(features, detector.extract_feat(images), strict=True):
            torch.testing.assert_close(ours, theirs)
    assert len(samples) == 2
    assert [each.metainfo for each in samples] == [each.metainfo for each in alone]
    assert not any(torch.equal(a, b) for a, b in zip(f_o, f_a, strict=True))


def test_views_of_several_sizes_are_padded_alike():
    detector = module("Detector").detector
    found = batch(ONE, TWO)
    wide = batch(ONE, size=(64, 96))
    for key in ("image", "second_view", "size"):
        found[key][1] = wide[key][0]
    f_o, f_a, samples = two_views(detector, found, training=True)
    assert [level.shape for level in f_o] == [level.shape for level in f_a]
    assert f_o[0].shape[2:] == (16, 24)
    assert [each.metainfo["img_shape"] for each in samples] == [(64, 64), (64, 96)]
    assert {each.metainfo["batch_input_shape"] for each in samples} == {(64, 96)}


def test_a_batch_without_second_view():
    found = batch(ONE)
    del found["second_view"]
    with pytest.raises(UserError, match=r"second_view=datamodules\.SecondView"):
        two_views(module("Detector").detector, found, training=True)


def test_concatenation_keeps_levels_and_order():
    first, second = ([torch.full((2, 3, side, side), value) for side in (4, 2)] for value in (1.0, 2.0))
    joined = concatenated(tuple(first), tuple(second))
    assert [tuple(level.shape) for level in joined] == [(2, 6, 4, 4), (2, 6, 2, 2)]
    assert joined[1][0, :, 0, 0].tolist() == [1, 1, 1, 2, 2, 2]
