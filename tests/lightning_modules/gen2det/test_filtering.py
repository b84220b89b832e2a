"""The filter, against a naive recomputation of what the thesis says."""

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from lightning_modules.gen2det.filtering import (
    FRAME,
    KEPT,
    LONG,
    MANY,
    PICTURE,
    SMALL,
    STEPS,
    TWICE,
    UNSEEN,
    PictureEvidence,
    Rules,
    box_reasons,
    counts_by_step,
    overlaps,
    seen_scores,
    threshold_of,
    verdicts,
)
from visionscapes.errors import UserError

CLASSES = 3


def boxes_of(rng, count):
    corners = rng.uniform(0, 80, (count, 2))
    return np.concatenate([corners, corners + rng.uniform(1, 40, (count, 2))], 1).astype(np.float32)


def detections(rng, count):
    return boxes_of(rng, count), rng.uniform(0, 1, count).astype(np.float32), rng.integers(0, CLASSES, count)


def evidence(rng, name="a", count=6, score=None):
    seen = rng.uniform(0, 1, count).round(1).astype(np.float32)  # with ties
    return PictureEvidence(
        name, rng.uniform() if score is None else score, size=(100, 120), boxes=boxes_of(rng, count),
        labels=rng.integers(0, CLASSES, count), seen=seen,
    )  # fmt: skip


def test_overlaps_are_torchvisions():
    rng = np.random.default_rng(0)
    one, two = boxes_of(rng, 7), boxes_of(rng, 5)
    theirs = box_iou(torch.from_numpy(one).double(), torch.from_numpy(two).double()).numpy()
    assert np.allclose(overlaps(one, two), theirs)
    assert overlaps(one[:0], two).shape == (0, 5)
    flat = np.array([[1, 1, 1, 5]], np.float32)
    assert overlaps(flat, flat).tolist() == [[0.0]]


@pytest.mark.parametrize("class_aware", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_an_annotation_is_kept_if_any_detection_is_sure_enough_and_near_enough(class_aware, seed):
    rng = np.random.default_rng(seed)
    boxes, labels, found = boxes_of(rng, 20), rng.integers(0, CLASSES, 20), detections(rng, 60)
    seen = seen_scores(boxes, labels, found, tau_iou=0.3, class_aware=class_aware)
    ious = box_iou(torch.from_numpy(boxes).double(), torch.from_numpy(found[0]).double()).numpy()
    for tau_s in (0.0, 0.2, 0.5):
        naive = [
            any(
                found[1][j] > tau_s and ious[i, j] > 0.3 and (not class_aware or found[2][j] == labels[i])
                for j in range(60)
            )
            for i in range(20)
        ]
        assert (seen > tau_s).tolist() == naive
    assert 0 < (seen > 0.2).sum() < 20


def test_without_detections_nothing_is_seen():
    nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64)
    boxes = np.array([[0, 0, 5, 5]], np.float32)
    assert seen_scores(boxes, np.array([0]), nothing, tau_iou=0.3, class_aware=True).tolist() == [0.0]


def test_rules_about_boxes():
    boxes = np.array([[0, 0, 3, 30], [0, 0, 10, 41], [0, 0, 100, 99], [5, 5, 25, 25], [4, 4, 4, 9]], np.float32)
    rules = Rules(least_side=4, largest_aspect=4, largest_share=0.9)
    assert box_reasons(boxes, (100, 100), rules) == [SMALL, LONG, FRAME, KEPT, SMALL]
    assert box_reasons(boxes, (100, 100), Rules()) == [KEPT, KEPT, KEPT, KEPT, SMALL]


def test_of_two_that_are_the_same_the_surer_one_stays():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 11], [0, 0, 11, 10], [50, 50, 60, 60]], np.float32)
    found = PictureEvidence(
        "a", 1.0, size=(99, 99), boxes=boxes, labels=np.array([0, 0, 1, 0]), seen=np.array([0.5, 0.9, 0.4, 0.3])
    )
    (reasons,) = verdicts([found], tau_a=None, tau_s=0.2, rules=Rules(duplicate_iou=0.8))
    assert reasons == [TWICE, KEPT, KEPT, KEPT]
    (reasons,) = verdicts([found], tau_a=None, tau_s=0.95, rules=Rules(duplicate_iou=0.8))
    assert reasons == [UNSEEN] * 4


@pytest.mark.parametrize("seed", range(3))
def test_of_a_class_the_surest_stay_and_ties_go_to_the_first(seed):
    rng = np.random.default_rng(seed)
    pictures = [evidence(rng, str(k)) for k in range(8)]
    found = verdicts(pictures, tau_a=0.3, tau_s=0.2, rules=Rules(most_per_class=4))
    free = verdicts(pictures, tau_a=0.3, tau_s=0.2, rules=Rules())
    for label in range(CLASSES):
        left = [
            (-each.seen[row], k, row)
            for k, (each, reasons) in enumerate(zip(pictures, free, strict=True))
            for row in range(len(each.labels))
            if reasons is not None and reasons[row] == KEPT and each.labels[row] == label
        ]
        kept = {(k, row) for _, k, row in sorted(left)[:4]}
        assert {(k, row) for _, k, row in left if found[k][row] == KEPT} == kept
        assert {(k, row) for _, k, row in left if found[k][row] == MANY} == {(k, row) for _, k, row in left} - kept


@pytest.mark.parametrize("seed", range(3))
def test_counts_are_those_of_a_naive_recount(seed):
    rng = np.random.default_rng(seed)
    pictures = [evidence(rng, str(k)) for k in range(12)]
    rules = Rules(least_side=4, largest_aspect=6, largest_share=0.1, duplicate_iou=0.3, most_per_class=6)
    found = verdicts(pictures, tau_a=0.4, tau_s=0.3, rules=rules)
    assert [reasons is None for reasons in found] == [each.score < 0.4 for each in pictures]
    counts = counts_by_step(pictures, found, CLASSES)
    lost = [
        (int(label), PICTURE if reasons is None else reasons[row])
        for each, reasons in zip(pictures, found, strict=True)
        for row, label in enumerate(each.labels)
    ]
    for label in range(CLASSES):
        left = counts["all"][label]
        assert left == sum(one == label for one, _ in lost)
        for step in STEPS:
            left -= sum(one == label and reason == step for one, reason in lost)
            assert counts[step][label] == left
        assert counts[MANY][label] == sum(one == label and reason == KEPT for one, reason in lost)


def test_a_picture_at_the_threshold_stays_and_one_without_a_number_does_not():
    rng = np.random.default_rng(0)
    found = [evidence(rng, score=score) for score in (0.5, 0.4999, float("nan"))]
    given = verdicts(found, tau_a=0.5, tau_s=None, rules=Rules())
    assert [reasons is not None for reasons in given] == [True, False, False]


def test_the_threshold_is_a_percentile_of_the_real_scores():
    scores = np.random.default_rng(0).normal(size=200)
    tau_a = threshold_of(scores.tolist(), 5.0)
    assert (scores < tau_a).mean() == pytest.approx(0.05)


def test_rules_have_bounds():
    with pytest.raises(UserError, match=r"Rules\.largest_aspect is 0\.5; it has to be at least 1"):
        Rules(largest_aspect=0.5)
