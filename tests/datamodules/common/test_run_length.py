import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as rle

from datamodules.analysis.masks import (
    decoded,
)
from datamodules.common.run_length import compressed
from tests.helpers.replicas_vit import crowd_rle, filled, polygon


def array(mask):
    return np.asarray(decoded(mask)).astype(bool)


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 12))
def test_run_lengths_give_the_mask_back(seed, width, height):
    mask = np.random.default_rng(seed).random((height, width)) < 0.5
    found, invalid = compressed(crowd_rle(mask), height, width)
    assert invalid == 0
    assert (found is None) == (not mask.any())
    if found is not None:
        assert (array(found) == mask).all()
        again, invalid = compressed({"size": [height, width], "counts": found["counts"]}, height, width)
        assert (array(again) == mask).all()
        assert invalid == 0


def test_polygons_of_one_instance_are_united_and_short_ones_counted():
    boxes = (2, 3, 8, 9), (6, 5, 14, 12)
    segmentation = [polygon(*boxes[0]), [1, 1, 5, 5], polygon(*boxes[1]), [], [1, 1, 5, 5, 9]]
    found, invalid = compressed(segmentation, 20, 16)
    assert invalid == 3
    assert (array(found) == filled((16, 20), *boxes)).all()


@pytest.mark.parametrize(
    "segmentation", [[], [[1, 2, 3, 4]], [[5, 5, 5, 5, 5, 5]], crowd_rle(np.zeros((20, 16), bool))]
)
def test_an_instance_without_pixels_is_none(segmentation):
    found, invalid = compressed(segmentation, 20, 16)
    assert found is None
    assert invalid == (segmentation == [[1, 2, 3, 4]])


def test_a_polygon_may_reach_the_border():
    found, _ = compressed([polygon(10, 12, 16, 20)], 20, 16)
    assert (array(found) == filled((16, 20), (10, 12, 16, 20))).all()


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf"), 1e9, 1e6])
def test_a_corner_that_is_nowhere_is_refused(number):
    """pycocotools would take memory until none is left."""
    with pytest.raises(ValueError, match="a polygon with the coordinate"):
        compressed([[1, 1, 9, number, 9, 9, 1, 8]], 64, 96)


@pytest.mark.parametrize("counts", [[10, 5], [10.5, 6133.5], [10, -1, 6135], [6145], "zz~~", "1", "PPY3n"])
def test_run_lengths_that_do_not_fill_the_picture_are_refused(counts):
    """pycocotools would leave the rest as it is in memory."""
    with pytest.raises(ValueError, match="run lengths"):
        compressed({"size": [64, 96], "counts": counts}, 64, 96)


def test_run_lengths_of_every_mask_are_read_back():
    rng = np.random.default_rng(0)
    for share in (0.0, 0.02, 0.5, 0.98, 1.0):
        for height, width in ((1, 1), (7, 5), (64, 96), (300, 40)):
            mask = np.asfortranarray(rng.random((height, width)) < share, np.uint8)
            encoded = rle.encode(mask)
            found, invalid = compressed({"size": [height, width], "counts": encoded["counts"].decode()}, height, width)
            assert invalid == 0
            assert (found is None) == (mask.sum() == 0)
            if found is not None:
                assert (rle.decode(found) == mask).all()
