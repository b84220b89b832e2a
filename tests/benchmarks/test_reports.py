import json
from dataclasses import dataclass

import pytest
import torch

from benchmarks import reports


@dataclass(frozen=True)
class Sizes:
    batch: int = 2


def test_a_report_says_where_and_with_what_it_was_measured(tmp_path, capsys):
    options = reports.parser_of("A benchmark.", ["step", "loading"]).parse_args(
        ["--only", "step", "--output", str(tmp_path)]
    )
    assert options.only == ["step"]
    report = reports.new_report(Sizes(), options.device)
    report["step"] = {"ratio": 0.5}
    assert reports.finish(report, "grit", options) == tmp_path
    (path,) = tmp_path.glob("grit-*.json")
    assert path.name.endswith(f"-{report['date']}.json")
    written = json.loads(path.read_text())
    assert written == json.loads(capsys.readouterr().out)
    assert written["settings"] == {"batch": 2}
    assert written["step"] == {"ratio": 0.5}
    assert {"hardware", "load_average_before", "load_average_after"} <= written.keys()
    assert written["hardware"]["vectors"] == torch.backends.cpu.get_cpu_capability()


@pytest.mark.parametrize(("words", "folder"), [([], reports.RESULTS), (["--quick"], None)])
def test_quick_figures_are_not_kept(words, folder, monkeypatch):
    written = []
    monkeypatch.setattr(reports, "write_json", lambda path, content: written.append(path.parent))
    options = reports.parser_of(None, devices=False).parse_args(words)
    assert reports.finish(reports.new_report(Sizes()), "coco", options) == folder
    assert written == ([] if folder is None else [folder])
