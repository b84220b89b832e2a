import numpy as np
import pytest

from callbacks.detection.filter_writer import STEP_WORDS, FilterWriter, truth_of, verdict_of
from lightning_modules.gen2det.filtering import STEPS, PictureEvidence
from visionscapes.errors import UserError


def entry(verdicts, low_quality=False):
    return {"truth": {"verdicts": verdicts, "low_quality": low_quality, "extra": []}}


def test_precision_and_recall_by_hand():
    entries = [
        entry(["right", "missing", "right"]),
        entry(["wrong class", "right"]),
        entry(["right"], low_quality=True),
        entry([], low_quality=True),
    ]
    found = [["kept", "unseen", "kept"], ["kept", "small"], None, []]
    assert truth_of(entries, found) == {
        "pictures": {"there": {"good": 2, "bad": 2}, "kept": {"good": 2, "bad": 1}, "precision": 2 / 3, "recall": 1.0},
        "annotations": {
            "there": {"right": 3, "wrong class": 1, "missing": 1},
            "kept": {"right": 2, "wrong class": 1, "missing": 0},
            "precision": 2 / 3,
            "recall": 2 / 3,
        },
    }
    assert truth_of([{"truth": None}], [["kept"]]) is None


def test_the_line_about_a_picture_leaves_crowds_alone():
    boxes, labels, seen = np.zeros((2, 4), np.float32), np.array([0, 1]), np.array([0.1, 0.9], np.float32)
    picture = PictureEvidence("a-0", 0.25, size=(9, 9), boxes=boxes, labels=labels, seen=seen)
    own = {"source_id": 1, "category_id": 3, "repainted": True, "bbox": [0, 0, 1, 1]}
    annotations = [own | {"id": k, "iscrowd": k // 3} for k in (1, 2, 3)]
    line = verdict_of(picture, ["unseen", "kept"], annotations)
    assert [(each["id"], each["seen"], each["verdict"]) for each in line["annotations"]] == [
        (1, 0.1, "unseen"),
        (2, 0.9, "kept"),
    ]
    assert {each["verdict"] for each in verdict_of(picture, None, annotations)["annotations"]} == {"picture"}


def test_every_step_has_words():
    assert tuple(STEP_WORDS) == STEPS


def test_options_have_bounds():
    with pytest.raises(UserError, match=r"FilterWriter\.early is 0"):
        FilterWriter(early=0)
