"""A name that leads out of the data set is refused by every reader of names, with the file that has it."""

import pickle
from pathlib import Path

import pytest

from datamodules import (
    DAVIS2017,
    COCO20k,
    COCODetection,
    COCOInstances,
    ImageCaptions,
    LabelledImages,
    LVISDetection,
    RevisitedRetrieval,
    SPair71k,
    VOCDetection,
)
from datamodules.common.file_names import refuse_escape
from tests.helpers.image_files import save_photo
from tests.helpers.replicas import make_coco20k, make_davis, make_spair
from tests.helpers.replicas_detection import edit_json, make_coco_detection, make_lvis, make_voc_detection
from tests.helpers.replicas_vit import make_coco_instances, make_retrieval
from visionscapes.errors import UserError

BAD = "../../etc/passwd"


@pytest.mark.parametrize("name", [BAD, "..", "a/../../b.jpg", "./../b.jpg"])
def test_names_that_leave_the_folder_are_refused(tmp_path, name):
    with pytest.raises(UserError, match=r"list.txt names .*leads out of the folder"):
        refuse_escape(["a.jpg", name], tmp_path / "list.txt")


def test_names_within_the_folder_and_absolute_paths_are_allowed(tmp_path):
    allowed = ["a.jpg", "a/../b.jpg", "..a.jpg", "a..jpg", "/data/../a.jpg", "..."]
    refuse_escape(allowed, tmp_path)
    with pytest.raises(UserError, match="passwd"):  # found among them
        refuse_escape([*allowed, BAD, "a.jpg"], tmp_path)


def captions(root: Path) -> Path:
    save_photo(root / "a.jpg", 20, 20)
    (root / "captions.csv").write_text("path,caption\na.jpg,a cat\n")
    return root


def labels(root: Path) -> Path:
    save_photo(root / "a.jpg", 20, 20)
    (root / "labels.csv").write_text("path,label\na.jpg,cat\n")
    return root


def spoil_image(path: Path) -> None:
    edit_json(path, lambda content: content["images"][0].update(file_name=BAD))


def spoil_url(path: Path) -> None:
    def change(content):
        content["images"][0].pop("file_name", None)
        content["images"][0]["coco_url"] = "http://images.org/../passwd"

    edit_json(path, change)


def spoil_pair(path: Path) -> None:
    for pair in path.glob("[!.]*.json"):  # of which one is not listed, and not read
        edit_json(pair, lambda content: content.update(src_imname=BAD))


def spoil_list(path: Path) -> None:
    path.write_text(f"{path.read_text().rstrip()}\n{BAD}\n")


def spoil_captions(path: Path) -> None:
    path.write_text(f"{path.read_text()}{BAD},a secret\n")


def spoil_truth(path: Path) -> None:
    content = pickle.loads(path.read_bytes())
    path.write_bytes(pickle.dumps(content | {"imlist": [BAD, *content["imlist"][1:]]}, protocol=2))


COLUMNS = {"path_column": "path", "caption_column": "caption"}
COCO = "annotations/instances_train2017.json"
READERS = {
    "COCO detection": (make_coco_detection, COCO, spoil_image, COCODetection, {}),
    "LVIS": (make_lvis, "annotations/lvis_v1_train.json", spoil_url, LVISDetection, {}),
    "VOC": (make_voc_detection, "VOCdevkit/VOC2007/ImageSets/Main/trainval.txt", spoil_list, VOCDetection, {}),
    "COCO instances": (make_coco_instances, "annotations/instances_val2017.json", spoil_image, COCOInstances, {}),
    "COCO20k": (make_coco20k, "annotations/instances_train2014.json", spoil_image, COCO20k, {"names": None}),
    "list of COCO20k": (make_coco20k, "coco_20k_filenames.txt", spoil_list, COCO20k, {}),
    "SPair": (make_spair, "PairAnnotation/test", spoil_pair, SPair71k, {}),
    "DAVIS": (make_davis, "ImageSets/2017/val.txt", spoil_list, DAVIS2017, {}),
    "captions": (
        captions,
        "captions.csv",
        spoil_captions,
        ImageCaptions,
        {"path_column": "path", "caption_column": "caption"},
    ),
    "labels": (labels, "labels.csv", spoil_captions, LabelledImages, {}),
    "retrieval": (
        make_retrieval,
        "roxford5k/gnd_roxford5k.pkl",
        spoil_truth,
        RevisitedRetrieval,
        {"datasets": ["roxford5k"]},
    ),
}


@pytest.mark.parametrize("reader", READERS)
def test_readers_refuse_it_by_name(tmp_path, reader):
    make, listed, spoil, datamodule, options = READERS[reader]
    root = make(tmp_path)
    spoil(root / listed)
    data = datamodule(str(root), **options)
    with pytest.raises(UserError, match=r"passwd'?, which leads out of the folder of the data set") as refused:
        data.setup("fit" if reader in ("COCO detection", "LVIS", "VOC", "captions", "labels") else "test")
    assert listed in str(refused.value)
