import json
import logging

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader

import datamodules
from datamodules.common.inspection.inspect_data import inspect_data
from tests.helpers.image_files import save_photo, save_photos, truncate
from tests.helpers.replicas import make_davis, make_spair
from tests.helpers.replicas_detection import edit_json, make_coco_detection, make_lvis, make_voc_detection
from tests.helpers.replicas_translation import make_celeba_mask_hq, make_edges2handbags, make_paired_folders
from tests.helpers.tiny import TinyData
from visionscapes.errors import UserError


def said(report, level=None):
    return [str(finding) for finding in report.findings if level in (None, finding.level)]


SMALL = {"batch_size": 2, "num_workers": 0}
WORLDS = {
    "SceneWorld": {"scenes": 4, "crops": 2, "image_size": 32, "batch_size": 2, "held_out": 4},
    "SourceWorld": {"images": 2, "discovery_images": 1, "image_size": 16, "batch_size": 2},
    "FaceWorld": {"images": 4, "test_images": 2, "image_size": 32, "batch_size": 2},
    "DetectionScenes": {"scenes": 4, "batch_size": 2},
    "SubjectWorld": {"subjects": 8, "batch_size": 2},
    "PeopleWorld": {"people": 4, "test_people": 2, "image_size": 32, "batch_size": 2},
    "TalkingWorld": {"clips": 2, "val_clips": 1, "test_clips": 1, "batch_size": 2},
}


@pytest.mark.parametrize("name", WORLDS)
def test_embedded_worlds_have_nothing_wrong(name):
    report = inspect_data(getattr(datamodules, name)(**WORLDS[name]), files=4, batches=2)
    assert said(report, "error") == []
    assert report.loaders["train"].looked_at
    assert any(report.examples.values())


def folders(tmp_path):
    save_photos(tmp_path / "photos", 6)
    for source in "ab":
        for number in range(3):
            save_photo(tmp_path / "labelled" / source / f"{number}.png", seed=number + 10 * (source == "b"))
    (tmp_path / "captions").mkdir()
    for number in range(4):
        save_photo(tmp_path / "captions" / f"{number}.jpg", seed=number)
    lines = [json.dumps({"path": f"{number}.jpg", "caption": "two words"}) for number in range(4)]
    (tmp_path / "captions" / "captions.jsonl").write_text("\n".join(lines))


FOLDERS = {
    "ImageFolder": lambda root: {"root": str(root / "photos"), "image_size": 16},
    "ImageCaptions": lambda root: {"root": str(root / "captions"), "image_size": 16},
    "LabelledImages": lambda root: {"root": str(root / "labelled"), "image_size": 16},
    "SourceImages": lambda root: {
        "labelled": str(root / "labelled"),
        "discovery": str(root / "photos"),
        "image_size": 16,
    },
    "COCODetection": lambda root: {"root": str(make_coco_detection(root)), "train_sizes": [32], "test_size": 32},
    "VOCDetection": lambda root: {"root": str(make_voc_detection(root)), "train_sizes": [32], "test_size": 32},
    "LVISDetection": lambda root: {"root": str(make_lvis(root)), "train_sizes": [32], "test_size": 32},
    "CelebAMaskHQ": lambda root: {"root": str(make_celeba_mask_hq(root)), "image_size": 16},
    "Edges2Handbags": lambda root: {"root": str(make_edges2handbags(root)), "image_size": 16},
    "PairedImages": lambda root: paired(root),
}


def paired(root):
    folder = make_paired_folders(root, tuple("abcdef"))
    return {"images": str(folder / "images"), "labels": str(folder / "labels"), "classes": 4, "image_size": 16}


@pytest.mark.parametrize("name", FOLDERS)
def test_files_of_every_data_set_are_looked_at(tmp_path, name):
    folders(tmp_path)
    report = inspect_data(getattr(datamodules, name)(**SMALL, **FOLDERS[name](tmp_path)), batches=2)
    assert said(report, "error") == []
    assert report.stored
    assert all(len(stored.sizes) == stored.count > 0 for stored in report.stored.values())
    assert ("COCO" in name or "VOC" in name or "LVIS" in name) == bool(report.boxes)


@pytest.mark.parametrize(("name", "make"), [("SPair71k", make_spair), ("DAVIS2017", make_davis)])
def test_data_that_only_evaluate_are_looked_at_too(tmp_path, name, make):
    report = inspect_data(getattr(datamodules, name)(str(make(tmp_path)), image_sizes=[32], num_workers=0))
    assert said(report, "error") == []
    assert [key.split()[0] for key in report.loaders] == ["test"]


def test_a_folder_with_faults_has_all_of_them_told(tmp_path):
    root = tmp_path / "photos"
    save_photos(root, 8)
    truncate(save_photo(root / "broken.jpg", 100, 100))
    save_photo(root / "copy.bmp", seed=3)
    (root / "notes.txt").write_text("x")
    Image.new("RGB", (40, 30)).save(root / "black.png")
    report = inspect_data(datamodules.ImageFolder(str(root), image_size=16, val_fraction=0.5, **SMALL))
    errors, warned = said(report, "error"), said(report, "warning")
    assert len(report.errors) >= 1
    assert any("1 of " in text and "broken.jpg" in text for text in errors)
    assert any("copies of others" in text or "are in train too" in text for text in warned)
    assert any("one colour" in text and "black.png" in text for text in warned)
    assert f"{root}: left out 1 file that is no image: 1 .txt" in warned


def test_what_is_skipped_is_no_error(tmp_path):
    save_photos(tmp_path, 6)
    truncate(save_photo(tmp_path / "broken.jpg", 100, 100))
    report = inspect_data(datamodules.ImageFolder(str(tmp_path), image_size=16, skip_unreadable=True, **SMALL))
    assert said(report, "error") == []
    assert any("1 files cannot be read and are left out" in text for text in said(report))


def test_a_set_that_cannot_be_found_ends_with_its_own_message(tmp_path):
    report = inspect_data(datamodules.COCODetection(str(tmp_path / "nowhere")))
    assert len(report.errors) == 1
    assert "nowhere" in report.errors[0].text
    assert not report.loaders


def test_what_is_there_is_looked_at_although_a_picture_is_missing(tmp_path):
    coco = make_coco_detection(tmp_path)
    (coco / "train2017" / "000000000009.jpg").unlink()
    report = inspect_data(datamodules.COCODetection(str(coco), train_sizes=[32], test_size=32, **SMALL))
    assert [finding.part for finding in report.errors] == ["setup"]
    assert "000000000009.jpg" in report.errors[0].text
    assert report.stored["train"].count == 3
    assert report.boxes["train"].count > 0


def crowded(content):
    for annotation in content["annotations"]:
        annotation["iscrowd"] = 1


def test_another_error_is_told_beside_what_is_missing(tmp_path):
    coco = make_coco_detection(tmp_path)
    (coco / "val2017" / "000000000139.jpg").unlink()
    edit_json(coco / "annotations" / "instances_train2017.json", crowded)
    report = inspect_data(datamodules.COCODetection(str(coco), train_sizes=[32], test_size=32, **SMALL))
    first, second = report.errors
    assert "000000000139.jpg" in first.text
    assert "annotations are crowds or difficult" in second.text
    assert first.part == second.part == "setup"


def test_crowds_alone_are_told_as_that_and_once(tmp_path):
    coco = make_coco_detection(tmp_path)
    edit_json(coco / "annotations" / "instances_train2017.json", crowded)
    report = inspect_data(datamodules.COCODetection(str(coco), train_sizes=[32], test_size=32, **SMALL))
    (error,) = said(report, "error")
    assert "annotations are crowds or difficult" in error
    assert "no boxes" not in error


def test_label_maps_that_do_not_fit_are_errors(tmp_path):
    options = paired(tmp_path)
    Image.fromarray(np.full((15, 20), 9, np.uint8)).save(next((tmp_path).rglob("labels/c.png")))
    report = inspect_data(datamodules.PairedImages(**SMALL, **options))
    assert any("c.png holds the labels 9" in text for text in said(report, "error"))


class Odd(LightningDataModule):
    """Any data module, which tells nothing of its files."""

    def __init__(self, images, val=None):
        super().__init__()
        self.images, self.val = images, val

    def setup(self, stage):
        logging.getLogger("datamodules.odd").warning("something was left out")

    def train_dataloader(self):
        return DataLoader([{"image": image} for image in self.images], batch_size=2)

    def val_dataloader(self):
        return [] if self.val is None else DataLoader([{"image": image} for image in self.val], batch_size=2)


def test_a_data_module_that_tells_nothing_is_known_by_its_batches():
    images = torch.rand(4, 3, 8, 8)
    report = inspect_data(Odd(images, images[:1]))
    assert said(report) == ["something was left out", "val: 1 pictures of its first batches are in those of train too"]
    report = inspect_data(Odd([images[0], images[0]]))
    assert said(report)[1:] == [
        "val: nothing is held out for validation",
        "train: 1 of 2 pictures of the first 1 batches came before",
    ]
    report = inspect_data(Odd(images * float("nan"), images[:1]))
    assert said(report, "error") == ["train: 768 of 768 numbers of image are not finite"]
    assert report.findings[0].level == "error", "the worst comes first"


class Failing(Odd):
    def train_dataloader(self):
        raise KeyError("a bug of the user's own")

    def val_dataloader(self):
        raise UserError("no validation here")


def test_whatever_fails_is_an_error_with_its_part():
    report = inspect_data(Failing([]))
    assert said(report, "error") == ['train: KeyError("a bug of the user\'s own")', "val: no validation here"]


def test_tiny_data_is_fine():
    assert said(inspect_data(TinyData()), "error") == []
