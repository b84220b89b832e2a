import json

import pytest

from benchmarks.coco_evaluation import main


@pytest.mark.parametrize("masks", [False, True])
def test_quick_run_writes_what_it_prints(tmp_path, capsys, masks):
    report = main(["--quick", "--rounds", "1", "--output", str(tmp_path), *["--masks"] * masks])
    (written,) = tmp_path.glob("coco-evaluation-*.json")
    assert json.loads(capsys.readouterr().out) == json.loads(written.read_text()) == json.loads(json.dumps(report))
    assert report["settings"]["masks"] == masks
    result = report["evaluation"]
    assert result["difference"] < 1e-12
    assert result["reached"] == (result["ratio"] <= result["reach"])
