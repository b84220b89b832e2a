import csv
import math

import numpy as np
from pytorch_lightning import Callback

from callbacks.results.result import Result, layer_results, plain_settings, write_results


def figures(values, metric="accuracy"):
    return {row.metric: row.value for row in layer_results("knn", metric, "MAE", 32, np.array(values))}


def test_the_best_layer_stands_before_all_of_them_counted_from_one():
    rows = layer_results("knn", "accuracy", "MAE", 32, np.array([0.2, np.nan, 0.7, 0.4]))
    assert [row.metric for row in rows] == [
        "accuracy",
        "accuracy layer",
        "accuracy @1",
        "accuracy @2",
        "accuracy @3",
        "accuracy @4",
    ]
    assert [row.value for row in rows[:3]] == [0.7, 3, 0.2]
    assert math.isnan(rows[3].value)
    assert {(row.protocol, row.method, row.image_size, row.count) for row in rows} == {("knn", "MAE", 32, 0)}
    assert all(math.isnan(row.standard_error) for row in rows)


def test_of_equal_layers_the_first_is_best():
    assert figures([0.1, 0.5, 0.5])["accuracy layer"] == 2


def test_a_figure_without_layers_is_one_row_and_nothing_measured_is_none():
    assert figures(0.25) == {"accuracy": 0.25}
    assert figures([np.nan, np.nan]) == {}


def test_a_file_has_the_fields_as_columns_and_reads_back_exactly(tmp_path):
    rows = [
        Result("video", "J&F", 'a, "b"', 64, 0.1 + 0.2, float("nan"), 3),
        Result("video", "J", "ViT\nL", 64, 1e-17, 0.5, 0),
    ]
    write_results(rows, tmp_path / "new" / "video.csv")
    with (tmp_path / "new" / "video.csv").open(newline="") as file:
        read = list(csv.DictReader(file))
    assert list(read[0]) == ["protocol", "metric", "method", "image_size", "value", "standard_error", "count"]
    for row, again in zip(rows, read, strict=True):
        assert {key: str(value) for key, value in vars(row).items()} == again
        assert float(again["value"]) == row.value


def test_settings_are_what_the_figures_depend_on():
    class Protocol(Callback):
        def __init__(self):
            self.k, self.scales, self.head, self.name = 20, [8, 16], None, "knn"
            self.methods, self.results, self._seen, self.net = ["MAE"], [1], 3, np.zeros(2)

    assert plain_settings(Protocol()) == {"k": 20, "scales": [8, 16], "head": None, "name": "knn"}
