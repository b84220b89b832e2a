import numpy as np
import pytest

from metrics.label_statistics import GRID, MANY, SIDES, Labels, histogram, label_statistics


def labels(rows, sizes):
    """From rows (picture, label, x1, y1, x2, y2[, "ignored"])."""
    return Labels(
        sizes=np.array(sizes).reshape(-1, 2),
        pictures=np.array([row[0] for row in rows], np.int64),
        labels=np.array([row[1] for row in rows], np.int64),
        boxes=np.array([row[2:6] for row in rows], np.float32).reshape(-1, 4),
        ignored=np.array(["ignored" in row for row in rows], bool),
    )


def test_counts_by_hand():
    rows = [
        (0, 1, 0, 0, 20, 10),
        (0, 1, 50, 50, 90, 90),
        (0, 0, 0, 0, 100, 100, "ignored"),
        (2, 1, 0, 100, 100, 200),
        (2, 2, 0, 0, 32, 32),
    ]
    found = label_statistics(labels(rows, [(100, 100), (50, 50), (200, 100)]), 4)
    assert (found.pictures, found.empty, found.ignored) == (3, 1, 1)
    assert found.objects.tolist() == [0, 3, 1, 0]
    assert found.shown_in.tolist() == [0, 2, 1, 0]
    assert found.side[1:3].tolist() == [40, 32]
    assert found.shape[1:3].tolist() == [1, 1]
    assert np.isnan(found.side[[0, 3]]).all()
    assert (found.small.tolist(), found.medium.tolist()) == ([0, 1, 0, 0], [0, 1, 1, 0])  # 32² itself is medium
    assert found.large.tolist() == [0, 1, 0, 0]
    assert found.a_picture[:4].tolist() == [1, 0, 2, 0]
    middle = GRID * 7 // 10
    assert found.places[middle, middle] == 1  # of (50, 50, 90, 90) in 100 x 100
    assert found.places[GRID * 3 // 4, GRID // 2] == 1  # of (0, 100, 100, 200) in a picture of 200 x 100
    assert found.places.sum() == found.sides.sum() == found.shapes.sum() == 4


def test_every_object_is_counted_once():
    rng = np.random.default_rng(0)
    boxes = np.sort(rng.uniform(-5, 3000, (400, 2, 2)), 1).reshape(-1, 4)
    columns = (rng.integers(0, 9, 400).tolist(), rng.integers(0, 5, 400).tolist(), boxes.tolist())
    rows = [(picture, label, *box) for picture, label, box in zip(*columns, strict=True)]
    found = label_statistics(labels(rows, [(500, 700)] * 9), 5)
    sums = (found.objects, found.small + found.medium + found.large, found.sides, found.shapes, found.places)
    assert [each.sum() for each in sums] == [400] * 5
    assert found.a_picture[MANY] == sum(np.bincount([row[0] for row in rows]) >= MANY)
    for label in range(5):
        areas = [(row[4] - row[2]) * (row[5] - row[3]) for row in rows if row[1] == label]
        assert found.side[label] == pytest.approx(np.median(np.sqrt(areas)), rel=1e-5)


def test_nothing_annotated():
    found = label_statistics(labels([], [(10, 10)]), 2)
    assert (found.pictures, found.empty, found.objects.tolist()) == (1, 1, [0, 0])


def test_boxes_without_area_are_counted():
    found = label_statistics(labels([(0, 0, 5, 5, 5, 9), (0, 0, 5, 5, 9, 5), (0, 0, 5, 5, 5, 5)], [(10, 10)]), 1)
    assert found.objects.tolist() == [3]
    assert found.shapes[0] == found.shapes[-1] == 1


def test_what_lies_beyond_is_in_the_outer_bins():
    counts = histogram(np.array([0.1, 2.0, 2.9, 1e6]), SIDES)
    assert (counts[0], counts[1], counts[-1], counts.sum()) == (2, 1, 1, 4)
