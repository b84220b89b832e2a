import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
