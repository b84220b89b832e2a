"""configs/gen2det.yaml, trained on a few pictures that look generated."""

import csv

import pytest

import cli
from tests.configs.test_detection import SCENES, figures, fit
from tests.helpers.generated_pictures import write_generated
from tests.helpers.runs import ROOT

CONFIG = "--config=configs/gen2det.yaml"


@pytest.fixture(autouse=True)
def _at_home(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_it_trains_on_either_kind(probability, tmp_path):
    generated = f"--data.synthetic.annotations={write_generated(tmp_path / 'generated')}"
    run = fit(tmp_path, CONFIG, generated, f"--data.synthetic.probability={probability}", *SCENES)
    assert type(run.model).__name__ == "Gen2Det"
    assert run.trainer.global_step == 2
    assert "AP50" in figures(run, "coco")
    with (run.run_folder / "metrics.csv").open(newline="") as file:
        logged = [row.get("train/ignored_background") for row in csv.DictReader(file)]
    assert any(each and float(each) == 1 for each in logged) == (probability == 1)


def test_the_naive_combination(tmp_path):
    generated = f"--data.synthetic.annotations={write_generated(tmp_path / 'generated')}"
    run = fit(tmp_path, CONFIG, generated, "--data.synthetic.mixing=concatenation", "--model.tau_i=null", *SCENES)
    assert run.trainer.global_step == (4 + 9) // 2


def test_generated_pictures_that_are_missing_end_it_with_the_commands_that_make_them(tmp_path, capsys):
    words = ["fit", CONFIG, f"--data.synthetic.annotations={tmp_path / 'none.json'}", f"--runs_dir={tmp_path}"]
    with pytest.raises(SystemExit) as ended:
        cli.main([*words, *SCENES, "--trainer.accelerator=cpu"])
    assert ended.value.code == 2
    assert "python cli.py predict --config configs/gen2det_generate.yaml" in capsys.readouterr().err
