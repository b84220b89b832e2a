import logging
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.coco_evaluation import pycocotools_curves
from callbacks.detection.evaluation import columns
from callbacks.detection.lvis_evaluation import LVISEvaluation
from metrics.coco_average_precision import Federated, coco_curves
from tests.callbacks.detection.cases import CLASSES, FakeData, fuzzed, image, run_test
from visionscapes.errors import UserError

FREQUENCIES = ("r", "c", "f", "f", "c")
HIT = [(0, 0.5, 0, 0, 10, 10)]
OBJECT = [(0, 0, 0, 10, 10)]


def figures(*images, frequencies=FREQUENCIES):
    data = SimpleNamespace(classes=CLASSES, frequencies=frequencies)
    return {row.metric: row.value for row in LVISEvaluation().figures(images, data)}


def curves(images, masks=False):
    rules = Federated([i.negative for i in images], [i.not_exhaustive for i in images], FREQUENCIES)
    return coco_curves(*columns(images), [i.size for i in images], 5, masks, rules)


def with_rules(rng, images):
    """Say for every picture of some absent classes that they are, and of some present ones that they are incomplete."""
    ruled = []
    for each in images:
        present = set(each.truth["labels"].tolist())
        absent = tuple(k for k in range(5) if k not in present and rng.random() < 0.5)
        partial = tuple(k for k in sorted(present) if rng.random() < 0.5)
        ruled.append(replace(each, negative=absent, not_exhaustive=partial))
    return ruled


def test_a_miss_counts_only_where_it_is_known_to_be_one():
    # Class 1 has an object in the first picture; the second has only a detection of it.
    first = image([*OBJECT, (1, 50, 50, 60, 60)], [*HIT, (1, 0.5, 50, 50, 60, 60)])
    miss = [(1, 0.9, 20, 20, 30, 30)]
    unknown = image(found=miss, image_id=1)
    negative = image(found=miss, image_id=1, negative=(1,))
    assert figures(first, unknown)["AP"] == pytest.approx(1)
    assert figures(first, negative)["AP"] == pytest.approx(0.75)
    assert figures(first, negative)["APc"] == pytest.approx(0.5)
    assert figures(first, negative)["APr"] == pytest.approx(1)
    assert math.isnan(figures(first, negative)["APf"])


def test_a_class_that_is_not_exhaustively_annotated_has_hits_but_no_misses():
    two = [(0, 0.9, 20, 20, 30, 30), *HIT]
    assert figures(image(OBJECT, two))["AP"] == pytest.approx(0.5)
    assert figures(image(OBJECT, two, not_exhaustive=(0,)))["AP"] == pytest.approx(1)
    assert figures(image(OBJECT, two[:1], not_exhaustive=(0,)))["AP"] == 0


def test_the_three_hundred_best_of_a_picture_count():
    others = [(1, 0.9, 20, 20, 30, 30)] * 299
    assert figures(image(OBJECT, [*others, *HIT]))["AP"] == pytest.approx(1)
    assert figures(image(OBJECT, [*others, others[0], *HIT]))["AP"] == 0


def test_detections_without_area_are_dropped_after_the_best_are_taken():
    """As the lvis package does: 300 flat ones of a higher score leave nothing of a picture."""
    flat = [(1, 0.9, 20, 20, 20, 30)] * 299
    assert figures(image(OBJECT, [*flat, *HIT]))["AP"] == pytest.approx(1)
    assert figures(image(OBJECT, [*flat, flat[0], *HIT]))["AP"] == 0


def test_nothing_detected_is_zero_and_nothing_to_find_is_nan():
    assert figures(image(OBJECT))["AP"] == figures(image(OBJECT))["APr"] == 0
    assert all(math.isnan(value) for value in figures(image(found=HIT, negative=(0,))).values())


@pytest.mark.parametrize("seed", range(6))
def test_equals_pycocotools_that_is_told_the_rules(seed):
    """Unknown classes are taken away, and an endless crowd swallows what an incomplete class has too many."""
    rng = np.random.default_rng(seed)
    images = with_rules(rng, fuzzed(rng, classes=5, crowds=0, ties=seed % 2 == 0))
    told = []
    for each in images:
        judged = np.isin(each.found["labels"], [*each.truth["labels"], *each.negative])
        count = len(each.not_exhaustive)
        crowds = {
            "boxes": np.tile(np.array([-1e4, -1e4, 1e4, 1e4], np.float32), (count, 1)),
            "labels": np.array(each.not_exhaustive, np.int64),
            "areas": np.full(count, 1e8, np.float32),
            "ignored": np.ones(count, bool),
        }
        found = {key: value[judged] for key, value in each.found.items()}
        truth = {key: np.concatenate([value, crowds[key]]) for key, value in each.truth.items()}
        told.append(replace(each, found=found, truth=truth))
    ours, theirs = curves(images), pycocotools_curves(told, 5)
    assert (theirs.precision > 0).any()
    np.testing.assert_allclose(ours.precision, theirs.precision, rtol=0, atol=1e-12)
    np.testing.assert_allclose(ours.recall, theirs.recall, rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_equals_the_lvis_package(seed):
    lvis = pytest.importorskip("lvis")
    from benchmarks.coco_evaluation import described

    rng = np.random.default_rng(seed)
    masks = seed % 3 == 2
    images = fuzzed(rng, 5, 5, crowds=0, ties=seed % 2 == 0, masks=masks, detections=20 if masks else 500)
    images = with_rules(rng, images)
    for each in images if not masks else []:  # some detections have no area
        each.found["boxes"][::3, 2] = each.found["boxes"][::3, 0]
    annotations, results = [], []
    for number, each in enumerate(images, 1):
        for k, box in enumerate(each.truth["boxes"].astype(float).tolist()):
            row = described(number, int(each.truth["labels"][k]), box, each.true_masks, k)
            annotations.append(row | {"id": len(annotations) + 1, "area": float(each.truth["areas"][k])})
        for k, box in enumerate(each.found["boxes"].astype(float).tolist()):
            row = described(number, int(each.found["labels"][k]), box, each.found_masks, k)
            results.append(row | {"score": float(each.found["scores"][k])})
    truth = lvis.LVIS.__new__(lvis.LVIS)  # its constructor reads a file
    truth.dataset = {
        "images": [
            {
                "id": number,
                "height": each.size[0],
                "width": each.size[1],
                "neg_category_ids": [label + 1 for label in each.negative],
                "not_exhaustive_category_ids": [label + 1 for label in each.not_exhaustive],
            }
            for number, each in enumerate(images, 1)
        ],
        "categories": [{"id": label + 1, "frequency": f} for label, f in enumerate(FREQUENCIES)],
        "annotations": annotations,
    }
    truth.logger = logging.getLogger("lvis")
    truth._create_index()
    evaluation = lvis.LVISEval(truth, lvis.LVISResults(truth, results), "segm" if masks else "bbox")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lvis.eval, "np", NumpyAsOnce())
        evaluation.run()
    ours = curves(images, masks)
    np.testing.assert_allclose(ours.precision, evaluation.eval["precision"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(ours.recall, evaluation.eval["recall"], rtol=0, atol=1e-12)
    summary = {row.metric: row.value for row in _rows(images, "masks" if masks else "boxes")}
    for name, value in summary.items():
        expected = evaluation.results[name]
        assert value == pytest.approx(expected, abs=1e-12) or (math.isnan(value) and expected == -1)


def _rows(images, method):
    data = SimpleNamespace(classes=CLASSES, frequencies=FREQUENCIES)
    return [row for row in LVISEvaluation().figures(images, data) if row.method == method]


class NumpyAsOnce:
    """numpy with ``np.float``, which lvis 0.5.3 still uses."""

    float = float

    def __getattr__(self, name):
        return getattr(np, name)


def test_needs_to_know_what_is_rare(tmp_path):
    images = fuzzed(np.random.default_rng(0))
    with pytest.raises(UserError, match="COCOEvaluation"):
        run_test(tmp_path, [LVISEvaluation()], images)
    callback = LVISEvaluation()
    trainer = run_test(tmp_path, [callback], images, frequencies=FREQUENCIES)
    assert [row.metric for row in callback.results] == ["AP", "AP50", "APr", "APc", "APf"]
    assert "lvis/APr/boxes" in trainer.callback_metrics
    assert not hasattr(FakeData([]), "frequencies")
