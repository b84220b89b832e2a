import json

import pytest
import torch

from benchmarks.gen2det import main


@pytest.fixture(autouse=True)
def _as_before():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_every_case_is_measured_and_kept(tmp_path):
    report = main(["--quick", "--threads", "1", "--output", str(tmp_path)])
    (path,) = tmp_path.glob("gen2det-*.json")
    assert json.loads(path.read_text()).keys() == report.keys()
    for name in ("real", "generated", "filter", "pasting"):
        assert report[name]["rounds"] == 2
        assert report[name]["ratio"] > 0
    assert report["filter"]["difference"] < 1e-4
    assert report["filter"]["pictures_a_second"] > 0
