import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from callbacks.detection.report.mistakes import SIDE, mistakes_in, with_picture, worst
from metrics.detection_matching import matched
from tests.callbacks.detection.cases import CLASSES, image
from tests.helpers.image_files import pixels

BOX, FAR = (10, 10, 50, 50), (60, 60, 90, 90)


def mistakes(truth, found, min_score=0.3):
    each = image(truth, found, 7)
    return mistakes_in(each, matched(each.found, each.truth, min_score=min_score), min_score, CLASSES)


def test_every_kind_of_mistake():
    truth = [(0, *BOX), (1, *FAR), (2, 0, 60, 20, 90)]
    found = [(0, 0.9, *BOX), (3, 0.8, *FAR), (4, 0.7, 60, 0, 90, 20)]
    missed, confused, false = mistakes(truth, found)
    assert (missed.kind, missed.label, missed.score, missed.note) == ("missed", 2, 0, "no detection")
    assert (missed.true_box, missed.found_box) == ((0, 60, 20, 90), None)
    assert (confused.kind, confused.label, confused.truth, confused.score) == ("confused", 3, 1, pytest.approx(0.8))
    assert (false.kind, false.label, false.note, false.true_box) == ("false", 4, "nothing there", None)
    assert false.share == pytest.approx(0.06)
    assert {each.image_id for each in (missed, confused, false)} == {7}


def test_hits_and_crowds_are_no_mistakes():
    assert mistakes([(0, *BOX)], [(0, 0.9, *BOX)]) == []
    assert mistakes([(0, 0, 0, 90, 90, "ignored")], [(0, 0.9, *BOX)]) == []


def test_what_was_found_faintly_is_missed_with_its_score():
    [found] = mistakes([(0, *BOX)], [(0, 0.1, *BOX), (0, 0.2, 12, 10, 52, 50), (1, 0.25, *BOX)])
    assert (found.kind, found.score, found.found_box) == ("missed", pytest.approx(0.2), (12, 10, 52, 50))


def test_why_a_detection_is_false():
    notes = [
        each.note
        for each in mistakes([(0, *BOX)], [(0, 0.9, *BOX), (0, 0.8, 10, 10, 50, 48), (1, 0.7, 10, 10, 50, 22)])
    ]
    assert notes == ["second one on: apple", "IoU 0.30 with: apple"]


def test_the_worst_come_first_and_no_class_is_alone():
    [example] = mistakes([], [(0, 0.9, *BOX)])
    many = [replace(example, score=k / 10, label=int(k == 3)) for k in range(10)]
    kept = worst(many, 8)
    assert [round(each.score, 1) for each in kept] == [0.9, 0.8, 0.3]  # two of a class, or a quarter
    faint = [
        replace(example, kind="missed", score=score, share=share, label=k)
        for k, (score, share) in enumerate([(0.2, 0.5), (0.0, 0.1), (0.0, 0.4)])
    ]
    assert [each.label for each in worst(faint, 3)] == [2, 1, 0]
    assert worst(many, 0) == []


def test_the_worst_of_parts_are_the_worst_of_all():
    [example] = mistakes([], [(0, 0.9, *BOX)])
    rng = np.random.default_rng(0)
    many = [replace(example, score=float(rng.random()), label=int(rng.integers(3)), image_id=k) for k in range(300)]
    kept = []
    for start in range(0, 300, 7):
        kept = worst([*kept, *many[start : start + 7]], 10)
    assert kept == worst(many, 10)


@pytest.mark.parametrize("size", [(100, 100), (3, 500), (2000, 1500), (1, 1)])
def test_pictures_show_what_is_around(size):
    height, width = size
    [mistake] = mistakes([], [(0, 0.9, width / 4, height / 4, width / 2, height / 2)])
    found = with_picture(mistake, Image.fromarray(pixels(max(1, height // 2), max(1, width // 2))), size)
    with Image.open(io.BytesIO(found.picture)) as picture:
        assert max(picture.size) == SIDE
    assert found.embedded


def test_boxes_are_drawn_in_place():
    [mistake] = mistakes([], [(0, 0.9, 40, 40, 60, 60)])
    found = with_picture(mistake, Image.new("RGB", (100, 100), (0, 0, 90)), (100, 100))
    with Image.open(io.BytesIO(found.picture)) as picture:
        orange = np.asarray(picture.convert("RGB")).astype(int)
    warm = orange[..., 0] - orange[..., 2] > 90
    side = picture.width / 64  # 64 pixels of the original are shown, 18 to 82
    rows, columns = warm.nonzero()
    assert abs(columns.min() - 22 * side) < 4
    assert abs(columns.max() - 42 * side) < 4
    assert abs(rows.min() - 22 * side) < 4
