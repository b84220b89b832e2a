import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as rle
from pycocotools.coco import COCO

from datamodules.analysis.masks import (
    InstanceSamples,
    MaskedImage,
    SaliencySamples,
    decoded,
    read_coco,
    resized_mask,
    united,
)
from datamodules.common.run_length import compressed
from tests.helpers.replicas_vit import filled, make_coco_instances, polygon, write_masked
from visionscapes.errors import UserError


def test_masks_are_those_of_the_official_reader(tmp_path, capsys):
    path = make_coco_instances(tmp_path) / "annotations" / "instances_val2017.json"
    file, official = read_coco(path), COCO(path)
    assert list(file.images) == sorted(official.imgs)
    for image_id in file.images:
        found = file.masked(image_id, tmp_path / "x.jpg")
        truths = [each for each in official.imgToAnns[image_id] if each["iscrowd"] or len(each["segmentation"][0]) > 4]
        truths = [(each["category_id"], official.annToMask(each).astype(bool)) for each in truths]
        truths = [(label, mask) for label, mask in truths if mask.any()]
        assert found.labels == [label for label, _ in truths]
        assert all((array(mask) == truth).all() for mask, (_, truth) in zip(found.masks, truths, strict=True))
    assert (file.skipped.polygons, file.skipped.instances) == (1, 2)


def array(mask):
    return np.asarray(decoded(mask)).astype(bool)


@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(1, 60))
def test_a_resized_mask_never_vanishes(seed, width, height):
    generator = np.random.default_rng(seed)
    mask = np.zeros((40, 50), np.float32)
    mask[generator.integers(40), generator.integers(50)] = 1
    found = resized_mask(Image.fromarray(mask), (width, height))
    assert found.shape == (height, width)
    assert found.dtype == bool
    assert found.any()


def test_a_mask_of_half_the_picture_stays_half():
    half = Image.fromarray(filled((60, 40), (0, 0, 30, 40)).astype(np.float32))
    assert (resized_mask(half, (30, 20)) == filled((30, 20), (0, 0, 15, 20))).all()
    assert (resized_mask(half, (120, 80)) == filled((120, 80), (0, 0, 60, 80))).all()


def masked_image(tmp_path, size, *boxes, labels=None):
    path = tmp_path / "x.jpg"
    write_masked(path, filled(size, *boxes))
    masks = [compressed([polygon(*box)], size[1], size[0])[0] for box in boxes]
    return MaskedImage("x", path, size, masks, labels or [7] * len(boxes))


@pytest.mark.parametrize("size", [(90, 60), (60, 90), (61, 61)])
def test_picture_and_masks_stay_together(tmp_path, size):
    image = masked_image(tmp_path, size, (10, 12, 40, 30), (25, 20, 55, 52), labels=[3, 0])
    sample = SaliencySamples([image], 30)[0]
    assert sample["image"].shape == (3, 30, 30)
    assert (sample["mask"].shape, sample["mask"].dtype) == ((30, 30), torch.bool)
    assert ((sample["image"].mean(0) > 0.5) == sample["mask"]).float().mean() > 0.97
    batch = InstanceSamples.collate([InstanceSamples([image], 120, "parts")[0]])
    longer = int(120 * max(size) / min(size))
    expected = (120, longer) if size[0] > size[1] else (longer, 120)
    assert batch["task"] == "parts"
    assert batch["image"].shape == (1, 3, *expected)
    assert (batch["masks"].shape, batch["masks"].dtype) == ((2, *expected), torch.bool)
    assert ((batch["image"][0].mean(0) > 0.5) == batch["masks"].any(0)).float().mean() > 0.98
    assert batch["label"].tolist() == [3, 0]
    assert batch["label"].dtype == torch.int64
    assert (batch["index"].tolist(), batch["image_id"]) == ([0], "x")


def test_the_central_square_is_the_same_for_both(tmp_path):
    image = masked_image(tmp_path, (90, 30), (0, 0, 30, 30))  # left of the square of the middle
    sample = SaliencySamples([image], 15)[0]
    assert not sample["mask"].any()
    assert sample["image"].max() < 0.2


def test_a_union_counts_pixels_once():
    first, second = (compressed([polygon(*box)], 20, 20)[0] for box in [(0, 0, 10, 10), (5, 5, 15, 15)])
    assert rle.area(united([first, second])) == 175


def test_a_picture_of_another_size_than_annotated_is_an_error(tmp_path):
    image = masked_image(tmp_path, (40, 30), (2, 2, 9, 9))
    write_masked(image.path, filled((30, 40)))
    with pytest.raises(UserError, match=rf"{image.path} has 30 x 40 pixels.*for 40 x 30: put the original"):
        SaliencySamples([image], 8)[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.pop("images"), "KeyError.*unpack the data set again"),
        (lambda content: content["annotations"][0].pop("image_id"), "unpack the data set again"),
        (lambda content: content["annotations"][0].update(image_id=12345), "12345"),
        (lambda content: content["annotations"][0].update(category_id=2), "category 2 is not defined"),
        (lambda content: content["images"][0].update(file_name="000000000009.jpg"), "000000000009.jpg"),
        (lambda content: content["images"].append(content["images"][0] | {"file_name": "x.jpg"}), "twice"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, change, message):
    path = make_coco_instances(tmp_path) / "annotations" / "instances_val2017.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=message) as error:
        read_coco(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("text", ["", "[]", "[1]", "{"])
def test_a_file_of_another_kind_is_named(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(UserError, match=r"x\.json is not an instances file"):
        read_coco(tmp_path / "x.json")


@pytest.mark.parametrize("segmentation", [None, "abc", [["x"] * 6], {"counts": [1]}, {"size": [1, 1], "counts": [1]}])
def test_a_damaged_mask_is_named_with_its_annotation(tmp_path, segmentation):
    path = make_coco_instances(tmp_path) / "annotations" / "instances_val2017.json"
    content = json.loads(path.read_text())
    first = content["annotations"][0]
    first["segmentation"] = segmentation
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=f"annotation {first['id']} in .*unpack the data set again"):
        read_coco(path).masked(first["image_id"], tmp_path / "x.jpg")
