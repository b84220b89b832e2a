import csv
import json
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

import cli
from callbacks.results.array_store import describe
from datamodules import LabelledImages
from datamodules.common.inspection.inspect_data import inspect_data
from datamodules.images.labelled_images import MOST_QUERIES, ClassQueries, LabelledFiles
from tests.helpers.image_files import save_photo, truncate
from tests.helpers.runs import ROOT
from visionscapes.errors import UserError

COLOURS = {"cat": (210, 60, 60), "Hündin": (60, 200, 60), "owl": (60, 60, 210)}
QUIET = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]


def save_coloured(path, label, seed):
    """Write a picture that tells its class by its colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).normal(COLOURS[label], 30, (20 + seed % 5, 24, 3))
    Image.fromarray(noise.clip(0, 255).astype(np.uint8)).save(path)


@pytest.fixture
def photos(tmp_path):
    for place, label in enumerate(COLOURS):
        for number in range(10):
            save_coloured(tmp_path / "photos" / label / f"{number}.png", label, seed=100 * place + number)
    return tmp_path / "photos"


def ready(root, stage="fit", **options):
    settings = {"image_size": 16, "batch_size": 4, "num_workers": 0, "color_jitter": False} | options
    data = LabelledImages(str(root), **settings)
    data.setup(stage)
    return data


def counts(part):
    return Counter(part.labels)


def test_a_batch_follows_the_interface(photos):
    data = ready(photos)
    assert data.class_names == ["Hündin", "cat", "owl"]
    batch = next(iter(data.train_dataloader()))
    assert batch["task"] == "images"
    assert batch["image"].shape == (4, 3, 16, 16)
    assert batch["label"].dtype == torch.int64
    for image, label in zip(batch["image"], batch["label"].tolist(), strict=True):
        assert int(image.mean((1, 2)).argmax()) == {"cat": 0, "Hündin": 1, "owl": 2}[data.class_names[label]]
    (name,) = data.val_dataloader()
    assert name == "images@16"


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 0.99])
def test_of_every_class_a_share_is_held_out_but_never_all(photos, share):
    data = ready(photos, val_fraction=share)
    count = min(max(1, round(10 * share)), 9)
    assert counts(data.val_part) == dict.fromkeys(range(3), count)
    assert counts(data.train_part) == dict.fromkeys(range(3), 10 - count)
    assert not set(data.val_part.paths) & set(data.train_part.paths)


def test_seed_and_names_decide_what_is_held_out(photos, tmp_path):
    first = ready(photos).val_part.paths
    assert ready(photos).val_part.paths == first
    assert ready(photos, seed=1).val_part.paths != first
    photos.rename(tmp_path / "moved")
    moved = ready(tmp_path / "moved").val_part.paths
    assert [path.relative_to(tmp_path / "moved") for path in moved] == [path.relative_to(photos) for path in first]
    assert ready(tmp_path / "moved", val_fraction=0.0).val_dataloader() == {}


def test_a_class_of_one_picture_is_trained_on(photos):
    save_coloured(photos / "rare" / "1.png", "cat", 0)
    data = ready(photos)
    assert counts(data.train_part)[data.class_names.index("rare")] == 1
    assert counts(data.val_part)[data.class_names.index("rare")] == 0


def test_folders_of_parts_are_the_parts(photos):
    for number in range(10):
        for label in COLOURS:
            part = "train" if number < 6 else "val" if number < 8 else "test"
            (photos / part / label).mkdir(parents=True, exist_ok=True)
            (photos / label / f"{number}.png").rename(photos / part / label / f"{number}.png")
    for label in COLOURS:
        (photos / label).rmdir()
    data = ready(photos)
    assert [len(part.paths) for part in (data.train_part, data.val_part, data.test_part)] == [18, 6, 6]
    assert len(data.test_dataloader()["knn-test@16"].dataset) == 6
    assert data.test_dataloader()["knn-test@16"].dataset.paths == data.test_part.paths
    assert set(data.contents()) == {"train", "val", "test"}


def write_table(photos, rows, first="path,label,split"):
    (photos / "labels.csv").write_text("\n".join([first, *rows]), encoding="utf-8")
    return photos


def test_a_table_says_classes_and_parts_and_wins_over_folders(photos):
    paths = sorted(path.relative_to(photos).as_posix() for path in photos.rglob("*.png"))
    rows = [f"{path},{10 - number % 2},{'val' if number > 19 else 'train'}" for number, path in enumerate(paths)]
    data = ready(write_table(photos, rows))
    assert data.class_names == ["9", "10"]
    assert (len(data.train_part.paths), len(data.val_part.paths)) == (20, 10)
    assert data.train_part.labels == [1 - number % 2 for number in range(20)]


def test_classes_can_be_chosen_and_ordered(photos):
    data = ready(photos, classes=["owl", "cat"])
    assert data.class_names == ["owl", "cat"]
    labelled = zip(data.train_part.paths, data.train_part.labels, strict=True)
    assert {(path.parent.name, label) for path, label in labelled} == {("owl", 0), ("cat", 1)}
    with pytest.raises(UserError, match=r"classes has dog, of which there is no picture; .* has Hündin, cat, owl"):
        ready(photos, classes=["dog", "cat"])
    with pytest.raises(UserError, match="a class more than once"):
        ready(photos, classes=["cat", "cat"])


def test_mistakes_get_one_line(photos):
    with pytest.raises(UserError, match=r"pictures of 1 class \(cat\), and there is nothing to tell apart: add"):
        ready(photos, classes=["cat"])
    rows = ["cat/0.png,cat,train", "owl/0.png,owl,train", "owl/1.png,Owl,val", "cat/2.png,cat,test"]
    with pytest.raises(UserError, match=r"val has pictures of 1 classes that train has none of \(Owl; train has cat"):
        ready(write_table(photos, rows))
    with pytest.raises(UserError, match="and none of train: add some"):
        ready(write_table(photos, ["cat/0.png,cat,val", "owl/0.png,owl,test"]))


def test_what_cannot_be_read_ends_a_training_before_it_begins_or_is_left_out(photos):
    truncate(save_photo(photos / "cat" / "broken.jpg", 100, 100))
    (photos / "lost").mkdir()
    (photos / "lost" / "1.jpg").write_text("no picture")
    with pytest.raises(
        UserError, match=r"2 of 32 pictures below .*: cat/broken\.jpg, lost/1\.jpg.*skip_unreadable=true"
    ):
        ready(photos)
    assert len(ready(photos, check_files=False).train_part.paths) == 26
    data = ready(photos, skip_unreadable=True)
    assert data.class_names == ["Hündin", "cat", "owl"]
    assert {path.name for path in data.skipped} == {"broken.jpg", "1.jpg"}
    assert sorted(data.train_part.paths + data.val_part.paths) == sorted(photos.rglob("*.png"))


def test_queries_name_the_pictures_of_their_class(photos):
    data = ready(photos, "test")
    loaders = data.test_dataloader()
    assert list(loaders) == [f"{task}@16" for task in data.all_tasks]
    database = torch.cat([batch["label"] for batch in loaders["retrieval-database@16"]])
    index = torch.cat([batch["index"] for batch in loaders["retrieval-database@16"]])
    assert torch.equal(index, torch.arange(24))
    for batch in loaders["retrieval-queries@16"]:
        assert batch["dataset"] == "photos"
        for label, easy, hard in zip(batch["label"].tolist(), batch["easy"], batch["hard"], strict=True):
            assert torch.equal(easy, (database == label).nonzero()[:, 0])
            assert not len(hard)
    mixed = torch.cat([batch["label"] for batch in loaders["images@16"]])
    assert sorted(mixed.tolist()) == [0, 0, 1, 1, 2, 2]
    assert mixed.tolist() != sorted(mixed.tolist())


def test_many_queries_are_thinned_evenly(tmp_path):
    many = LabelledFiles([tmp_path / f"{number}.png" for number in range(2500)], [number % 3 for number in range(2500)])
    queries = ClassQueries(many, many, None, upright=True)
    assert len(queries) == 834 <= MOST_QUERIES
    assert queries.paths[1] == many.paths[3]


def test_tasks_can_be_narrowed_and_need_something_held_out(photos, caplog):
    data = ready(photos, "test", tasks=["knn-test", "knn-train"])
    assert list(data.test_dataloader()) == ["knn-train@16", "knn-test@16"]
    data.only({"knn-test", "images"})
    assert list(data.test_dataloader()) == ["knn-test@16"]
    data.only(None)
    assert len(data.test_dataloader()) == 2
    with pytest.raises(UserError, match="tasks is"):
        LabelledImages(str(photos), tasks=["nothing"])
    alone = ready(photos, "test", val_fraction=0.0)
    assert list(alone.test_dataloader()) == ["images@16"]
    assert "nothing is held out, so that there is no knn-train, knn-test" in caplog.text


def test_what_was_measured_is_not_taken_for_a_changed_folder(photos):
    before = describe(ready(photos, "test"))
    assert describe(ready(photos, "test")) == before
    save_coloured(photos / "cat" / "3.png", "owl", 3)
    assert describe(ready(photos, "test")) != before
    (photos / "cat" / "4.png").rename(photos / "owl" / "4b.png")
    assert describe(ready(photos, "test")) != before


def test_other_pictures_can_be_predicted(photos, tmp_path):
    save_photo(tmp_path / "others" / "x.jpg")
    data = LabelledImages(str(tmp_path / "others" / "*.jpg"), num_workers=0)
    data.setup("predict")
    assert [batch["path"] for batch in data.predict_dataloader()] == [[str(tmp_path / "others" / "x.jpg")]]


def test_it_is_looked_over(photos, caplog):
    (photos / "empty").mkdir()
    (photos / "cat" / "broken.png").write_text("")
    found = inspect_data(LabelledImages(str(photos), image_size=16, batch_size=4, num_workers=0, val_fraction=0.0))
    assert any("1 of 31 samples cannot be read: " in str(finding) for finding in found.errors)
    assert found.classes["train"].counts.tolist() == [10, 11, 10]
    (photos / "cat" / "broken.png").unlink()
    report = inspect_data(LabelledImages(str(photos), image_size=16, batch_size=4, num_workers=0))
    assert not report.errors
    assert report.classes["train"].names == ("Hündin", "cat", "owl")
    assert report.classes["train"].counts.tolist() == [8, 8, 8]
    assert any("they hold no picture" in finding.text for finding in report.warnings)


TINY = "--model.model_args={patch_size: 8, img_size: 16, embed_dim: 24, depth: 2, num_heads: 2}"


def test_a_classifier_learns_folders_and_is_tested_on_them(photos, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    data = ["--data=LabelledImages", f"--data.root={photos}", "--data.image_size=16", "--data.num_workers=0"]
    data += ["--data.batch_size=8", "--data.color_jitter=false"]
    model = [TINY, "--model.classes=3", "--model.mixup=0", "--model.warmup=2"]
    run = [*QUIET, f"--runs_dir={tmp_path / 'runs'}"]
    config = "--config=configs/supervision/supervised.yaml"
    fitted = cli.main(["fit", config, *data, *model, *run, "--trainer.max_steps=40", "--name=a"]).run_folder
    with (fitted / "metrics.csv").open() as file:
        accuracy = [float(row["val/accuracy"]) for row in csv.DictReader(file) if row.get("val/accuracy")]
    assert accuracy[-1] > 0.8
    capsys.readouterr()
    cli.main(["test", config, *data, *model, *run, f"--ckpt_path={fitted}", "--name=b"])
    assert "test/accuracy" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        cli.main(["fit", config, *data, *model, *run, "--model.classes=2", "--name=c"])
    assert ended.value.code == 2
    told = "3 classes (Hündin, cat, owl) and the model 2 outputs: set --model.init_args.classes=3"
    assert told in capsys.readouterr().err


def test_vits_are_analysed_on_labelled_pictures(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    vit = {"model": "vit_tiny_patch16_224", "weights": None, "method": "FS"}
    vit["model_args"] = {"patch_size": 8, "img_size": 16, "embed_dim": 24, "depth": 2, "num_heads": 2}
    callbacks = ["FeatureClustering", "ImageRetrieval", "LinearProbe", "FeatureSimilarity", "AttentionAnalysis"]
    words = [f"--trainer.callbacks+=callbacks.{name}" for name in callbacks]
    words += ["--trainer.callbacks+=callbacks.NearestNeighbours", "--trainer.callbacks.k=5"]
    words += ["--model=ViTAnalysis", f"--model.models={json.dumps({'mine': vit})}", "--model.image_size=16"]
    words += ["--data=LabelledImages", f"--data.root={photos}", "--data.image_size=16", "--data.num_workers=0"]
    words += [*QUIET, f"--runs_dir={tmp_path / 'runs'}", "--name=a"]
    run = cli.main(["test", *words]).run_folder
    found = {}
    for protocol in ("knn", "probe", "retrieval", "clustering"):
        with (run / "results" / f"{protocol}.csv").open() as file:
            found |= {row["metric"]: float(row["value"]) for row in csv.DictReader(file)}
    assert found["k-NN top-1"] > 0.6  # colours survive random weights
    assert 0 < found["photos mAP M"] <= 1
    assert "photos mAP H" not in found
    assert {"probe CLS", "image CLS purity"} <= set(found)
    assert (run / "results" / "similarity.csv").is_file()
