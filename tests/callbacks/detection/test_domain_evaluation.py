import csv
import math
from dataclasses import replace

import numpy as np
import pytest

from callbacks.detection.coco_evaluation import COCOEvaluation
from callbacks.detection.domain_evaluation import DomainEvaluation
from tests.callbacks.detection.cases import FakeData, fuzzed, image, run_test
from visionscapes.errors import UserError

METRICS = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR@100"]
OBJECT, HIT, MISS = (0, 0, 0, 10, 10), (0, 0.9, 0, 0, 10, 10), (0, 0.9, 50, 50, 60, 60)


def domain_of(image_id):
    return image_id.split("/")[0]


def data(*domains):
    return FakeData([], domains=domains, domain_of=domain_of)


def figures(images, *domains):
    return {(row.metric, row.method): row.value for row in DomainEvaluation().figures(images, data(*domains))}


def test_by_hand():
    """One domain has a hit alone, another one of two objects in three pictures: each domain weighs the same."""
    images = [image([OBJECT], [HIT], image_id="sketch/1"), image([OBJECT], [HIT], image_id="tattoo/1")]
    images += [image([OBJECT], [MISS], image_id="tattoo/2"), image(image_id="tattoo/3")]
    values = figures(images, "tattoo", "sketch")
    assert values["AP", "sketch"] == pytest.approx(1)
    # Of equal scores the hit comes first: precision 1 up to a recall of a half, 51 of 101.
    assert values["AP", "tattoo"] == pytest.approx(51 / 101)
    assert values["AP", "mean"] == pytest.approx((1 + 51 / 101) / 2)
    assert values["AR@100", "mean"] == pytest.approx(0.75)
    assert math.isnan(values["APl", "mean"])
    assert [method for metric, method in values if metric == "AP"] == ["tattoo", "sketch", "mean"]


def test_a_domain_without_such_objects_is_left_out_of_that_mean():
    large = image([(0, 0, 0, 100, 100)], [(0, 0.9, 0, 0, 100, 100)], image_id="a/1")
    values = figures([large, image([OBJECT], [MISS], image_id="b/1")], "a", "b")
    assert math.isnan(values["APl", "b"])
    assert values["APl", "mean"] == pytest.approx(1)
    assert values["AP", "mean"] == pytest.approx(0.5)


def test_every_domain_has_the_figures_that_it_has_alone():
    images = fuzzed(np.random.default_rng(2), pictures=12, masks=True)
    named = [replace(each, image_id=f"{'abc'[number % 3]}/{number}") for number, each in enumerate(images)]
    values = figures(named, *"abc")
    for domain in "abc":
        own = [each for each in named if domain_of(each.image_id) == domain]
        alone = {row.metric: row.value for row in COCOEvaluation().figures(own, data()) if row.method == "boxes"}
        assert {metric: values[metric, domain] for metric in METRICS} == pytest.approx(alone, nan_ok=True)
    assert values["AP", "mean"] == pytest.approx(np.mean([values["AP", domain] for domain in "abc"]))
    assert values["AP", "mean"] > 0.01


def test_where_a_domain_has_no_picture_there_is_no_mean():
    with pytest.warns(UserWarning, match="of tattoo no picture was evaluated"):
        values = figures([image([OBJECT], [HIT], image_id="sketch/1")], "sketch", "tattoo")
    assert {method for _, method in values} == {"sketch"}


def test_rows_logs_and_file(tmp_path):
    callback = DomainEvaluation()
    images = [
        replace(each, image_id=f"{'ab'[number % 2]}/{number}")
        for number, each in enumerate(fuzzed(np.random.default_rng(1)))
    ]
    trainer = run_test(tmp_path, [callback], images, domains=("b", "a"), domain_of=domain_of)
    assert [(row.metric, row.method) for row in callback.results] == [
        (metric, method) for method in ("b", "a", "mean") for metric in METRICS
    ]
    assert [row.count for row in callback.results if row.metric == "AP"] == [3, 3, 6]
    with (tmp_path / "results" / "domains.csv").open(newline="") as file:
        written = {(row["metric"], row["method"]): float(row["value"]) for row in csv.DictReader(file)}
    logged = {key: float(value) for key, value in trainer.callback_metrics.items()}
    assert written == pytest.approx(
        {(metric, method): logged[f"domains/{metric}/{method}"] for metric, method in written}, nan_ok=True
    )


def test_data_without_domains_are_refused(tmp_path):
    with pytest.raises(UserError, match="use it with COCOO, or evaluate with COCOEvaluation"):
        run_test(tmp_path, [DomainEvaluation()], fuzzed(np.random.default_rng(1)))
