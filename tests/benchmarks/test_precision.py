import json

import pytest
import torch

from benchmarks import precision
from benchmarks.precision import CASES, QUICK, main, measured
from benchmarks.timing import Case
from visionscapes.precision import Chosen, processor_abilities


@pytest.mark.parametrize("name", CASES)
def test_both_precisions_do_the_same_work(name: str) -> None:
    case = CASES[name](QUICK)
    case.ours(0)
    case.plain(0)
    assert 0 < case.difference() < 0.05


@pytest.mark.parametrize(("ratio", "chosen", "right"), [(0.5, "bf16-mixed", True), (2.0, "bf16-mixed", False)])
@pytest.mark.parametrize("turned", [False, True])
def test_a_choice_is_right_where_it_is_quicker(monkeypatch, ratio, chosen, right, turned) -> None:
    seconds = {"ours_s": ratio, "plain_s": 1.0, "ratio": ratio, "ratio_range": [ratio] * 2}
    found = seconds | {"cpu_ratio": ratio, "difference": 0.0, "rounds": 1}
    monkeypatch.setattr(precision, "compare", lambda *_: found)
    monkeypatch.setattr(precision, "quick_precision", lambda _: Chosen("32-true" if turned else chosen, "of a test"))
    result = measured(Case(print, print, lambda: 0.0, 1.0), QUICK)
    assert result["right"] is (right != turned)
    assert (result["bfloat16_s"], result["float32_s"]) == (ratio, 1.0)


def test_quick_run_writes_what_it_prints(tmp_path, capsys) -> None:
    threads = torch.get_num_threads()
    report = main(["--quick", "--threads", str(threads), "--output", str(tmp_path)])
    (written,) = tmp_path.glob("precision-*.json")
    assert json.loads(capsys.readouterr().out) == json.loads(written.read_text()) == json.loads(json.dumps(report))
    assert written.name.startswith(f"precision-{processor_abilities()[0]}-")
    assert report["hardware"]["cpu_abilities"] == processor_abilities()
    assert list(CASES) == [name for name in report if name in CASES]
