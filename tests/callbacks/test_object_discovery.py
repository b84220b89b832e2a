import csv

import pytest

from callbacks.object_discovery import ObjectDiscovery
from errors import UserError
from tests.helpers.dense_case import discovery_loaders, run_test


def test_finds_the_objects_at_every_size(tmp_path):
    callback = ObjectDiscovery()
    trainer = run_test(tmp_path, [callback], discovery_loaders(5, (32, 64)))
    figures = {(row.method, row.image_size): row for row in callback.results}
    assert set(figures) == {(method, size) for method in ("base", "bilinear", "useless") for size in (32, 64)}
    for size in (32, 64):
        assert figures["base", size].value == 1
        assert figures["base", size].count == 5
        assert figures["useless", size].value == 0  # the whole image, which overlaps by 6 / 64
    assert float(trainer.callback_metrics["discovery/CorLoc/base@32"]) == 1
    rows = list(csv.DictReader((tmp_path / "results" / "discovery.csv").open()))
    assert {row["metric"] for row in rows} == {"CorLoc"}
    assert len(rows) == 6


def test_threshold_and_methods_are_options(tmp_path):
    callback = ObjectDiscovery(methods=["useless"], iou_threshold=0.05)
    run_test(tmp_path, [callback], discovery_loaders(3))
    assert [(row.method, row.value) for row in callback.results] == [("useless", 1.0)]


def test_unknown_choice():
    with pytest.raises(UserError, match="choose miss or skip"):
        ObjectDiscovery(without_boxes="ignore")
