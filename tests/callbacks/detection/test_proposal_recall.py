import csv
import math

import numpy as np
import pytest
import torch

from callbacks.detection.evaluation import as_array
from callbacks.detection.proposal_recall import ProposalRecall, covered
from tests.callbacks.detection.cases import FakeData, FakeDetector, fuzzed, image, random_boxes, run_test
from tests.helpers.dense_case import TinyModule
from tests.helpers.quiet_trainer import quiet_trainer
from visionscapes.errors import UserError


def boxes(*rows):
    return np.array(rows, np.float32).reshape(-1, 4)


def test_a_proposal_covers_one_object():
    two = boxes([0, 0, 10, 10], [0, 0, 10, 9])
    assert covered(two, boxes([0, 0, 10, 10])).tolist() == [True, False]
    assert covered(two, boxes([0, 0, 10, 8], [50, 50, 60, 60])).tolist() == [False, True]  # the nearer one
    assert covered(two, boxes([0, 0, 10, 8], [0, 0, 10, 6])).tolist() == [True, True]
    assert covered(boxes([0, 0, 10, 10]), boxes([0, 0, 10, 5])).tolist() == [True]  # one half is enough
    assert covered(boxes([0, 0, 10, 10]), boxes([0, 0, 10, 4.9])).tolist() == [False]
    assert covered(two, boxes()).tolist() == [False, False]
    assert covered(boxes(), two).tolist() == []


@pytest.mark.parametrize("seed", range(4))
def test_equals_the_loop_of_detectron2(seed):
    rng = np.random.default_rng(seed)
    objects, proposals = random_boxes(rng, 20), random_boxes(rng, 60)
    proposals[:20] = objects + rng.normal(0, 6, (20, 4))
    overlaps = [[_iou(a, b) for b in proposals.astype(float)] for a in objects.astype(float)]
    found, taken = set(), set()
    for overlap, a, b in sorted(((o, a, b) for a, row in enumerate(overlaps) for b, o in enumerate(row)), reverse=True):
        if overlap >= 0.5 and a not in found and b not in taken:
            found.add(a)
            taken.add(b)
    assert set(np.flatnonzero(covered(objects, proposals))) == found
    assert 0 < len(found) < 20


def _iou(a, b):
    shared = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return shared / (sum(areas) - shared)


def pictures():
    # Class 0 is covered twice out of three, class 1 once out of one, class 2 never; the crowd does not count.
    first = image(
        [(0, 0, 0, 10, 10), (0, 20, 0, 30, 10), (1, 40, 0, 50, 10), (1, 0, 50, 50, 90, "ignored")],
        [(0, 0.9, 0, 0, 10, 10), (0, 0.8, 20, 0, 30, 10), (0, 0.7, 40, 0, 50, 10)],
    )
    return [first, image([(0, 0, 0, 10, 10), (2, 20, 20, 30, 30)], image_id=1)]


def test_recall_of_all_known_and_unknown_classes(tmp_path):
    callback = ProposalRecall(known=[0, 3])
    trainer = run_test(tmp_path, [callback], pictures())
    rows = {row.metric: (row.value, row.standard_error, row.count) for row in callback.results}
    assert rows["recall@0.5"] == (0.6, pytest.approx(math.sqrt(0.6 * 0.4 / 5)), 5)
    assert rows["recall@0.5 known"] == (pytest.approx(2 / 3), pytest.approx(math.sqrt(2 / 9 / 3)), 3)
    assert rows["recall@0.5 unknown"] == (0.5, pytest.approx(math.sqrt(0.25 / 2)), 2)
    assert float(trainer.callback_metrics["proposals/recall@0.5 unknown/boxes"]) == 0.5
    with (tmp_path / "results" / "proposals.csv").open() as file:
        assert [line["count"] for line in csv.DictReader(file)] == ["5", "3", "2"]


def test_only_the_best_proposals_count(tmp_path):
    callback = ProposalRecall(count=2)
    run_test(tmp_path, [callback], pictures())
    assert [(row.metric, row.value) for row in callback.results] == [("recall@0.5", 0.4)]


def test_the_datamodule_says_which_classes_are_known(tmp_path):
    callback = ProposalRecall()
    run_test(tmp_path, [callback], pictures(), known=[0, 1])
    assert [(row.metric, row.count) for row in callback.results] == [
        ("recall@0.5", 5),
        ("recall@0.5 known", 4),
        ("recall@0.5 unknown", 1),
    ]


def test_where_all_classes_are_known_there_is_one_figure(tmp_path):
    callback = ProposalRecall()
    run_test(tmp_path, [callback], pictures(), known=[0, 1, 2, 3, 4])
    assert [row.metric for row in callback.results] == ["recall@0.5"]


def test_no_object_is_nan(tmp_path):
    callback = ProposalRecall(known=[0])
    trainer = run_test(tmp_path, [callback], [image(found=[(0, 0.9, 0, 0, 10, 10)])])
    assert [row.count for row in callback.results] == [0, 0, 0]
    assert math.isnan(float(trainer.callback_metrics["proposals/recall@0.5/boxes"]))


@pytest.mark.parametrize("validation", [False, True])
def test_validation_is_measured_only_if_asked_for(tmp_path, validation):
    images = fuzzed(np.random.default_rng(0))
    trainer = quiet_trainer(tmp_path, [ProposalRecall(validation=validation)])
    trainer.validate(FakeDetector(images), datamodule=FakeData(images), verbose=False)
    assert bool(trainer.callback_metrics) == validation


def test_what_it_cannot_work_with_is_named(tmp_path):
    with pytest.raises(UserError, match="at least 1"):
        ProposalRecall(count=0)
    with pytest.raises(UserError, match=r"known=\[5, 9\].*from 0 to 4"):
        run_test(tmp_path, [ProposalRecall(known=[0, 9, 5])], pictures())

    with pytest.raises(UserError, match="TinyModule makes no proposals"):
        quiet_trainer(tmp_path, [ProposalRecall()]).test(TinyModule(), datamodule=FakeData([]), verbose=False)


def test_as_array_keeps_booleans_and_labels():
    assert as_array(torch.tensor([True])).dtype == bool
    assert as_array(torch.tensor([3])).dtype == np.int64
