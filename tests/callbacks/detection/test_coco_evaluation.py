import csv
import math

import numpy as np
import pytest

from callbacks.detection.coco_evaluation import COCOEvaluation
from tests.callbacks.detection.cases import FakeData, fuzzed, image, mottled, run_test


def figures(images, method="boxes"):
    rows = COCOEvaluation().figures(images, FakeData([]))
    return {row.metric: row.value for row in rows if row.method == method}


def test_by_hand():
    # IoU 1 and 0.8, then a miss with a low score, another with a high one.
    truth = [(0, 0, 0, 10, 10), (0, 50, 50, 60, 60), (1, 0, 0, 100, 100)]
    found = [(0, 0.9, 0, 0, 10, 10), (0, 0.8, 50, 50, 60, 58), (0, 0.1, 80, 80, 90, 90)]
    values = figures([image(truth, [*found, (1, 0.9, 0, 0, 2, 2), (1, 0.8, 0, 0, 100, 100)])])
    # Of class 0 both are found up to 0.80, one of two from 0.85 on: precision 1 at recalls 0 to 0.5, 51 of 101.
    first = (7 + 3 * 51 / 101) / 10
    assert values["AP"] == pytest.approx((first + 0.5) / 2)
    assert values["AP50"] == pytest.approx((1 + 0.5) / 2)
    assert values["APs"] == pytest.approx(first)
    assert values["APl"] == pytest.approx(1)  # the small miss is none of the large ones
    assert math.isnan(values["APm"])
    assert values["AR@100"] == pytest.approx(((7 + 3 * 0.5) / 10 + 1) / 2)


def test_groups_of_classes_have_figures_of_their_own():
    seen = image([(0, 0, 0, 10, 10), (1, 50, 50, 60, 60)], [(0, 0.9, 0, 0, 10, 10)])
    groups = {"f": np.array([0]), "r": np.array([1]), "fr": np.array([0, 1])}
    rows = COCOEvaluation().figures([seen], FakeData([], class_groups=groups))
    values = {row.metric: row.value for row in rows}
    assert (values["APf"], values["APr"], values["APfr"]) == pytest.approx((1, 0, 0.5))
    assert values["APfr"] == values["AP"]
    assert "APf" not in figures([seen])


def test_a_crowd_is_neither_hit_nor_miss():
    truth = [(0, 0, 0, 10, 10), (0, 50, 50, 90, 90, "ignored")]
    inside = [(0, 0.9, 55, 55, 60, 60), (0, 0.8, 60, 60, 70, 70)]
    assert figures([image(truth, [*inside, (0, 0.5, 0, 0, 10, 10)])])["AP"] == pytest.approx(1)
    assert figures([image(truth, [(1, 0.9, 55, 55, 60, 60), (0, 0.5, 0, 0, 10, 10)])])["AP"] == pytest.approx(
        1
    )  # class 1 has none
    assert figures([image(truth, [(0, 0.9, 20, 20, 30, 30), (0, 0.5, 0, 0, 10, 10)])])["AP"] == pytest.approx(0.5)


def test_nothing_detected_is_zero_and_nothing_to_find_is_nan():
    none = figures([image([(0, 0, 0, 10, 10)])])
    assert (none["AP"], none["AP50"], none["APs"], none["AR@100"]) == (0, 0, 0, 0)
    for found in ([], [(0, 0.5, 0, 0, 10, 10)]):
        assert all(math.isnan(value) for value in figures([image(found=found)]).values())


def test_masks_are_figures_of_their_own_with_their_own_areas():
    rng = np.random.default_rng(0)
    boxes = np.array([[0, 0, 100, 100]], np.float32)  # a large box with a mask of 81 percent, which is medium
    masks = mottled(rng, boxes)
    masked = image(
        [(0, 0, 0, 100, 100)], [(0, 0.9, 0, 0, 100, 100)], size=(160, 160), found_masks=masks, true_masks=masks
    )
    masked.truth["areas"][:] = 9000
    assert figures([masked], "masks")["APm"] == figures([masked], "boxes")["APm"] == pytest.approx(1)
    assert math.isnan(figures([masked], "masks")["APl"])
    half = image(**{"truth": [(0, 0, 0, 100, 100)], "found": [(0, 0.9, 0, 0, 100, 100)]}, size=(160, 160))
    assert figures([masked, half], "masks") == {}  # not every picture has masks


def test_rows_logs_and_file(tmp_path):
    callback = COCOEvaluation()
    trainer = run_test(tmp_path, [callback], fuzzed(np.random.default_rng(1), masks=True))
    names = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR@100"]
    assert [(row.metric, row.method) for row in callback.results] == [
        (name, method) for method in ("boxes", "masks") for name in names
    ]
    with (tmp_path / "results" / "coco.csv").open() as file:
        written = list(csv.DictReader(file))
    for row, line in zip(callback.results, written, strict=True):
        assert (row.protocol, row.image_size, row.count) == ("coco", 80, 6)
        logged = float(trainer.callback_metrics[f"coco/{row.metric}/{row.method}"])
        assert logged == pytest.approx(row.value, nan_ok=True)
        assert line["value"] == str(row.value)
    assert callback.results[0].value > 0.01
