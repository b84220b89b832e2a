"""configs/gen2det_filter.yaml through the real entry point: what configs/gen2det_generate.yaml leaves, filtered."""

import csv
import json
import shutil

import pytest
from pycocotools.coco import COCO

import cli
from lightning_modules import GeneratedPictureFilter
from tests.configs.test_detection import SCENES, fit
from tests.configs.test_gen2det_generate import FEW, QUIET, generate
from tests.helpers.runs import ROOT

FILTER = "--config=configs/gen2det_filter.yaml"
REAL = ["--data.real.init_args.scenes=8", "--data.real.init_args.image_size=64"]


@pytest.fixture(autouse=True)
def _at_home(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Generated pictures, and a detector that has hardly learnt anything."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        folder = tmp_path_factory.mktemp("gen2det")
        generate(folder, *FEW[:-1])
        words = ["--config=configs/detector.yaml", *SCENES, "--model.init_args.backbone_weights=null"]
        run = fit(folder, *words, "--test_after_fit=false")
        (folder / "detector").symlink_to(run.run_folder)
    return folder


def filtered(folder, *words):
    (folder / "out" / "filtered.json").unlink(missing_ok=True)
    runs = [f"--runs_dir={folder / 'runs'}", f"--data.generated={folder / 'out'}"]
    run = cli.main(["predict", FILTER, *runs, *QUIET, *REAL, *words])
    lines = [json.loads(line) for line in (folder / "out" / "filter.jsonl").read_text().splitlines()]
    return run, COCO(str(folder / "out" / "filtered.json")), lines


def refused(folder, capsys, *words):
    with pytest.raises(SystemExit) as end:
        filtered(folder, *words)
    assert end.value.code == 2
    return capsys.readouterr().err


def manifest(folder):
    return [json.loads(line) for line in (folder / "out" / "manifest.jsonl").read_text().splitlines()]


def test_pictures_are_filtered_by_their_score_alone(folder, capsys):
    run, coco, lines = filtered(folder, "--model.instances=false", "--model.percentile=40")
    printed = capsys.readouterr().out
    summary = json.loads((folder / "out" / "filter.json").read_text())
    assert type(run.model).__name__ == "GeneratedPictureFilter"
    assert [each["name"] for each in lines] == [each["name"] for each in manifest(folder)]
    kept = [each["name"] for each in lines if each["score"] >= summary["tau_a"]]
    assert 0 < len(kept) < len(lines)
    assert [image["file_name"] for image in coco.imgs.values()] == [f"{name}.png" for name in kept]
    assert [each["name"] for each in lines if each["kept"]] == kept
    whole = COCO(str(folder / "out" / "annotations.json"))
    assert all(coco.anns[number] == whole.anns[number] for number in coco.anns)
    assert len(coco.anns) == sum(len(each["annotations"]) for each in lines if each["kept"])
    assert " a second" in printed
    assert "by the truth of the manifest, pictures kept: " in printed
    assert (run.run_folder / "pictures" / "dropped_pictures.png").is_file()
    bad = {each["name"] for each in manifest(folder) if each["truth"]["low_quality"]}
    assert summary["truth"]["pictures"]["kept"] == {
        "good": len(set(kept) - bad), "bad": len(set(kept) & bad),
    }  # fmt: skip


def test_several_filters_of_the_same_pictures_lie_side_by_side(folder):
    _, beside, _ = filtered(folder, "--model.instances=false", "--model.percentile=40")
    before = (folder / "out" / "filtered.json").read_bytes()
    words = ["--model.instances=false", "--model.percentile=40", "--data.beside=false"]
    runs = [f"--runs_dir={folder / 'runs'}", f"--data.generated={folder / 'out'}"]
    run = cli.main(["predict", FILTER, *runs, *QUIET, *REAL, *words])
    assert (folder / "out" / "filtered.json").read_bytes() == before == (run.run_folder / "filtered.json").read_bytes()
    assert (run.run_folder / "filter.jsonl").is_file()
    with (run.run_folder / "results" / "filter.csv").open(newline="") as file:
        kept = {row["method"]: float(row["value"]) for row in csv.DictReader(file) if row["metric"] == "kept"}
    assert kept["pictures"] == len(beside.imgs) / len(manifest(folder))
    images = f"--data.synthetic.images={folder / 'out' / 'images'}"
    fit(folder, "--config=configs/gen2det.yaml", *SCENES, "--model.init_args.backbone_weights=null", images,
        f"--data.synthetic.annotations={run.run_folder / 'filtered.json'}", "--test_after_fit=false",
        "--data.synthetic.probability=1", "--data.init_args.batch_size=1")  # fmt: skip


@pytest.fixture
def looked_at(monkeypatch):
    """The names of the pictures that a filter looks at, in order; it ends with an error before one that is told to."""
    names, plain = [], GeneratedPictureFilter.predict_step

    def watched(self, batch, batch_idx):
        if batch["task"] == "filter":
            if names[:1] == ["stop"] and len(names) > 4:
                raise KeyboardInterrupt
            names.extend(batch["name"])
        return plain(self, batch, batch_idx)

    monkeypatch.setattr(GeneratedPictureFilter, "predict_step", watched)
    return names


def test_after_an_interruption_no_picture_is_looked_at_twice(folder, tmp_path, looked_at):
    words = [f"--model.detector={folder / 'detector'}", "--model.tau_s=0", "--model.tau_iou=0.01"]
    words += ["--model.class_aware=false", "--data.batch_size=1"]
    for name in ("whole", "cut"):
        shutil.copytree(folder / "out", tmp_path / name / "out")
        shutil.rmtree(tmp_path / name / "out" / "evidence", ignore_errors=True)
    filtered(tmp_path / "whole", *words)
    pictures = [each["name"] for each in manifest(folder)]
    assert looked_at == pictures
    looked_at[:] = ["stop"]
    with pytest.raises(SystemExit) as end:
        filtered(tmp_path / "cut", *words)
    assert end.value.code == 130
    assert not (tmp_path / "cut" / "out" / "filtered.json").exists()
    done = looked_at[1:]
    looked_at.clear()
    filtered(tmp_path / "cut", *words)
    assert looked_at == pictures[len(done) :]
    assert 0 < len(done) < len(pictures)
    for name in ("filtered.json", "filter.jsonl"):
        assert (tmp_path / "cut" / "out" / name).read_bytes() == (tmp_path / "whole" / "out" / name).read_bytes()


def test_with_other_thresholds_no_picture_is_looked_at_again_but_by_other_networks(folder, looked_at, capsys):
    words = [f"--model.detector={folder / 'detector'}", "--model.tau_iou=0.02", "--model.class_aware=false"]
    filtered(folder, *words, "--model.tau_s=0")
    pictures = len(manifest(folder))
    assert len(looked_at) == pictures
    looked_at.clear()
    filtered(folder, *words, "--model.tau_s=0.01", "--model.rules.least_side=9", "--model.percentile=50")
    assert looked_at == []
    assert "none of which had to be looked at again" in capsys.readouterr().out
    filtered(folder, *words, "--model.tau_s=0", "--model.image_score.blur=0.02")
    assert len(looked_at) == pictures
    looked_at.clear()
    picture = folder / "out" / "images" / f"{manifest(folder)[0]['name']}.png"
    text = (folder / "out" / "manifest.jsonl").read_text()
    digest = manifest(folder)[0]["sha256"]
    (folder / "out" / "manifest.jsonl").write_text(text.replace(digest, "f" * 64))
    filtered(folder, *words, "--model.tau_s=0")
    assert looked_at == [picture.stem], "it is another one now"
    (folder / "out" / "manifest.jsonl").write_text(text)


def test_annotations_are_filtered_by_the_detector(folder, capsys):
    """It has hardly learnt anything, so that any score counts, anywhere."""
    words = [f"--model.detector={folder / 'detector'}", "--model.tau_s=0", "--model.tau_iou=0"]
    words.append("--model.class_aware=false")
    _, coco, lines = filtered(folder, *words, "--trainer.callbacks.early=3")
    assert "after " in capsys.readouterr().out
    for each in lines:
        for one in each["annotations"]:
            assert one["verdict"] == ("picture" if not each["kept"] else "kept" if one["seen"] > 0 else "unseen")
    kept = [one["id"] for each in lines for one in each["annotations"] if one["verdict"] == "kept"]
    assert list(coco.anns) == kept
    summary = json.loads((folder / "out" / "filter.json").read_text())
    assert sum(summary["annotations"]["many"].values()) == len(kept)
    assert summary["detector"].startswith(str(folder))


def test_rules(folder):
    words = ["--model.instances=false", "--model.image_score=null", "--model.rules.most_per_class=2"]
    _, coco, lines = filtered(folder, *words, "--model.rules.least_side=8")
    assert len(coco.imgs) == len(lines)
    assert all(min(each["bbox"][2:]) >= 8 for each in coco.anns.values())
    counts = [len(coco.getAnnIds(catIds=[number])) for number in coco.cats]
    assert max(counts) == 2


def test_a_detector_that_sees_nothing_is_told_early_and_at_the_end(folder, capsys):
    words = [f"--model.detector={folder / 'detector'}", "--model.tau_s=0.99", "--model.image_score=null"]
    error = refused(folder, capsys, *words)
    assert "no annotation of 8 pictures is kept: the detector sees few of the objects: lower --model.tau_s" in error
    assert not (folder / "out" / "filtered.json").exists()
    assert (folder / "out" / "filter.jsonl").is_file()


LOSSES = ["--model.image_score=null", "--model.tau_s=0.05", "--model.tau_iou=0.01"]


@pytest.fixture(scope="module")
def copies(folder, tmp_path_factory):
    """Two copies of each of four pictures, and the same detector."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        there = tmp_path_factory.mktemp("copies")
        generate(there, *FEW[:2], "--data.copies=2", "--data.limit=4")
        (there / "detector").symlink_to(folder / "detector")
    return there


def test_losses_are_measured_once_and_classes_are_drawn_by_them(copies, looked_at, capsys):
    words = [f"--model.detector={copies / 'detector'}", *LOSSES]
    shutil.rmtree(copies / "out" / "evidence", ignore_errors=True)  # of another test
    filtered(copies, *words, "--model.instances=false", "--model.feedback.losses=true")
    assert "seen by the detector, by quartile of the loss from easy to hard: " in capsys.readouterr().out
    pictures = manifest(copies)
    assert sorted(looked_at) == sorted(each["name"] for each in pictures)
    _, _, lines = filtered(copies, *words, "--model.feedback.losses=true")
    assert len(looked_at) == len(pictures), "it goes on with what it knows"
    weights = json.loads((copies / "out" / "class_losses.json").read_text())
    names = {each["id"]: each["name"] for each in COCO(str(copies / "out" / "annotations.json")).cats.values()}
    passed, unseen = {}, {}
    for line in lines:
        for each in line["annotations"]:
            (passed if each["verdict"] == "kept" else unseen).setdefault(names[each["category_id"]], []).append(
                each["loss"]
            )
    assert passed
    assert unseen.keys() - passed.keys(), "none of a class passes, of a detector that has hardly learnt anything"
    expected = unseen | passed
    assert weights == {name: pytest.approx(sum(each) / len(each), rel=1e-6) for name, each in expected.items()}
    drawn = ["--data.drawn.classes=weights", f"--data.drawn.weights={copies / 'out' / 'class_losses.json'}"]
    _, entries = generate(copies / "again", *FEW, *drawn)
    assert {each["name"] for entry in entries for each in entry["source"]["objects"]} <= weights.keys()


def test_the_hardest_copies_are_kept(copies, looked_at, capsys):
    words = [f"--model.detector={copies / 'detector'}", *LOSSES, "--model.instances=false", "--model.feedback.keep=1"]
    chosen = {}
    for choose in ("hardest", "easiest", "random"):
        run, coco, lines = filtered(copies, *words, f"--model.feedback.choose={choose}")
        assert "4 of 8 pictures are chosen among the copies of their real ones" in capsys.readouterr().out
        chosen[choose] = {image["file_name"].removesuffix(".png") for image in coco.imgs.values()}
        assert {each["name"] for each in lines if each["kept"]} == chosen[choose]
        assert {name.split("-")[0] for name in chosen[choose]} == set("0123")
        assert len(coco.anns) == sum(len(each["annotations"]) for each in lines if each["kept"])
        lost = {one["verdict"] for each in lines if not each["kept"] for one in each["annotations"]}
        assert lost == {"copy"}
        assert (run.run_folder / "pictures" / "kept_by_loss.png").is_file() == (choose != "random")
        if choose != "random":
            means = {each["name"]: sum(one["loss"] for one in each["annotations"]) / len(each["annotations"])
                     for each in lines}  # fmt: skip
            for number in "0123":
                best = (max if choose == "hardest" else min)((f"{number}-0", f"{number}-1"), key=means.get)
                assert best in chosen[choose]
    assert chosen["hardest"].isdisjoint(chosen["easiest"])
    summary = json.loads((copies / "out" / "filter.json").read_text())
    assert summary["pictures"] == {"all": 8, "kept": 4}
    assert list(summary["annotations"]) == [
        "all",
        "picture",
        "small",
        "long",
        "full frame",
        "unseen",
        "twice",
        "copy",
        "many",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "there is no detector to look for the generated objects: give --model.detector="),
        (["--model.detector=nowhere"], "there is nothing at nowhere"),
        (
            ["--model.instances=false", "--model.tau_a=9"],
            "all 8 generated pictures are dropped: the best",
        ),
        (["--model.instances=false", "--data.real=null"], "nothing says how good a picture has to be"),
        (["--model.instances=false", "--data.generated=nowhere"], "configs/gen2det_generate.yaml"),
        (["--model.instances=false", "--model.tau_s=2"], "GeneratedPictureFilter.tau_s is 2"),
        (
            ["--model.instances=false", "--model.feedback.losses=true"],
            "there is no detector to look for the generated objects: give --model.detector=",
        ),
        (["--model.instances=false", "--model.feedback.keep=1"], "give --model.feedback.keep=<pictures of each"),
        (["--model.instances=false", "--model.feedback.choose=random"], "keep and choose belong together"),
        (["--model.instances=false", "--model.feedback.choose=best"], "model.feedback.choose"),
        (["--model.instances=false", "--model.feedback.keep=0"], "GeneratedPictureFilter.feedback.keep is 0"),
    ],
)
def test_what_cannot_be_is_told(folder, capsys, words, message):
    assert message in refused(folder, capsys, *words)


def test_a_detector_of_other_classes_is_refused(folder, capsys, tmp_path):
    import torch

    path = folder / "detector" / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["categories"][3]["name"] = "dog"
    torch.save(checkpoint, tmp_path / "other.ckpt")
    error = refused(folder, capsys, f"--model.detector={tmp_path / 'other.ckpt'}")
    assert "is of other classes than the generated pictures (1 of them, such as 'tree'" in error
