import logging
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from datamodules.common.errors import DatasetNotFoundError
from datamodules.detection.coco import COCODetection
from datamodules.detection.coco_source import CocoSource
from tests.datamodules.detection.coco_cases import TRAIN, VAL, ready, sparse_file
from tests.helpers.replicas_detection import edit_json, make_coco_detection
from visionscapes.errors import UserError

NONE = {"train": None, "val": None}


@pytest.fixture
def root(tmp_path):
    return make_coco_detection(tmp_path)


def source(root, annotations=NONE, images=NONE, held_out=False):
    return CocoSource(Path(root), 2017, annotations=annotations, images=images, held_out=held_out)


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def test_cocos_own_files_are_the_published_ones(tmp_path):
    root = make_coco_detection(tmp_path)
    touch(root / "train" / "_annotations.coco.json")  # does not count beside them
    found = source(root)
    assert found.published
    assert found.annotation_file("train") == root / "annotations" / "instances_train2017.json"
    assert found.name("val") == "COCO val2017"
    assert not source(root, annotations={"train": "a.json", "val": None}).published
    assert not source(root, held_out=True).published


def test_a_root_in_the_working_directory_is_one(tmp_path, monkeypatch):
    make_coco_detection(tmp_path)
    monkeypatch.chdir(tmp_path)
    for part in ("train", "val"):
        assert source("coco").annotation_file(part) == Path("coco") / "annotations" / f"instances_{part}2017.json"


def test_an_empty_folder_lacks_coco_and_own_data(tmp_path):
    found = source(tmp_path)
    assert found.published
    message = str(found.not_found("x", "train"))
    assert "annotations_trainval2017.zip" in message
    assert "--data.init_args.train_annotations=<file in COCO's format>" in message
    pictures = str(found.not_found("x", "val", pictures=True))
    assert "val2017.zip" in pictures
    assert "skip_missing" in pictures


def test_an_export_is_found_and_lacks_what_fits_it(tmp_path):
    touch(tmp_path / "labels.json")
    found = source(tmp_path)
    assert not found.published
    assert found.annotation_file("train") == tmp_path / "labels.json"
    assert found.name("train") == "labels.json (train)"
    message = str(found.not_found(found.annotation_file("val"), "val"))
    assert "--data.init_args.val_fraction=0.1" in message
    assert "--data.init_args.val_annotations=<file" in message
    assert "zip" not in message


def test_the_share_that_is_advised_goes_with_what_is_given(tmp_path):
    touch(tmp_path / "mine.json")
    found = source(tmp_path, annotations={"train": "mine.json", "val": "lost.json"})
    message = str(found.not_found("lost.json", "val"))  # both together are refused
    assert "--data.init_args.val_annotations=null --data.init_args.val_fraction=0.1" in message


def test_what_a_user_names_comes_first(tmp_path):
    touch(tmp_path / "train" / "_annotations.coco.json")
    touch(tmp_path / "valid" / "_annotations.coco.json")
    touch(tmp_path / "mine.json")
    found = source(tmp_path, annotations={"train": None, "val": "mine.json"})
    assert found.annotation_file("train") == tmp_path / "train" / "_annotations.coco.json"
    assert found.annotation_file("val") == tmp_path / "mine.json"


def test_the_folder_of_pictures_that_a_user_names_is_the_only_one(tmp_path):
    (tmp_path / "photos").mkdir()
    assert source(tmp_path, images={"train": "photos", "val": None}).folders("train") == [tmp_path / "photos"]
    assert source(tmp_path).folders("train")[:2] == [tmp_path / "train2017", tmp_path / "images" / "train2017"]
    with pytest.raises(UserError, match="train_images is none, which is no folder, nor one in"):
        source(tmp_path, images={"train": "none", "val": None}).folders("train")


def test_evaluation_needs_nothing_to_train_on(root):
    (root / TRAIN).unlink()
    shutil.rmtree(root / "train2017")
    assert len(ready(root, "validate").evaluation_images()) == 2
    with pytest.raises(DatasetNotFoundError, match="instances_train2017"):
        ready(root)


@pytest.mark.parametrize("folder", ["images/{part}2017", "images/{part}2014", "{part}2014"])
def test_other_layouts_and_years(tmp_path, folder):
    year = int(folder[-4:])
    data = ready(make_coco_detection(tmp_path, folder, year), year=year)
    assert data.training_images()[0].read().shape == (40, 64, 3)


def test_counts_are_compared_with_those_published(root, caplog):
    with caplog.at_level(logging.WARNING):
        ready(root)
    assert "COCO train2017 has 4 images here, 118287 as published" in caplog.text
    assert "COCO val2017 has 2 images here, 5000 as published" in caplog.text
    assert "COCO train2017: left out 1 of 6 boxes: no area (annotation 696 of 000000000034.jpg: " in caplog.text


@pytest.mark.parametrize(
    ("part", "missing"),
    [
        (TRAIN, r"instances_train2017\.json"),
        (VAL, r"instances_val2017\.json"),
        ("train2017", r"4 files: train2017/000000000009\.jpg, train2017/000000000025\.jpg, .*, \.\.\."),
        ("val2017/000000000139.jpg", r"1 files: val2017/000000000139\.jpg"),
    ],
)
def test_a_missing_part_is_named(root, part, missing):
    shutil.rmtree(root / part) if (root / part).is_dir() else (root / part).unlink()
    with pytest.raises(DatasetNotFoundError, match=f"Missing: .*{missing}") as error:
        ready(root)
    message = str(error.value)
    assert str(root) in message
    assert "annotations_trainval2017.zip" in message
    assert "--data.init_args.root" in message


@pytest.mark.parametrize("option", ["train_annotations", "val_annotations", "full_annotations"])
def test_a_named_file_that_is_missing_is_an_error(root, option):
    with pytest.raises(DatasetNotFoundError, match=r"Missing: nowhere\.json"):
        ready(root, **{option: "nowhere.json"})


def test_what_is_missing_is_left_out_on_request_and_counted(root, caplog):
    (root / "train2017" / "000000000009.jpg").unlink()
    edit_json(root / TRAIN, lambda content: content["annotations"][0].update(image_id=77))
    with pytest.raises(UserError, match=r'"image_id" is 77.*skip_missing=true'):
        ready(root)
    data = ready(root, skip_missing=True)
    assert [each.image_id for each in data.training_images()] == [25, 30, 34]
    assert [len(each.labels) for each in data.training_images()] == [1, 0, 0]
    assert "COCO train2017: left out 1 of 4 pictures: they are not there (1 files: train2017/000000000009.jpg)" in (
        caplog.text
    )
    assert "left out 1 of 6 annotations" in caplog.text
    for path in (root / "train2017").glob("*.jpg"):
        path.unlink()
    with pytest.raises(UserError, match="none of the 4 pictures"):
        ready(root, skip_missing=True)


def test_own_files_that_are_missing_have_remedies_that_fit_them(root, tmp_path):
    (root / VAL).rename(tmp_path / "mine.json")
    options = {"train_annotations": TRAIN, "val_annotations": str(tmp_path / "mine.json")}
    shutil.rmtree(root / "val2017")
    with pytest.raises(DatasetNotFoundError, match=r"Missing: 2 files: .*000000000139\.jpg") as error:
        ready(root, "test", **options)
    assert "Name the folder of the pictures: --data.init_args.val_images=<folder>" in str(error.value)
    assert "--data.init_args.skip_missing=true" in str(error.value)
    assert "zip" not in str(error.value)
    with pytest.raises(UserError, match="val_images is nowhere, which is no folder"):
        ready(root, "test", val_images="nowhere", **options)


def test_the_folder_of_the_pictures_can_be_named(root, tmp_path):
    (root / "train2017").rename(tmp_path / "photos")
    (root / "val2017").rename(root / "other")
    data = ready(root, train_images=str(tmp_path / "photos"), val_images="other")
    assert data.training_images()[0].read().shape == (40, 64, 3)
    assert data.evaluation_images()[0].read().shape == (34, 50, 3)


@pytest.mark.parametrize("stage", ["fit", "test"])
def test_a_share_of_the_pictures_can_be_held_out(root, stage):
    (root / VAL).unlink()
    with pytest.raises(DatasetNotFoundError, match=r"val_fraction=0\.1"):
        ready(root, train_annotations=TRAIN)
    with pytest.raises(UserError, match=r"the 1 of 4 pictures that val_fraction=0\.25 holds out have no annotation"):
        ready(root, train_annotations=TRAIN, val_fraction=0.25)
    box = {"id": 1, "image_id": 30, "category_id": 1, "bbox": [1, 1, 9, 9]}
    edit_json(root / TRAIN, lambda content: content["annotations"].append(box))

    def parts(**options):
        data = ready(root, stage, train_annotations=TRAIN, **options)
        return [[each.image_id for each in images] for images in (data.training_images(), data.evaluation_images())]

    train, val = parts(val_fraction=0.5)
    assert len(val) == 2
    assert val == parts(val_fraction=0.5, seed=3, batch_size=1)[1]
    assert set(parts(val_fraction=0.25)[1]) < set(val)
    assert {tuple(parts(val_fraction=0.5, val_seed=seed)[1]) for seed in range(8)} != {tuple(val)}
    assert sorted(train + val) == ([9, 25, 30, 34] if stage == "fit" else val)
    assert len(parts(val_fraction=0.99)[1]) == 3


def test_what_is_held_out_of_a_sparse_file_is_complete(root):
    (root / VAL).unlink()
    sparse = sparse_file(root, {12, 700, 697})
    data = ready(root, train_annotations=sparse, full_annotations=TRAIN, val_fraction=0.5, val_seed=1)
    everything = {9: [12, 699, 698], 25: [697], 30: [], 34: [700, 696]}
    assert {each.image_id: each.ids.tolist() for each in data.evaluation_images()}.items() <= everything.items()
    assert not any(each.removed.any() for each in data.evaluation_images())
    assert sum(each.removed.sum() for each in data.training_images()) > 0


def test_a_share_and_a_file_to_evaluate_on_are_one_too_many():
    with pytest.raises(UserError, match="val_fraction and val_annotations are both given"):
        COCODetection("x", val_fraction=0.1, val_annotations="y.json")


def test_training_that_never_evaluates_needs_nothing_to_evaluate_on(root):
    (root / VAL).unlink()
    data = COCODetection(str(root), train_annotations=TRAIN)
    data.trainer = SimpleNamespace(limit_val_batches=0)
    data.setup("fit")
    assert len(data.training_images()) == 4
    assert data.classes == ("person", "car", "toothbrush")
