"""configs/gen2det_generate.yaml through the real entry point, on scenes and on files, with drawn objects and GLIGEN."""

import json

import pytest

import cli
from tests.helpers.image_files import save_photo
from tests.helpers.replicas_detection import make_coco_detection
from tests.helpers.runs import ROOT
from tests.helpers.tiny_gligen import write_gligen

QUIET = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
CONFIG = "--config=configs/gen2det_generate.yaml"
FEW = ["--data.real.init_args.scenes=8", "--data.real.init_args.image_size=64", "--data.copies=1", "--data.limit=4"]


@pytest.fixture(autouse=True)
def _at_home(monkeypatch):
    monkeypatch.chdir(ROOT)


def generate(folder, *words, subcommand="predict"):
    runs = [f"--runs_dir={folder / 'runs'}", f"--data.output={folder / 'out'}"]
    run = cli.main([subcommand, CONFIG, *runs, *QUIET, *words])
    return run, [json.loads(line) for line in (folder / "out" / "manifest.jsonl").read_text().splitlines()]


def test_scenes_are_drawn_anew(tmp_path, capsys):
    run, entries = generate(tmp_path, *FEW)
    assert type(run.model).__name__ == "LayoutInpainting"
    assert [each["name"] for each in entries] == ["0-0", "1-0", "2-0", "3-0"]
    assert "4 pictures in " in capsys.readouterr().out
    generate(tmp_path, *FEW)
    assert "0 of them made now" in capsys.readouterr().out
    run, _ = generate(tmp_path, *FEW, "--data.only=2-0")
    assert "1 of 1 picture are the same bytes" in capsys.readouterr().out
    made = (tmp_path / "out" / "images" / "2-0.png").read_bytes()
    assert (run.run_folder / "made_again" / "images" / "2-0.png").read_bytes() == made


def test_gligen_draws_into_photographs(tmp_path):
    coco = make_coco_detection(tmp_path)
    model = write_gligen(tmp_path / "gligen")
    files = [f"--data.annotations={coco / 'annotations' / 'instances_train2017.json'}"]
    files += [f"--data.images={coco / 'train2017'}", "--data.copies=1"]
    inpainter = ["--model.inpainter=networks.GLIGENInpainter", f"--model.inpainter.model={model}"]
    _, entries = generate(tmp_path, *files, *inpainter, "--model.inpainter.steps=2")
    assert [each["name"] for each in entries] == [f"0000000000{number}-0" for number in ("09", "25", "34")]
    assert entries[0]["prompt"] == "a person and a car"
    assert entries[0]["inpainter"]["options"]["steps"] == 2
    assert entries[0]["truth"] is None


def test_objects_are_pasted_beside_those_of_the_picture(tmp_path):
    pasting = ["--model.inpainter=networks.ObjectPasting", "--model.inpainter.objects=datamodules.SceneObjects"]
    drawn = [f"--data.drawn.{option}" for option in ("places=anywhere", "classes=balanced", "fewest=2", "most=3")]
    _, entries = generate(tmp_path, *FEW, *pasting, "--model.inpainter.objects.missing=0.2", *drawn)
    for entry in entries:
        new = sum(entry["repainted"])
        assert 2 <= new <= 3
        assert entry["repainted"] == [True] * new + [False] * (len(entry["source"]["objects"]) - new)
        assert [each is None for each in entry["truth"]["verdicts"]] == [not each for each in entry["repainted"]]
        assert entry["inpainter"]["options"]["objects"]["options"] == {"wrong_class": 0.0, "missing": 0.2}
    content = json.loads((tmp_path / "out" / "annotations.json").read_text())
    assert sum(each["repainted"] for each in content["annotations"]) == sum(sum(each["repainted"]) for each in entries)
    assert {each["source_id"] is None for each in content["annotations"] if each["repainted"]} == {True}
    filtered = cli.main(["predict", "--config=configs/gen2det_filter.yaml", f"--runs_dir={tmp_path / 'runs'}", *QUIET,
                         f"--data.generated={tmp_path / 'out'}", *FEW[:2], "--model.instances=false",
                         "--model.image_score=null", "--data.beside=false"])  # fmt: skip
    truth = json.loads((filtered.run_folder / "filter.json").read_text())["truth"]["annotations"]["there"]
    assert sum(truth.values()) == sum(sum(each["repainted"]) for each in entries)


def test_objects_of_a_folder_are_pasted_into_the_layout(tmp_path):
    coco = make_coco_detection(tmp_path)
    path = coco / "annotations" / "instances_train2017.json"
    for each in json.loads(path.read_text())["categories"]:
        save_photo(tmp_path / "objects" / each["name"] / "1.png", 30, 20)
    words = [f"--data.annotations={path}", f"--data.images={coco / 'train2017'}", "--data.copies=1"]
    words += ["--model.inpainter=networks.ObjectPasting", "--model.inpainter.objects=datamodules.ObjectFolder"]
    words += [f"--model.inpainter.objects.folder={tmp_path / 'objects'}", "--model.inpainter.cut_out=false"]
    _, entries = generate(tmp_path, *words)
    assert len(entries) == 3
    assert all(all(each["repainted"]) for each in entries)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data.annotations=none.json", "--data.images=none"], "The layouts was not found"),
        (["--data.copies=0"], "Layouts.copies is 0"),
        (["--model.inpainter.init_args.faults.missing=1.5"], "missing"),
        (["--data.drawn.places=anywhere"], "--data.drawn.classes=frequency"),
        (["--data.drawn.classes=weights", "--data.drawn.weights=none.json"], "none.json, the weights of classes"),
        (["--data.only=nobody"], "no generated picture is called 'nobody'"),
    ],
)
def test_what_cannot_be_is_told(tmp_path, capsys, words, message):
    with pytest.raises(SystemExit) as end:
        generate(tmp_path, *FEW, *words)
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_there_is_nothing_to_train(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        generate(tmp_path, subcommand="fit")
    assert end.value.code == 2
    assert "python cli.py predict" in capsys.readouterr().err
