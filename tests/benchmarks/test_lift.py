import json

import pytest
import torch

from benchmarks.lift import CASES, QUICK, backbone, images, main
from benchmarks.plain import PlainKeys
from benchmarks.timing import slug

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pytorch_lightning")


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", CASES)
def test_plain_reference_does_the_same_work(name):
    """Losses, matching scores and boxes agree."""
    case = CASES[name](QUICK)
    for variant in (case.ours, case.plain):
        variant(0)
    assert case.difference() < 1e-5


@pytest.mark.parametrize("side", [32, 64, 88])
def test_plain_keys_equal_ours(side):
    ours = backbone(QUICK)
    x = images(QUICK, side, 2)
    torch.testing.assert_close(PlainKeys(ours)(x), ours(x), atol=1e-5, rtol=1e-4)


def test_quick_run_writes_what_it_prints(tmp_path, capsys):
    report = main(["--quick", "--no-memory", "--threads", "1", "--output", str(tmp_path)])
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(report))
    (written,) = tmp_path.glob("lift-*.json")
    assert json.loads(written.read_text()) == json.loads(json.dumps(report))
    assert report["date"] in written.name
    assert slug(report["hardware"]["device"]) in written.name
    assert report["loop"]["difference"] == 0  # trained parameters
    for name in (*CASES, "loop"):
        assert {"ours_s", "plain_s", "ratio", "cpu_ratio", "reach", "reached", "difference"} <= report[name].keys()
        assert report[name]["reached"] == (report[name]["ratio"] <= report[name]["reach"])
    assert list(report["cost"]) == ["ViT", "ViT + LiFT", "ViT at 2S"]
    assert all(list(row) == ["32", "64"] for row in report["cost"].values())
    assert (tmp_path / "lift_cost.png").read_bytes().startswith(b"\x89PNG")
