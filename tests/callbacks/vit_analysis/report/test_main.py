import subprocess
import sys
from pathlib import Path

import pytest

from callbacks.vit_analysis.report.__main__ import main
from callbacks.vit_analysis.report.arrays import write_arrays
from tests.callbacks.vit_analysis.report import synthetic

ROOT = Path(__file__).parents[4]
FEW = ("attention", "similarity", "saliency", "clustering", "retrieval", "keypoints", "video", "probe", "dense-video")


def test_draws_again(tmp_path, capsys):
    write_arrays(tmp_path, [synthetic.model(without=FEW)])
    assert main([str(tmp_path)]) == 0
    assert (tmp_path / "index.html").is_file()
    assert str(tmp_path / "index.html") in capsys.readouterr().out


def test_part_of_the_report_missing(tmp_path, capsys):
    write_arrays(tmp_path, [synthetic.model(without=FEW)])
    (tmp_path / "arrays" / "FS" / "video.npz").write_bytes(b"")
    assert main([str(tmp_path)]) == 1
    assert "video.npz is damaged" in capsys.readouterr().err
    assert (tmp_path / "pictures" / "figure_2_9_knn.png").is_file()


def test_wrong_folder(tmp_path, capsys):
    assert main([str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_as_a_command(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "callbacks.vit_analysis.report", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    assert "give the folder of a finished run" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_folder_named():
    with pytest.raises(SystemExit) as stop:
        main([])
    assert stop.value.code == 2


def test_a_pair_on_demand(tmp_path, capsys):
    slow = ("attention", "saliency", "clustering")
    write_arrays(tmp_path, [synthetic.model(name, without=slow, seed=i) for i, name in enumerate(["B/8", "B/16"])])
    assert main([str(tmp_path), "--pair", "B/8", "B/16"]) == 0
    assert Path(capsys.readouterr().out.strip()).name == "cka_b_8_and_b_16.png"
    assert (tmp_path / "pictures" / "cka_b_8_and_b_16.png").is_file()
    assert main([str(tmp_path), "--pair", "B/8", "B/32"]) == 2
    assert "it has B/8, B/16" in capsys.readouterr().err
