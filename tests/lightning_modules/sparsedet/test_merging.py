import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_modules.sparsedet.merging import merged
from networks.detection.labelled import Detections, LabelledBoxes
from tests.lightning_modules.sparsedet.test_mining import as_boxes, boxes_of, iou

LEFT, RIGHT = (0, 0, 10, 10), (40, 0, 50, 10)


def annotations(*rows) -> LabelledBoxes:
    """Rows (box, label)."""
    return LabelledBoxes(as_boxes([row[0] for row in rows]), torch.tensor([row[1] for row in rows], dtype=torch.int64))


def detections(*rows) -> Detections:
    """Rows (box, label, score)."""
    labels = torch.tensor([row[1] for row in rows], dtype=torch.int64)
    return Detections(as_boxes([row[0] for row in rows]), labels, torch.tensor([float(row[2]) for row in rows]))


def rows_of(target: LabelledBoxes) -> list:
    return [(tuple(box), label) for box, label in zip(target.boxes.tolist(), target.labels.tolist(), strict=True)]


def naive(annotated, found, tau_m, threshold) -> list:
    """Annotations all stay; detections join by descending score where no box of their class is in the way."""
    result = [(tuple(map(float, box)), label) for box, label in annotated]
    for box, label, score in sorted(found, key=lambda row: -row[2]):
        if score > tau_m and all(other[1] != label or iou(box, other[0]) <= threshold for other in result):
            result.append((tuple(map(float, box)), label))
    return result


def naive_nms(annotated, found, tau_m, threshold) -> list:
    """Plain class-specific NMS, annotations with a score that nothing beats."""
    kept: list = []
    candidates = [(*row, 2.0) for row in annotated] + [row for row in found if row[2] > tau_m]
    for place, (box, label, _) in sorted(enumerate(candidates), key=lambda item: -item[1][2]):
        if all(other[1] != label or iou(box, other[0]) <= threshold for _, other in kept):
            kept.append((place, (tuple(map(float, box)), label)))
    count = len(annotated)
    return [row for place, row in sorted(kept) if place < count] + [row for place, row in kept if place >= count]


labels = st.integers(0, 2)


@st.composite
def cases(draw):
    annotated = [(box, draw(labels)) for box in draw(boxes_of)]
    scores = st.sampled_from([0.5, 0.75, 0.8125, 0.875, 0.9375, 1.0])
    found = [(box, draw(labels), draw(scores)) for box in draw(boxes_of)]
    return annotated, found


@settings(max_examples=60, deadline=None)
@given(cases(), st.sampled_from([0.0, 0.75, 0.875, 1.0]), st.sampled_from([0.25, 0.5]))
def test_merging_equals_a_loop(case, tau_m, threshold):
    annotated, found = case
    target = merged(annotations(*annotated), detections(*found), tau_m, threshold)
    assert rows_of(target) == naive(annotated, found, tau_m, threshold)


@settings(max_examples=60, deadline=None)
@given(cases(), st.sampled_from([0.0, 0.75, 1.0]), st.sampled_from([0.25, 0.5]))
def test_merging_of_the_official_code_equals_nms(case, tau_m, threshold):
    annotated, found = case
    target = merged(annotations(*annotated), detections(*found), tau_m, threshold, keep_all=False)
    assert rows_of(target) == naive_nms(annotated, found, tau_m, threshold)


def test_only_what_is_above_the_threshold_joins():
    found = detections((LEFT, 0, 0.9), (RIGHT, 0, 0.91))
    assert rows_of(merged(annotations(), found, 0.9)) == [(RIGHT, 0)]


def test_detections_of_another_class_join_at_the_same_place():
    target = merged(annotations((LEFT, 0)), detections((LEFT, 1, 0.95), (LEFT, 0, 0.99)), 0.9)
    assert rows_of(target) == [(LEFT, 0), (LEFT, 1)]


def test_annotations_win_against_a_score_of_one():
    shifted = (1, 0, 11, 10)
    assert rows_of(merged(annotations((LEFT, 0)), detections((shifted, 0, 1.0)), 0.9)) == [(LEFT, 0)]
    assert rows_of(merged(annotations((LEFT, 0)), detections((shifted, 0, 1.0)), 0.9, keep_all=False)) == [(LEFT, 0)]


@pytest.mark.parametrize(("keep_all", "expected"), [(True, [(LEFT, 0), ((2, 0, 12, 10), 0)]), (False, [(LEFT, 0)])])
def test_annotations_that_overlap(keep_all, expected):
    annotated = annotations((LEFT, 0), ((2, 0, 12, 10), 0))  # IoU 2 / 3
    assert rows_of(merged(annotated, detections(), 0.9, keep_all=keep_all)) == expected


def test_a_detection_on_an_annotation_takes_no_other_along():
    """The annotations overlap; a detection on the second hides no detection that lies on neither."""
    annotated = annotations(((0, 0, 10, 10), 0), ((3, 0, 13, 10), 0))
    on_second, beside = (6, 0, 16, 10), (9, 0, 19, 10)
    assert iou(on_second, (3, 0, 13, 10)) > 0.5 > iou(on_second, (0, 0, 10, 10))
    assert iou(on_second, beside) > 0.5 > iou(beside, (3, 0, 13, 10))
    target = merged(annotated, detections((on_second, 0, 0.99), (beside, 0, 0.95)), 0.9)
    assert rows_of(target)[2:] == [(beside, 0)]


def test_nothing_to_merge():
    for keep_all in (True, False):
        target = merged(annotations(), detections(), 0.9, keep_all=keep_all)
        assert target.boxes.shape == (0, 4)
        assert target.labels.shape == (0,)
        assert target.labels.dtype == torch.int64


def test_detections_follow_by_descending_score():
    found = detections((LEFT, 0, 0.92), (RIGHT, 0, 0.97), ((80, 0, 90, 10), 1, 0.95))
    target = merged(annotations(((20, 20, 30, 30), 2)), found, 0.9)
    assert rows_of(target) == [((20, 20, 30, 30), 2), (RIGHT, 0), ((80, 0, 90, 10), 1), (LEFT, 0)]
