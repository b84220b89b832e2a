import json
import logging
import shutil

import pytest
import torch

from datamodules.analysis.coco_instances import COCOInstances
from datamodules.common.errors import DatasetNotFoundError
from tests.helpers.replicas_vit import COCO_BOXES, make_coco_instances
from visionscapes.errors import UserError


@pytest.fixture
def root(tmp_path):
    return make_coco_instances(tmp_path)


def ready(root, **options):
    data = COCOInstances(str(root), **({"image_size": 20, "batch_size": 2, "num_workers": 0} | options))
    data.setup("test")
    return data


def batches(data):
    return {name: list(loader) for name, loader in data.test_dataloader().items()}


def test_saliency_batches_follow_the_interface(root):
    found = batches(ready(root))["saliency@20"]
    assert [len(batch["image"]) for batch in found] == [2, 2]
    for batch in found:
        assert (batch["task"], batch["dataset"]) == ("saliency", "COCO")
        assert batch["image"].shape == (2, 3, 20, 20)
        assert (batch["mask"].shape, batch["mask"].dtype) == ((2, 20, 20), torch.bool)
        assert ((batch["image"].mean(1) > 0.5) == batch["mask"]).float().mean() > 0.95
    masks = torch.cat([batch["mask"] for batch in found])
    assert masks.any((1, 2)).tolist() == [True, True, True, False]  # the crop leaves nothing of the last


def test_objects_come_one_picture_a_batch_by_id(root):
    found = batches(ready(root))["objects@40"]
    assert [batch["image_id"] for batch in found] == [f"{number:012d}" for number in (9, 25, 34, 139)]
    assert [batch["label"].tolist() for batch in found] == [[1, 90], [3], [90], [1]]
    assert [batch["image"].shape[2:] for batch in found] == [(40, 64), (66, 40), (40, 40), (40, 58)]
    for batch in found:
        assert batch["task"] == "objects"
        assert batch["masks"].shape == (len(batch["label"]), *batch["image"].shape[2:])
        assert batch["masks"].flatten(1).any(1).all()
        assert ((batch["image"][0].mean(0) > 0.5) == batch["masks"].any(0)).float().mean() > 0.95


def test_a_crowd_is_an_instance(root):
    first = batches(ready(root))["objects@40"][0]
    x1, y1, x2, y2 = COCO_BOXES[9][1][1]
    area = (x2 - x1) * (y2 - y1)  # the picture keeps its size of 64 x 40
    assert first["masks"][1].sum() == area


def test_only_the_first_by_id_count_whether_annotated_or_not(root):
    data = ready(root, object_images=3, saliency_images=4)  # 9, 25, 30 without instances, and 34
    assert [image.path.stem[-3:] for image in data.images["objects"]] == ["009", "025"]
    assert [image.path.stem[-3:] for image in data.images["saliency"]] == ["009", "025", "034"]
    assert list(ready(root, tasks=["objects"]).test_dataloader()) == ["objects@40"]
    assert list(ready(root, tasks=["objects", "saliency"]).test_dataloader()) == ["saliency@20", "objects@40"]


def test_what_is_left_out_is_counted(root, caplog):
    with caplog.at_level(logging.WARNING):
        ready(root)
    assert "COCO val2017, objects: left out 1 of 5 pictures: they have no instance" in caplog.text
    assert "passed over 1 polygons with fewer than three corners and 2 instances without any pixel" in caplog.text
    assert "COCO val2017 has 5 images here, 5000 as published" in caplog.text


def test_the_other_layout(tmp_path):
    root = make_coco_instances(tmp_path, "images/val2017")
    assert len(batches(ready(root))["objects@40"]) == 4


@pytest.mark.parametrize(
    ("part", "missing"),
    [
        ("annotations/instances_val2017.json", r"instances_val2017\.json"),
        ("val2017", r"val2017 or .*images/val2017"),
        ("val2017/000000000034.jpg", r"1 files: val2017/000000000034\.jpg"),
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


def test_annotations_without_masks_are_an_error(root):
    path = root / "annotations" / "instances_val2017.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"annotations": []}))
    with pytest.raises(DatasetNotFoundError, match="a picture with an instance among the first 5"):
        ready(root)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tasks": ["parts"]}, "one or more of saliency, objects"),
        ({"tasks": []}, "one or more of saliency, objects"),
        ({"image_size": 0}, "image_size is 0"),
        ({"object_images": 0}, "object_images is 0"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(UserError, match=message):
        COCOInstances("x", **options)


def test_workers_give_the_same_batches(root):
    for one, other in zip(*(batches(ready(root, num_workers=n))["objects@40"] for n in (0, 2)), strict=True):
        assert torch.equal(one["image"], other["image"])
        assert torch.equal(one["masks"], other["masks"])
