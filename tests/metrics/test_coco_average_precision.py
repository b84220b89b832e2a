import numpy as np
import pytest
from pycocotools import mask as rle

from benchmarks.coco_evaluation import our_curves, pycocotools_curves
from metrics.coco_average_precision import best_of_picture, mask_areas
from tests.callbacks.detection.cases import fuzzed


@pytest.mark.parametrize("seed", range(12))
def test_equals_pycocotools(seed):
    options = [
        {},
        {"ties": True, "crowds": 0.4},
        {"detections": 400, "classes": 2, "pictures": 4},  # more than a hundred of a class in a picture
        {"masks": True, "crowds": 0.3, "detections": 15},
        {"masks": True, "ties": True, "detections": 15},
        {"pictures": 2, "objects": 3, "classes": 5},
    ][seed % 6]
    images = fuzzed(np.random.default_rng(seed), **options)
    ours, theirs = (f(images, 5, "masks" in options) for f in (our_curves, pycocotools_curves))
    assert (theirs.precision > 0).any() or options.get("objects") == 3
    np.testing.assert_allclose(ours.precision, theirs.precision, rtol=0, atol=1e-12)
    np.testing.assert_allclose(ours.recall, theirs.recall, rtol=0, atol=1e-12)
    np.testing.assert_allclose(ours.scores, theirs.scores, rtol=0, atol=1e-7)


@pytest.mark.parametrize("seed", range(4))
def test_figures_and_curves_of_a_class_are_those_of_pycocotools(seed):
    """Of five classes two have no object."""
    images = fuzzed(np.random.default_rng(seed), ties=seed % 2 == 1)
    ours, theirs = our_curves(images, 5), pycocotools_curves(images, 5)
    for threshold, area in ((None, "all"), (50, "all"), (75, "all"), (None, "small"), (None, "large")):
        place = ["all", "small", "medium", "large"].index(area)
        rows = slice(None) if threshold is None else slice((threshold - 50) // 5, (threshold - 50) // 5 + 1)
        expected = [
            values.mean() if (values := theirs.precision[rows, :, label, place])[0, 0] > -1 else np.nan
            for label in range(5)
        ]
        np.testing.assert_allclose(ours.of_classes(threshold, area), expected, rtol=0, atol=1e-12)
    assert np.nanmean(ours.of_classes()) == pytest.approx(ours.average_precision(), abs=1e-12)
    assert np.isnan(ours.of_classes()[3:]).all()
    assert np.nanmean(ours.recall_of_classes()) == pytest.approx(ours.average_recall(), abs=1e-12)
    precision, scores = ours.at(50)
    np.testing.assert_allclose(precision[:, :3], theirs.precision[0, :, :3, 0], rtol=0, atol=1e-12)
    np.testing.assert_allclose(scores[:, :3], theirs.scores[0, :, :3, 0], rtol=0, atol=1e-7)
    assert np.isnan(precision[:, 3:]).all()


@pytest.mark.parametrize("count", [0, 1, 200, 601])
def test_areas_of_any_number_of_masks(count):
    pixels = np.random.default_rng(0).random((6, 7, count)) < np.linspace(0, 1, count)
    masks = rle.encode(np.asfortranarray(pixels.astype(np.uint8))) if count else []
    assert mask_areas(masks).tolist() == pixels.sum((0, 1)).tolist()


@pytest.mark.parametrize("seed", range(4))
def test_the_best_of_a_picture_are_those_of_a_plain_version(seed):
    rng = np.random.default_rng(seed)
    pictures, scores = rng.integers(0, 4, 40), rng.integers(0, 5, 40) / 5
    expected = np.zeros(40, bool)
    for picture in range(4):
        rows = sorted(np.flatnonzero(pictures == picture), key=lambda row: -scores[row])  # equal ones keep their order
        expected[rows[:6]] = True
    assert best_of_picture(pictures, scores, 6).tolist() == expected.tolist()
    assert best_of_picture(pictures[:0], scores[:0], 6).tolist() == []
