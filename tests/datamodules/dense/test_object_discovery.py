import json
import logging
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.common.errors import DatasetNotFoundError
from datamodules.dense.object_discovery import COCO20k, VOCDiscovery, voc_boxes
from tests.helpers.replicas import make_coco20k, make_voc
from visionscapes.errors import UserError


def voc(root, **options):
    data = VOCDiscovery(str(root), num_workers=0, **options)
    data.setup("test")
    return data


def coco(root, **options):
    data = COCO20k(str(root), num_workers=0, **options)
    data.setup("test")
    return data


def test_voc_boxes_by_hand(tmp_path):
    found = {image.image_id: image.boxes.tolist() for image in voc(make_voc(tmp_path)).images}
    assert list(found) == ["000012", "000005", "000009", "000021"]  # in the order of the list, zeros kept
    assert found["000012"] == [[0, 0, 50, 40], [44, 9, 48, 20]]
    assert found["000005"] == [[10, 0, 30, 20], [1, 2, 9, 9]]
    assert found["000009"] == [[4, 5, 7, 8]]
    assert found["000021"] == [[0, 1, 3, 4]]


def test_voc_without_hard_objects(tmp_path):
    found = {image.image_id: image.boxes.tolist() for image in voc(make_voc(tmp_path), drop_hard=True).images}
    assert list(found) == ["000012", "000005", "000021"]
    assert found["000012"] == [[0, 0, 50, 40]]


def test_voc_batches(tmp_path):
    loaders = voc(make_voc(tmp_path), image_sizes=[20, 30], batch_size=3).test_dataloader()
    assert list(loaders) == ["discovery@20", "discovery@30"]
    first, second = loaders["discovery@20"]
    assert first["task"] == "discovery"
    assert first["image"].shape == (3, 3, 20, 20)
    assert first["image_id"] == ["000012", "000005", "000009"]
    assert second["image_id"] == ["000021"]
    # 50 x 40 to 20 x 20: factors of 2/5 and 1/2, from the image and not from the wrong size in the annotation.
    assert torch.allclose(first["boxes"][0], torch.tensor([[0, 0, 20, 20], [17.6, 4.5, 19.2, 10]]))
    path = tmp_path / "VOCdevkit" / "VOC2007" / "JPEGImages" / "000012.jpg"
    image = Image.open(path).resize((20, 20), Image.Resampling.BILINEAR)
    assert torch.equal(first["image"][0], torch.tensor(np.asarray(image)).permute(2, 0, 1) / 255)


def test_boxes_can_be_cut_to_whole_pixels(tmp_path):
    sample = voc(make_voc(tmp_path), image_sizes=[20], truncate_boxes=True).dataset(20)[0]
    assert sample["boxes"].tolist() == [[0, 0, 20, 20], [17, 4, 19, 10]]


@pytest.mark.parametrize("below", ["", "VOCdevkit", "VOCdevkit/VOC2012"])
def test_voc_is_found_from_any_of_its_folders(tmp_path, below):
    make_voc(tmp_path, 2012)
    assert len(voc(tmp_path / below, year=2012).images) == 4


def test_voc_of_another_year_is_not_taken(tmp_path):
    make_voc(tmp_path, 2007)
    with pytest.raises(DatasetNotFoundError, match=r"VOCtrainval_11-May-2012\.tar"):
        voc(tmp_path, year=2012)


@pytest.mark.parametrize("part", ["ImageSets/Main/trainval.txt", "Annotations/000009.xml"])
def test_a_missing_part_of_voc_is_named(tmp_path, part):
    make_voc(tmp_path)
    (tmp_path / "VOCdevkit" / "VOC2007" / part).unlink()
    with pytest.raises(DatasetNotFoundError, match=part) as error:
        voc(tmp_path)
    assert f"Looked in: {tmp_path}" in str(error.value)
    assert "VOCdevkit/VOC2007/" in str(error.value)
    assert "--data.init_args.root" in str(error.value)
    assert "VOCtrainval_06-Nov-2007.tar" in str(error.value)


@pytest.mark.parametrize("text", ["<annotation><object>", "<a><object><name>dog</name></object></a>"])
def test_a_broken_annotation_is_an_error_that_names_it(tmp_path, text):
    path = tmp_path / "000001.xml"
    path.write_text(text)
    with pytest.raises(UserError, match=r"000001\.xml"):
        voc_boxes(path)


def test_coco_boxes_by_hand(tmp_path):
    found = {image.image_id: image.boxes.tolist() for image in coco(make_coco20k(tmp_path)).images}
    assert list(found) == [f"COCO_train2014_{number:012d}" for number in (30, 9, 25)]  # the order of the list
    # 1.5 and 2.5 to even numbers, as Python and numpy round; 22.7 to 23; the sums are rounded, not the sides.
    assert found["COCO_train2014_000000000030"] == [[2, 2, 12, 23], [0, 1, 3, 5]]
    assert found["COCO_train2014_000000000009"] == [[10, 5, 31, 35]]  # no crowd
    assert found["COCO_train2014_000000000025"] == []


def test_coco_batches_pair_images_with_their_boxes(tmp_path):
    (batch,) = coco(make_coco20k(tmp_path), image_sizes=[32], batch_size=4).test_dataloader()["discovery@32"]
    assert [tuple(boxes.shape) for boxes in batch["boxes"]] == [(2, 4), (1, 4), (0, 4)]
    assert torch.allclose(batch["boxes"][1], torch.tensor([[5, 10 / 3, 15.5, 70 / 3]]))
    file = tmp_path / "coco" / "train2014" / "COCO_train2014_000000000009.jpg"
    image = Image.open(file).resize((32, 32), Image.Resampling.BILINEAR)
    assert torch.equal(batch["image"][1], torch.tensor(np.asarray(image)).permute(2, 0, 1) / 255)


def test_a_reduced_annotation_file_needs_no_list(tmp_path):
    root = make_coco20k(tmp_path)
    whole = root / "annotations" / "instances_train2014.json"
    content = json.loads(whole.read_text())
    content["images"] = [image for image in content["images"] if image["id"] != 34]
    content["annotations"] = [item for item in content["annotations"] if item["image_id"] != 34]
    (tmp_path / "reduced.json").write_text(json.dumps(content))
    (root / "coco_20k_filenames.txt").unlink()
    found = coco(root, annotations=str(tmp_path / "reduced.json"), names=None).images
    assert [image.image_id[-2:] for image in found] == ["09", "30", "25"]


def test_coco_images_may_lie_in_a_folder_images(tmp_path):
    root = make_coco20k(tmp_path)
    shutil.move(root / "train2014", root / "images" / "train2014")
    assert coco(root).dataset(16)[0]["image"].shape == (3, 16, 16)


@pytest.mark.parametrize("part", ["train2014", "annotations/instances_train2014.json", "coco_20k_filenames.txt"])
def test_a_missing_part_of_coco_is_named(tmp_path, part):
    root = make_coco20k(tmp_path)
    shutil.rmtree(root / part) if (root / part).is_dir() else (root / part).unlink()
    with pytest.raises(DatasetNotFoundError, match=part) as error:
        coco(root)
    assert f"Looked in: {root}" in str(error.value)
    assert "--data.init_args.root" in str(error.value)
    assert "coco_20k_filenames.txt of the repository valeoai/LOST" in str(error.value)


def test_listed_images_that_are_not_annotated_are_an_error(tmp_path):
    root = make_coco20k(tmp_path)
    with (root / "coco_20k_filenames.txt").open("a") as file:
        file.write("train2014/COCO_train2014_000000000077.jpg\n")
    with pytest.raises(UserError, match=r"1 of 4 listed images.*000000000077"):
        coco(root)


def test_another_json_file_is_an_error_that_names_it(tmp_path):
    root = make_coco20k(tmp_path)
    (root / "annotations" / "instances_train2014.json").write_text('{"images": [{"id": 3}]}')
    with pytest.raises(UserError, match=r"instances_train2014\.json is not an instances file"):
        coco(root)


def test_fewer_images_than_published_are_a_warning(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        voc(make_voc(tmp_path))
        coco(make_coco20k(tmp_path))
    assert "4 images here, 5011 as published" in caplog.text
    assert "3 images here, 19817 as published" in caplog.text
