import json

import pytest
import torch

from benchmarks.detection import main


@pytest.fixture(autouse=True)
def _as_before():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_every_case_is_measured_and_kept(tmp_path):
    report = main(["--quick", "--threads", "1", "--output", str(tmp_path)])
    (path,) = tmp_path.glob("detection-*.json")
    assert json.loads(path.read_text()).keys() == report.keys()
    assert report["step"]["rounds"] == report["sparsedet"]["rounds"] == 2
    assert report["step"]["ratio"] > 0
    assert "difference" not in report["sparsedet"]
    # Both loops start from the same weights and see the same pictures; they draw other regions to train on.
    assert report["step"]["difference"] < 0.01
    assert 0 <= report["loading"]["waiting_share"] <= 1
