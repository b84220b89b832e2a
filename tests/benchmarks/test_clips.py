import json

import numpy as np

from benchmarks.clips import NEED_FACES, QUICK, READERS, drawn, main


def test_quick_run_writes_what_it_prints(tmp_path, capsys):
    report = main(["--quick", "--rounds", "1", "--output", str(tmp_path)])
    (written,) = tmp_path.glob("clips-*.json")
    assert json.loads(capsys.readouterr().out) == json.loads(written.read_text()) == json.loads(json.dumps(report))
    assert {"encode 224x224", "decode 224x224", "sound", "mel"} <= set(report["speed"])
    assert all(spent >= 0 for spent in report["speed"].values())
    assert set(report["memory"]) | {*NEED_FACES} == {"writing", *READERS}
    assert all(list(by_length) == ["0.02"] for by_length in report["memory"].values())


def test_pictures_go_to_and_fro():
    person = drawn(QUICK.drawn)
    assert len(person.images) == 10
    pictures = list(person.pictures((48, 32), 25))
    assert {picture.shape for picture in pictures} == {(32, 48, 3)}
    assert np.array_equal(pictures[0], pictures[19])
    assert np.array_equal(pictures[0], pictures[20])
    assert person.sound(1).shape == (16000,)
