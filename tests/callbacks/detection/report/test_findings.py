import numpy as np
import pytest

from callbacks.detection.report.findings import ends
from tests.callbacks.detection.cases import image
from tests.callbacks.detection.report.cases import findings_of, some

BOX, FAR = (10, 10, 50, 50), (60, 60, 90, 90)


def test_figures_of_a_class_by_hand():
    """One hit, one confusion, one miss and one false detection."""
    images = [
        image([(0, *BOX)], [(0, 0.9, *BOX), (1, 0.5, *FAR)], 1),
        image([(0, *BOX), (1, *FAR)], [(1, 0.8, *BOX)], 2),
    ]
    found = findings_of(images)
    assert found.precision[:2].tolist() == [1, 0]
    assert found.recall[:2].tolist() == [0.5, 0]
    assert np.isnan(found.precision[2:]).all()
    assert np.isnan(found.recall[2:]).all()
    assert found.confusions == [(0, 1, 1)]
    assert found.ranked == [0, 1]
    assert found.best.f1[0] == pytest.approx(2 * 0.5 / 1.5)  # all of the curve up to a recall of one half
    assert found.best.score[0] == pytest.approx(0.9)
    assert np.isnan(found.best.score[1:]).all()
    assert np.isnan(found.best.f1[2:]).all()


def test_the_best_score_is_a_threshold():
    """Of the detections from it on, F1 is what is said, up to the steps of the curve."""
    found, images = findings_of(some(detections=60, ties=False, crowds=0)), some(detections=60, ties=False, crowds=0)
    for label in found.ranked:
        at = found.best.score[label]
        if found.best.f1[label] > 0:
            kept = sum(int((each.found["labels"][each.found["scores"] >= at - 1e-6] == label).sum()) for each in images)
            objects = found.evaluated.objects[label]
            assert kept > 0
            assert found.best.f1[label] <= 2 * min(kept, objects) / (kept + objects) + 0.05


def test_classes_are_ranked_by_average_precision():
    found = findings_of(some(3))
    values = found.average_precision[found.ranked]
    assert (np.diff(values) <= 0).all()
    assert sorted(found.ranked) == np.flatnonzero(found.evaluated.objects).tolist()


@pytest.mark.parametrize(("count", "first", "last"), [(3, [0, 1, 2], []), (4, [0, 1, 2, 3], []), (7, [0, 1], [5, 6])])
def test_ends_of_a_list(count, first, last):
    assert ends(range(count), 4) == (first, last)
