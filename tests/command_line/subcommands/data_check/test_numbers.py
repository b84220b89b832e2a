import json

import numpy as np

from command_line.subcommands.data_check.numbers import as_numbers, size_figures
from datamodules.common.inspection.contents import picture_files
from datamodules.common.inspection.files import look_at_files
from datamodules.common.inspection.findings import DataFinding
from datamodules.common.inspection.inspect_data import DataReport
from tests.helpers.image_files import save_photo


def report_of(tmp_path):
    """A report of two pictures, one of them there twice, and of a name with a line break."""
    part = picture_files([save_photo(tmp_path / f"{k}\n.png", 40 + 20 * (k > 1), 30, seed=k // 2) for k in range(3)])
    report = DataReport("Data", {"train": part}, {"train": look_at_files("train", part, None)})
    report.findings = [DataFinding("error", "train", "bad"), DataFinding("warning", "", "odd\nthing", ("a\nb",))]
    return report


def test_json_holds_everything_in_plain_types(tmp_path):
    found = json.loads(json.dumps(as_numbers(report_of(tmp_path)), allow_nan=False))
    assert (found["errors"], found["warnings"]) == (1, 1)
    assert found["findings"][1] == {"level": "warning", "part": "", "text": r"odd\nthing", "examples": [r"a\nb"]}
    train = found["parts"]["train"]
    assert (train["samples"], train["looked_at"], train["unreadable"]) == (3, 3, [])
    assert train["copies"] == [[f"{tmp_path}/0\\n.png", f"{tmp_path}/1\\n.png"]]


def test_sizes_are_quantiles(tmp_path):
    stored = report_of(tmp_path).stored["train"]
    assert size_figures(stored)["width"] == [float(x) for x in np.quantile([40, 40, 60], [0.05, 0.5, 0.95])]
    assert size_figures(look_at_files("x", picture_files([]), None)) == {}
