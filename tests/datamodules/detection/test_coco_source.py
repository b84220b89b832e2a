from pathlib import Path

import pytest

from datamodules.detection.coco_source import CocoSource
from tests.helpers.replicas_detection import make_coco_detection
from visionscapes.errors import UserError

NONE = {"train": None, "val": None}


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
