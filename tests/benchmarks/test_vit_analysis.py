import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from benchmarks.plain_vit import plain_similarity
from benchmarks.timing import Case
from benchmarks.vit_analysis import CASES, QUICK, main, memory
from metrics.cka import MinibatchCKA


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", [*CASES, "memory"])
def test_plain_reference_does_the_same_work(name: str) -> None:
    case: Case = {**CASES, "memory": memory}[name](QUICK)
    for variant in (case.ours, case.plain):
        variant(0)
    assert case.difference() < 1e-5


def test_plain_similarity_is_the_minibatch_cka() -> None:
    generator = torch.Generator().manual_seed(0)
    shared, own = torch.randn(2, 4, 8, 3, generator=generator)
    batches = [[x, x + noise] for x, noise in zip(shared, own, strict=True)]
    metric = MinibatchCKA(["a", "b"])
    for batch in batches:
        metric.update(batch)
    expected = float(metric.compute()["CKA a->b"].value)
    assert expected > 0.1
    assert float(plain_similarity(batches)[0, 1]) == pytest.approx(expected)


def test_quick_run_writes_what_it_prints(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    report = main(["--quick", "--threads", "1", "--only", *CASES, "cost", "--output", str(tmp_path)])
    (written,) = tmp_path.glob("vit-analysis-*.json")
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads(written.read_text()) == json.loads(json.dumps(report))
    assert report["date"] in written.name
    for name in CASES:
        assert {"ours_s", "plain_s", "ratio", "cpu_ratio", "reach", "reached", "difference"} <= report[name].keys()
        assert report[name]["reached"] == (report[name]["ratio"] <= report[name]["reach"])
        assert report[name]["difference"] < 1e-5
    assert "memory" not in report
    assert list(report["cost"]["seconds"]) == ["4", "8"]
    # A straight line through two points in a log-log plot.
    first, last = report["cost"]["seconds"].values()
    assert report["cost"]["last_over_proportional"] == pytest.approx(last / first / 2, abs=0.01)
    assert 2 ** report["cost"]["exponent"] == pytest.approx(last / first, rel=0.02)


@pytest.mark.slow
def test_memory_is_measured_in_processes_of_their_own(capsys: pytest.CaptureFixture) -> None:
    report = main(["--quick", "--threads", "1", "--only", "memory"])
    assert report["memory"]["reached"]
    assert 0 <= report["memory"]["ours_mib"] <= report["memory"]["reach_mib"] == 4096
    assert json.loads(capsys.readouterr().out)["memory"] == report["memory"]
