import csv

import pytest

from callbacks.dense.complexity import Complexity
from tests.helpers.dense_case import object_discovery_loaders, run_test


def test_rows_for_every_method_and_size(tmp_path):
    callback = Complexity(image_sizes=[16, 32], methods=["base", "useless"])
    run_test(tmp_path, [callback], object_discovery_loaders(2))
    rows = list(csv.DictReader((tmp_path / "results" / "complexity.csv").open()))
    figures = {(row["metric"], row["method"], int(row["image_size"])): float(row["value"]) for row in rows}
    assert len(figures) == 3 * 2 * 2
    assert figures["parameters (M)", "useless", 16] == pytest.approx(21e-6)
    assert figures["GMACs", "base", 32] == 0
    assert figures["GMACs", "useless", 32] == pytest.approx(64 * 18e-9)
    assert figures["GMACs (thesis)", "useless", 16] == pytest.approx(16 * 18e-9)
