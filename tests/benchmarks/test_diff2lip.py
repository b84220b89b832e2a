import json

import pytest

from benchmarks.diff2lip import PARTS, QUICK, main, sampling_case
from benchmarks.timing import compare
from tests.helpers.face_files import needs_face_files


@pytest.mark.slow
@needs_face_files
def test_quick_run_writes_what_it_prints(tmp_path, capsys):
    report = main(["--quick", "--output", str(tmp_path)])
    (written,) = tmp_path.glob("diff2lip-*.json")
    printed = capsys.readouterr().out
    shown = json.loads(printed[printed.index("{") :])
    assert shown == json.loads(written.read_text()) == json.loads(json.dumps(report))
    assert set(PARTS) <= set(report)
    assert report["training"]["ours_s"] > 0
    (spent,) = report["video"].values()
    assert {"faces", "decoding", "audio", "network", "pasting", "codec", "total"} <= set(spent)
    assert set(report["memory"]) == {"0.01"}


def test_both_ways_make_the_same_frames():
    case = sampling_case(QUICK.sampling["tiny"], "cpu")
    assert compare(case, 1)["difference"] < 1e-5
