import json

import numpy as np
import pytest

from benchmarks.gan_discovery import CASES, QUICK, main, sources, stages


@pytest.mark.parametrize("name", CASES)
def test_plain_reference_does_the_same_work(name: str) -> None:
    case = CASES[name](QUICK)
    case.ours(0)
    case.plain(0)
    assert case.difference() < (0.2 if name == "refine" else 1e-4)  # capped negatives are not all negatives


def test_quick_run_writes_what_it_prints(tmp_path, capsys) -> None:
    report = main(["--quick", "--threads", "1", "--jobs", "1", "--rounds", "1", "--output", str(tmp_path)])
    (written,) = tmp_path.glob("gan-discovery-*.json")
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads(written.read_text()) == json.loads(json.dumps(report))
    for name in CASES:
        assert report[name]["reached"] == (report[name]["ratio"] <= report[name]["reach"])
        assert report[name]["ours_mib"] > 0 < report[name]["plain_mib"]
    for name, curve in printed["curves"].items():
        measured, extrapolated = curve["measured_s"], curve["extrapolated_s"]
        assert list(measured) == list(curve["measured_mib"]) == ["100", "200"], name
        assert list(extrapolated) == ["400"]
        assert extrapolated["400"] == pytest.approx(measured["200"] * 2 ** curve["power"], abs=0.02, rel=0.05)
    assert list(printed["curves"]) == list(stages(100, QUICK))


def test_a_curve_needs_two_measured_sizes(capsys) -> None:
    with pytest.raises(SystemExit):
        main(["--quick", "--only", "curves", "--largest", "100"])
    assert "at least 200" in capsys.readouterr().err


def test_sources_look_like_features_after_a_relu() -> None:
    features, groups = sources(50, 3, 8)
    assert features.dtype == np.float32
    assert features.min() == 0
    assert 0.2 < (features == 0).mean() < 0.8
    assert set(groups.tolist()) == {0, 1, 2}
