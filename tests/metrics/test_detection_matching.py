import hotcoco
import numpy as np
import pytest

from metrics.detection_matching import confusion_matrix, matched
from tests.callbacks.detection.cases import fuzzed, image

BOX = (10, 10, 50, 50)
NEAR = (12, 10, 52, 50)


def matrix_of(each, classes=3, **options):
    matching = matched(each.found, each.truth, **options)
    return confusion_matrix(
        matching, each.found["labels"], each.truth["labels"], ignored=each.truth["ignored"], classes=classes
    )


def matrix(truth, found, **options):
    return matrix_of(image(truth, found), **options).tolist()


def of_hotcoco(images, classes, min_score):
    truth, found = [], []
    for number, each in enumerate(images, 1):
        truth += [(number, *row) for row in zip(each.truth["labels"], each.truth["boxes"], strict=True)]
        columns = (each.found[key] for key in ("labels", "boxes", "scores"))
        found += [(number, *row) for row in zip(*columns, strict=True)]
    boxes = np.array([row[2] for row in truth], float).reshape(-1, 4)
    boxes[:, 2:] -= boxes[:, :2]
    coco = hotcoco.COCO.from_arrays(
        [{"id": k + 1, "height": each.size[0], "width": each.size[1]} for k, each in enumerate(images)],
        [{"id": k + 1, "name": str(k)} for k in range(classes)],
        np.array([row[0] for row in truth]),
        np.array([row[1] + 1 for row in truth]),
        boxes,
        area=boxes[:, 2:].prod(1),
        iscrowd=np.zeros(len(truth), bool),
    )
    rows = [(number, *box[:2], *(box[2:] - box[:2]), score, label + 1) for number, label, box, score in found]
    evaluation = hotcoco.COCOeval(coco, coco.load_res(np.array(rows, float)), "bbox")
    return evaluation.confusion_matrix(iou_thr=0.5, max_det=10_000, min_score=min_score)["matrix"].astype(np.int64)


@pytest.mark.parametrize("seed", range(8))
def test_equals_hotcoco(seed):
    """Without crowds, which hotcoco calls background, and without ties."""
    rng = np.random.default_rng(seed)
    images = fuzzed(rng, pictures=40, classes=4, crowds=0.0)
    for each in images:
        labels, some = each.found["labels"], rng.random(len(each.found["labels"])) < 0.4
        labels[some] = rng.integers(0, 4, some.sum())
    ours = sum(matrix_of(each, classes=4, min_score=0.3) for each in images)
    assert np.diag(ours).sum() > 10
    assert ours[:4, :4].sum() - np.diag(ours).sum() > 5
    assert np.array_equal(ours, of_hotcoco(images, 4, 0.3))


def test_hits_confusions_misses_and_false_detections():
    truth = [(0, *BOX), (1, 60, 60, 90, 90), (2, 0, 60, 20, 90)]
    found = [(0, 0.9, *BOX), (2, 0.8, 60, 60, 90, 90), (1, 0.7, 60, 0, 90, 20)]
    assert matrix(truth, found) == [[1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 1, 0, 0]]


def test_nothing_found_and_nothing_there():
    assert matrix([(0, *BOX)], []) == [[0, 0, 0, 1], [0] * 4, [0] * 4, [0] * 4]
    assert matrix([], [(0, 0.9, *BOX)]) == [[0] * 4, [0] * 4, [0] * 4, [1, 0, 0, 0]]
    assert np.sum(matrix([], [])) == 0


def test_the_better_scored_detection_takes_the_object():
    """Though the other one overlaps it more, and though it is of another class."""
    found = [(0, 0.5, *BOX), (1, 0.9, *NEAR)]
    assert matrix([(0, *BOX)], found) == [[0, 1, 0, 0], [0] * 4, [0] * 4, [1, 0, 0, 0]]


def test_of_equal_scores_the_earlier_detection_is_first():
    assert matrix([(0, *BOX)], [(1, 0.5, *NEAR), (0, 0.5, *BOX)])[0] == [0, 1, 0, 0]
    assert matrix([(0, *BOX)], [(0, 0.5, *BOX), (1, 0.5, *NEAR)])[0] == [1, 0, 0, 0]


def test_of_equal_overlaps_the_earlier_object_is_met():
    assert matrix([(0, *BOX), (1, *BOX)], [(1, 0.5, *BOX)])[0] == [0, 1, 0, 0]
    assert matrix([(1, *BOX), (0, *BOX)], [(1, 0.5, *BOX)])[0] == [0, 0, 0, 1]


def test_a_second_detection_takes_the_next_free_object():
    truth = [(0, *BOX), (1, *NEAR)]
    assert matrix(truth, [(0, 0.9, *BOX), (1, 0.8, *BOX)]) == [[1, 0, 0, 0], [0, 1, 0, 0], [0] * 4, [0] * 4]


@pytest.mark.parametrize(("width", "hit"), [(20.0, 1), (20.1, 0)])
def test_half_an_overlap_is_enough(width, hit):
    assert matrix([(0, 0, 0, 10, 10)], [(0, 0.5, 0, 0, width, 10)])[0][0] == hit


def test_equal_boxes_meet_at_any_threshold():
    assert matrix([(0, 0.1, 0.2, 7.3, 9.1)], [(0, 0.5, 0.1, 0.2, 7.3, 9.1)], threshold=1.0)[0][0] == 1


@pytest.mark.parametrize(("score", "counted"), [(0.5, 1), (0.49, 0)])
def test_the_least_score_takes_part(score, counted):
    assert np.sum(matrix([], [(0, score, *BOX)], min_score=0.5)) == counted


def test_in_crowds_detections_of_their_class_are_neither_hit_nor_mistake():
    crowd = [(0, 10, 10, 90, 90, "ignored")]
    inside = [(0, 0.9, 20, 20, 40, 40), (0, 0.8, 50, 50, 80, 80)]
    assert np.sum(matrix(crowd, inside)) == 0
    assert matrix(crowd, [(1, 0.9, 20, 20, 40, 40)])[3] == [0, 1, 0, 0]  # of another class
    assert np.sum(matrix(crowd, [(0, 0.9, 0, 10, 20, 90)])) == 0  # half of it lies in the crowd
    assert matrix(crowd, [(0, 0.9, 0, 10, 19, 90)])[3] == [1, 0, 0, 0]


def test_an_object_in_a_crowd_is_met_before_the_crowd():
    truth = [(0, 10, 10, 90, 90, "ignored"), (0, *BOX)]
    assert matrix(truth, [(0, 0.9, *BOX), (0, 0.8, *BOX)]) == [[1, 0, 0, 0], [0] * 4, [0] * 4, [0] * 4]


def test_classes_that_nobody_verified_are_no_mistakes():
    found = [(0, 0.9, *BOX), (1, 0.8, 60, 60, 90, 90), (2, 0.7, 60, 0, 90, 20)]
    ours = matrix([(0, *BOX)], found, unverified=np.array([0, 1]))
    assert ours == [[1, 0, 0, 0], [0] * 4, [0] * 4, [0, 0, 1, 0]]


def test_boxes_without_area_meet_nothing():
    assert matrix([(0, 5, 5, 5, 9)], [(0, 0.9, 5, 5, 5, 9)])[0] == [0, 0, 0, 1]
