"""configs/vit_analysis.yaml through the entry point, in seconds: fewer pictures, two of the six ViTs and chance."""

import csv
import json
import re
from pathlib import Path

import pytest
import yaml

import cli
from tests.helpers.runs import ROOT

FEW = {
    "images": 24, "analysis_batch": 12, "saliency": 6, "objects": 8, "parts": 4, "neighbours": 36, "queries": 12,
    "instances": 2, "distractors": 4, "pairs": 3, "videos": 1, "frames": 3,
}  # fmt: skip
QUIET = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]
PROTOCOLS = {
    "attention", "saliency", "similarity", "clustering", "knn", "retrieval", "probe", "keypoints", "video",
    "dense-video",
}  # fmt: skip


def command(folder: Path, name: str, models: list[str], *more: str) -> list[str]:
    """Return the command of the file, for some of its models."""
    config = yaml.safe_load((ROOT / "configs/vit_analysis.yaml").read_text())
    kept = config["model"]["init_args"]["models"]
    config["model"]["init_args"]["models"] = {model: kept[model] for model in models}
    folder.mkdir(exist_ok=True)
    (folder / "few.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    few = [f"--data.{key}={value}" for key, value in FEW.items()]
    files = [f"--config={folder / 'few.yaml'}", f"--runs_dir={folder / 'runs'}", f"--name={name}"]
    return ["test", *files, *few, *QUIET, *more]


def rows(folder: Path, protocol: str) -> list[dict[str, str]]:
    with (folder / "results" / f"{protocol}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_analysis_and_one_more_model(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    run = cli.main(command(tmp_path, "first", ["FS", "MAE", "Random"])).run_folder
    assert json.loads((run / "manifest.json").read_text())["status"] == "finished"
    assert {path.stem for path in (run / "arrays" / "FS").glob("*.npz")} == PROTOCOLS
    assert {path.stem for path in (run / "arrays" / "Random").glob("*.npz")} == PROTOCOLS - {
        "attention", "saliency", "similarity",
    }  # fmt: skip
    for protocol, metric in {"knn": "k-NN top-1", "retrieval": "scenes mAP M", "dense-video": "dense J&F"}.items():
        found = {row["method"]: row for row in rows(run, protocol) if row["metric"] == metric}
        assert set(found) == {"FS", "MAE", "Random"}
        assert all(0 <= float(row["value"]) <= 1 and row["image_size"] == "64" for row in found.values())
    assert {row["method"] for row in rows(run, "observations")} >= {"FS", "MAE", "FS | MAE"}
    page = (run / "index.html").read_text()
    pictures = set(re.findall(r'src="(pictures/[^"]+)"', page))
    assert len(pictures) > 30
    assert all((run / picture).is_file() for picture in pictures)
    shown = capsys.readouterr().out
    assert "Table 2.1" in shown
    assert "index.html" in shown
    assert "Test metric" not in shown  # Lightning's own table

    # A timm architecture of another size and depth, with random weights, next to what is kept of the others.
    entry = {"model": "deit_tiny_patch16_224", "weights": None, "model_args": {"depth": 2, "img_size": 32}}
    more = f"--model.models.mine={json.dumps(entry)}"
    second = cli.main(command(tmp_path, "second", ["FS", "MAE", "Random"], more)).run_folder
    assert [model["name"] for model in json.loads((second / "arrays" / "models.json").read_text())][-1] == "mine"
    for protocol in ("knn", "clustering", "keypoints", "video"):
        first_rows, second_rows = rows(run, protocol), rows(second, protocol)
        assert [row for row in second_rows if row["method"] != "mine"] == first_rows
        assert {row["method"] for row in second_rows} == {"FS", "MAE", "Random", "mine"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model.models.FS.weights=nowhere.safetensors"], "model 'FS': no weights at 'nowhere.safetensors'"),
        (["--model.models.FS.model=resnet18"], "model 'FS'"),
        (["--model.image_size=32"], "pictures of 64 pixels, and the analysis is told of 32"),
        (["--data.queries=0"], "queries is 0"),
        (["--data.neighbours=12", "--data.tasks=[knn-train,knn-test]"], "k=20"),
        (["--data.analysis_batch=3"], "at least 4"),
        (["--model.models.FS.probe_layer=9"], "probe_layer 9 does not exist, it has 1 to 6"),
    ],
)
def test_mistakes_end_with_a_remedy(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as exit_:
        cli.main(command(tmp_path, "bad", ["FS"], *words))
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err
