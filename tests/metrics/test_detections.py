import numpy as np
import pytest

from metrics.detections import Annotated, Detected, selected

KEPT = np.array([False, True, False, True])


def masks(count):
    return [{"size": [4, 4], "counts": str(number)} for number in range(count)]


@pytest.mark.parametrize("with_masks", [False, True])
def test_all_columns_lose_the_same_rows(with_masks):
    boxes = np.arange(16.0).reshape(4, 4)
    annotated = Annotated(
        np.array([0, 0, 1, 2]),
        np.array([3, 4, 5, 6]),
        boxes,
        boxes[:, 0] * 2,
        np.array([True, False, False, True]),
        masks(4) if with_masks else None,
    )
    detected = Detected(
        np.array([0, 1, 1, 2]),
        np.array([3, 4, 5, 6]),
        boxes,
        np.array([0.1, 0.2, 0.3, 0.4]),
        masks(4) if with_masks else None,
    )
    for columns in (annotated, detected):
        found = selected(columns, KEPT)
        assert type(found) is type(columns)
        assert found.labels.tolist() == [4, 6]
        assert found.boxes.tolist() == boxes[[1, 3]].tolist()
        assert found.masks == ([masks(4)[1], masks(4)[3]] if with_masks else None)
    assert selected(annotated, KEPT).pictures.tolist() == [0, 2]
    assert selected(annotated, KEPT).areas.tolist() == [8, 24]
    assert selected(annotated, KEPT).ignored.tolist() == [False, True]
    assert selected(detected, KEPT).pictures.tolist() == [1, 2]
    assert selected(detected, KEPT).scores.tolist() == [0.2, 0.4]


def test_no_masks_stay_none_and_nothing_kept_is_empty():
    boxes = np.zeros((4, 4))
    detected = Detected(np.arange(4), np.arange(4), boxes, np.ones(4))
    assert selected(detected, KEPT).masks is None
    nothing = selected(detected, np.zeros(4, bool))
    assert nothing.boxes.shape == (0, 4)
    assert nothing.masks is None
