import math

import numpy as np
import pytest

from callbacks.detection.voc_evaluation import VOCEvaluation
from tests.callbacks.detection.cases import FakeData, image

ELEVEN, AREA, COCO = "AP50 (VOC 11 points)", "AP50 (VOC area)", "AP50 (COCO)"


def figures(*images):
    return {row.metric: row.value for row in VOCEvaluation().figures(images, FakeData([]))}


def boxes(count, label=0):
    return [(label, 20 * k, 0, 20 * k + 10, 10) for k in range(count)]


def found(truth, scores):
    return [(row[0], score, *row[1:5]) for row, score in zip(truth, scores, strict=True)]


def test_by_hand():
    # hit, miss, hit: precision 1 up to a recall of 1/2, then 2/3.
    truth = boxes(2)
    values = figures(image(truth, [*found(truth, [0.9, 0.5]), (0, 0.7, 50, 50, 60, 60)]))
    assert values[ELEVEN] == pytest.approx((6 * 1 + 5 * 2 / 3) / 11)
    assert values[AREA] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert values[COCO] == pytest.approx((51 * 1 + 50 * 2 / 3) / 101)


def test_a_recall_on_one_of_the_eleven_reaches_it():
    truth = [(0, x, y, x + 10, y + 10) for x in range(0, 100, 20) for y in (0, 50)]
    for hits in range(11):
        assert figures(image(truth, found(truth[:hits], np.linspace(0.9, 0.1, hits))))[ELEVEN] == pytest.approx(
            (hits + 1) / 11 if hits else 0
        )


def test_a_second_detection_is_a_miss_even_if_another_object_is_near():
    # Both overlap the first object most, the worse one also the second by more than a half.
    truth = [(0, 0, 0, 10, 10), (0, 3, 0, 13, 10)]
    values = figures(image(truth, [(0, 0.9, 0, 0, 10, 10), (0, 0.8, 1, 0, 11, 10)]))
    assert values[AREA] == pytest.approx(0.5)
    assert values[COCO] == pytest.approx(1)


@pytest.mark.parametrize("metric", [ELEVEN, AREA, COCO])
def test_difficult_objects_are_neither_hit_nor_miss(metric):
    easy, hard = (0, 0, 0, 10, 10), (0, 50, 50, 90, 90, "ignored")
    on_hard = [(0, 0.9, 50, 50, 90, 90), (0, 0.8, 50, 50, 90, 88)]
    assert figures(image([easy, hard], [*on_hard, (0, 0.5, 0, 0, 10, 10)]))[metric] == pytest.approx(1)
    assert figures(image([easy, hard], [(0, 0.5, 0, 0, 10, 10)]))[metric] == pytest.approx(1)
    assert math.isnan(figures(image([hard], on_hard))[metric])
    assert figures(image([easy, hard], [(0, 0.9, 20, 0, 30, 10), (0, 0.5, 0, 0, 10, 10)]))[metric] == pytest.approx(0.5)


def test_an_overlap_of_one_half_is_enough():
    assert figures(image([(0, 0, 0, 10, 10)], [(0, 0.9, 0, 0, 10, 5)]))[AREA] == pytest.approx(1)
    assert figures(image([(0, 0, 0, 10, 10)], [(0, 0.9, 0, 0, 10, 4.99)]))[AREA] == 0


def test_only_objects_of_the_same_picture_and_class_count_and_classes_without_any_are_left_out():
    truth = boxes(1)
    assert figures(image(truth), image(found=found(truth, [0.9])))[AREA] == 0
    assert figures(image(truth, found(boxes(1, label=1), [0.9])))[AREA] == 0
    assert figures(image([*truth, *boxes(1, label=3)], found(truth, [0.9])))[AREA] == pytest.approx(0.5)


def test_nothing_detected_is_zero_and_nothing_to_find_is_nan():
    assert set(figures(image(boxes(1))).values()) == {0}
    assert all(math.isnan(value) for value in figures(image(found=found(boxes(1), [0.5]))).values())
    assert all(math.isnan(value) for value in figures(image()).values())
