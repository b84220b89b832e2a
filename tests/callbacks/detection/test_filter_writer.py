import numpy as np
import pytest

from callbacks.detection.filter_writer import STEP_WORDS, FilterWriter, results_of, truth_of, verdict_of
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


def test_what_is_kept_becomes_figures():
    truth = {
        "pictures": {"there": {"good": 3, "bad": 1}, "kept": {"good": 3, "bad": 0}, "precision": 1.0, "recall": 1.0},
        "annotations": {"there": {"right": 4, "missing": 0}, "kept": {"right": 2, "missing": 0}, "precision": 1.0,
                        "recall": 0.5},
    }  # fmt: skip
    summary = {
        "pictures": {"all": 4, "kept": 3},
        "annotations": {"all": {"a": 4, "b": 1}, "many": {"a": 2, "b": 0}},
        "truth": truth,
    }
    rows = {(row.method, row.metric): (row.value, row.count) for row in results_of(summary)}
    assert rows == {
        ("pictures", "kept"): (0.75, 4),
        ("pictures", "precision"): (1, 4),
        ("pictures", "recall"): (1, 4),
        ("pictures", "good kept"): (1, 4),
        ("pictures", "bad kept"): (0, 4),
        ("annotations", "kept"): (0.4, 5),
        ("annotations", "precision"): (1, 5),
        ("annotations", "recall"): (0.5, 5),
        ("annotations", "right kept"): (0.5, 5),
    }
    rows = results_of(summary | {"truth": None})
    assert [(row.method, row.metric) for row in rows] == [("pictures", "kept"), ("annotations", "kept")]


def test_every_step_has_words():
    assert tuple(STEP_WORDS) == STEPS


def test_options_have_bounds():
    with pytest.raises(UserError, match=r"FilterWriter\.early is 0"):
        FilterWriter(early=0)
