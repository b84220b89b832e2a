import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_modules.sparsedet.mining import overlapping, pseudo_positives, thinned

boxes_of = st.lists(
    st.tuples(*[st.integers(0, 12)] * 2, *[st.integers(1, 12)] * 2).map(
        lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
    ),
    max_size=8,
)
# Fractions that float32 holds exactly, so that "equal to the threshold" is the same for every way to compute it.
shares = st.sampled_from([0.0, 0.125, 0.25, 0.375, 0.5, 0.75, 1.0])


def as_boxes(rows) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


def iou(a, b) -> np.float32:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    inter = max(width, 0) * max(height, 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter
    return np.float32(inter) / np.float32(union)


def naive_nms(boxes, scores, threshold) -> list[int]:
    """Greedy by descending score; of equal scores the first box wins."""
    kept: list[int] = []
    for k in sorted(range(len(boxes)), key=lambda k: -scores[k]):
        if all(iou(boxes[k], boxes[other]) <= threshold for other in kept):
            kept.append(k)
    return kept


@st.composite
def scored(draw):
    rows = draw(boxes_of)
    return rows, draw(st.lists(shares, min_size=len(rows), max_size=len(rows)))


def test_mined_are_objects_far_from_annotations():
    annotated = as_boxes([(0, 0, 10, 10), (50, 50, 60, 60)])
    rows = [
        (0, 0, 10, 2),  # IoU 0.2: still far
        (0, 0, 10, 3),  # IoU 0.3
        (50, 50, 60, 58),  # on the second annotation
        (20, 20, 30, 30),  # away from both
        (20, 20, 30, 31),  # away, but no more certain than the threshold
        (80, 80, 90, 90),  # away, background
    ]
    objectness = torch.tensor([0.9, 0.9, 0.99, 0.81, 0.8, 0.1])
    mined = pseudo_positives(as_boxes(rows), objectness, annotated, tau_ppm=0.8, tau_bg=0.2)
    assert mined.tolist() == [True, False, False, True, False, False]


def test_without_annotations_objectness_alone_decides():
    boxes = as_boxes([(0, 0, 10, 10)] * 3)
    mined = pseudo_positives(boxes, torch.tensor([0.7, 0.8, 0.9]), torch.zeros(0, 4), 0.75, 0.2)
    assert mined.tolist() == [False, True, True]
    assert mined.dtype == torch.bool


@pytest.mark.parametrize("annotated", [[], [(0, 0, 4, 4)]])
def test_no_proposals(annotated):
    empty = torch.zeros(0, 4)
    assert pseudo_positives(empty, torch.zeros(0), as_boxes(annotated), 0.8, 0.2).shape == (0,)
    assert thinned(empty, torch.zeros(0), 0.3).shape == (0, 4)
    assert overlapping(empty, as_boxes(annotated)).shape == (0,)


@settings(max_examples=60, deadline=None)
@given(scored(), boxes_of, shares, shares)
def test_mining_equals_a_loop_over_boxes(found, annotated, tau_ppm, tau_bg):
    rows, objectness = found
    expected = [
        score > tau_ppm and all(iou(row, each) <= tau_bg for each in annotated)
        for row, score in zip(rows, objectness, strict=True)
    ]
    mined = pseudo_positives(as_boxes(rows), torch.tensor(objectness), as_boxes(annotated), tau_ppm, tau_bg)
    assert mined.tolist() == expected


@settings(max_examples=60, deadline=None)
@given(scored(), st.sampled_from([0.125, 0.25, 0.5]))
def test_thinning_equals_a_greedy_loop(found, threshold):
    rows, objectness = found
    expected = as_boxes([rows[k] for k in naive_nms(rows, objectness, threshold)])
    torch.testing.assert_close(thinned(as_boxes(rows), torch.tensor(objectness), threshold), expected)


def test_thinning_keeps_what_is_at_the_threshold_and_orders_by_certainty():
    boxes = as_boxes([(0, 0, 10, 5), (0, 0, 10, 10), (40, 0, 50, 10)])  # the first two have an IoU of 0.5
    objectness = torch.tensor([0.9, 0.85, 0.95])
    assert thinned(boxes, objectness, 0.5).tolist() == boxes[[2, 0, 1]].tolist()
    assert thinned(boxes, objectness, 0.49).tolist() == boxes[[2, 0]].tolist()


def test_thinning_does_not_pass_on():
    """A suppresses B, which overlaps C; C stays, for B is gone."""
    boxes = as_boxes([(0, 0, 10, 10), (4, 0, 14, 10), (8, 0, 18, 10)])
    assert thinned(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.3).tolist() == boxes[[0, 2]].tolist()


@settings(max_examples=60, deadline=None)
@given(boxes_of, boxes_of)
def test_overlapping_equals_a_loop(rows, others):
    expected = [any(iou(row, other) >= 0.5 for other in others) for row in rows]
    assert overlapping(as_boxes(rows), as_boxes(others)).tolist() == expected


def test_half_precision_is_compared_in_full():
    """1 / 3 of an IoU and boxes of odd numbers above 256, which bfloat16 does not have."""
    boxes = torch.tensor([[256.0, 0, 288, 32], [300, 0, 332, 32]])
    annotated = torch.tensor([[256.0, 0, 288, 8]])
    mined = pseudo_positives(boxes.bfloat16(), torch.tensor([0.9, 0.9]), annotated.bfloat16(), 0.8, 0.2)
    assert mined.tolist() == [False, True]
