from dataclasses import replace

import numpy as np
import pytest

from datamodules.common.inspection.classes import (
    ClassCounts,
    box_figures,
    class_counts,
    findings_of_boxes,
    findings_of_classes,
    quantiles,
)
from datamodules.common.inspection.contents import Boxes, PartContents


def boxes_of(*corners, size=(100, 200), labels=None):
    corners = np.array(corners, np.float32).reshape(-1, 4)
    labels = np.zeros(len(corners), np.int64) if labels is None else np.array(labels)
    return Boxes(corners, labels, np.tile(size, (len(corners), 1)), empty_pictures=1, ignored=2, removed=3)


def counts(*numbers, things="pictures"):
    return ClassCounts(things, tuple("abcdef"[: len(numbers)]), np.array(numbers))


def texts(findings):
    return [(each.level, each.part, each.text) for each in findings]


def test_classes_are_counted_by_what_has_them():
    part = PartContents(["x"] * 4, open=None, classes=["cat", "dog", "emu"], labels=np.array([0, 1, 1, -1]))
    counted = class_counts(part, None)
    assert (counted.things, counted.names, counted.counts.tolist()) == ("pictures", ("cat", "dog", "emu"), [1, 2, 0])
    boxed = PartContents(["x"], open=None, classes=["cat"], boxes=boxes_of((0, 0, 9, 9), (1, 1, 5, 5)))
    assert class_counts(boxed, None).counts.tolist() == [2]
    assert class_counts(PartContents(["x"], open=None), None) is None
    unnamed = PartContents(["x"], open=None, labels=np.array([2]))
    assert class_counts(unnamed, None).names == ("label 0", "label 1", "label 2")


def test_absent_rare_and_unseen_classes_are_told():
    assert texts(findings_of_classes({"train": counts(5, 4), "val": counts(1, 1)})) == []
    assert texts(findings_of_classes({"train": counts(1000, 0, 2), "val": counts(1, 1, 0)})) == [
        ("warning", "train", "1 of 3 classes have no pictures to train on"),
        ("warning", "train", "the most frequent class (a) has 500 times as many pictures as the rarest (c)"),
        ("warning", "val", "1 classes occur here and not in train"),
    ]
    assert texts(findings_of_classes({"train": counts(0, 0, things="boxes")})) == [
        ("error", "train", "there are no boxes of any class")
    ]
    assert texts(findings_of_classes({})) == []


@pytest.mark.parametrize(
    ("besides", "text"),
    [
        ({"ignored": 3}, "no boxes are left to learn from: 3 are crowds or difficult"),
        ({"removed": 4}, "no boxes are left to learn from: 4 are taken away by a sparse split or as unlabelled"),
        (
            {"ignored": 3, "removed": 4},
            "no boxes are left to learn from: 3 are crowds or difficult, 4 are taken away by a sparse split or as "
            "unlabelled",
        ),
    ],
)
def test_boxes_that_are_not_trained_on_are_not_called_none(besides, text):
    boxes = replace(boxes_of(), **{"ignored": 0, "removed": 0} | besides)
    counted = class_counts(PartContents(["x"], open=None, classes=["cat"], boxes=boxes), None)
    assert texts(findings_of_classes({"train": counted})) == [("error", "train", text)]


def test_figures_of_boxes_equal_those_by_hand():
    boxes = boxes_of((0, 0, 20, 10), (0, 0, 40, 40), (0, 0, 200, 100), (5, 5, 5, 9))
    figures = box_figures(boxes, pictures=8)
    assert (figures.count, figures.per_picture, figures.flat, figures.outside) == (4, 0.5, 1, 0)
    assert figures.areas == {"small": 1, "medium": 1, "large": 1}
    assert figures.sides[1] == pytest.approx(40)
    assert figures.aspects[1] == pytest.approx(2)
    assert (figures.empty_pictures, figures.ignored, figures.removed) == (1, 2, 3)


@pytest.mark.parametrize(
    ("corners", "text"),
    [
        ((5, 5, 5, 9), "1 of 5 boxes have no area"),
        ((150, 5, 210, 50), "1 of 5 boxes reach beyond their picture"),
        ((-3, 5, 20, 50), "1 of 5 boxes reach beyond their picture"),
        ((0, 5, 190, 10), "1 of 5 boxes are more than 20 times as long as wide"),
        ((5, 5, 8, 5.5), "1 of 5 boxes have a side below one pixel"),
    ],
)
def test_odd_boxes_are_counted(corners, text):
    boxes = boxes_of(*[(10, 10, 60, 50)] * 4, corners)
    assert texts(findings_of_boxes("train", boxes, box_figures(boxes, 5))) == [("warning", "train", text)]


def test_boxes_as_large_as_their_pictures_are_told_where_there_are_many():
    boxes = boxes_of(*[(0, 0, 200, 100)] * 4)
    (finding,) = findings_of_boxes("train", boxes, box_figures(boxes, 5))
    assert finding.text == "4 of 4 boxes are the whole picture"


def test_no_boxes_have_no_figures():
    figures = box_figures(boxes_of(), 0)
    assert (figures.count, figures.per_picture, figures.sides) == (0, 0.0, [])
    assert quantiles(np.array([])) == []
    assert list(findings_of_boxes("train", boxes_of(), figures)) == []
