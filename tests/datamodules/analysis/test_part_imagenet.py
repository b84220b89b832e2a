import json
import logging
import shutil

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from datamodules.analysis.part_imagenet import PartImageNet, in_turn
from datamodules.common.errors import DatasetNotFoundError
from tests.helpers.replicas_vit import make_part_imagenet
from visionscapes.errors import UserError


@pytest.fixture
def root(tmp_path):
    return make_part_imagenet(tmp_path)


def ready(root, **options):
    data = PartImageNet(str(root), **({"image_size": 18, "batch_size": 4, "num_workers": 0} | options))
    data.setup("test")
    return data


def names(data, task):
    return [image.image_id for image in data.images[task]]


def test_batches_follow_the_interface(root):
    loaders = ready(root).test_dataloader()
    assert list(loaders) == ["saliency@18", "parts@36"]
    batch = next(iter(loaders["saliency@18"]))
    assert (batch["task"], batch["dataset"]) == ("saliency", "PartImageNet")
    assert batch["image"].shape == (4, 3, 18, 18)
    assert (batch["mask"].shape, batch["mask"].dtype) == ((4, 18, 18), torch.bool)
    assert ((batch["image"].mean(1) > 0.5) == batch["mask"]).float().mean() > 0.95
    for batch in loaders["parts@36"]:
        assert batch["task"] == "parts"
        assert batch["image"].shape == (1, 3, 36, 48)
        assert batch["masks"].shape == (2, 36, 48)
        assert ((batch["image"][0].mean(0) > 0.5) == batch["masks"].any(0)).float().mean() > 0.95


def test_labels_are_categories_and_the_first_of_them_is_zero(root):
    labels = {batch["image_id"]: batch["label"].tolist() for batch in ready(root).test_dataloader()["parts@36"]}
    assert labels["n02110341_1"] == [0, 1]
    assert labels["n02123394_1"] == [0, 1]  # with a crowd, and without the invalid third
    assert labels["n01491361_3"] == [3, 2]


def test_annotations_of_equal_ids_stay_with_their_own_file(root):
    data = ready(root)
    quadrupeds = [image for image in data.images["parts"] if image.image_id[:9] in ("n02110341", "n02123394")]
    assert all(set(image.labels) == {0, 1} for image in quadrupeds)
    assert all(image.path.parent.parent.name == "val" for image in quadrupeds if image.image_id.startswith("n02123394"))


def test_a_part_of_two_polygons_is_one_mask_without_the_invalid_one(root):
    masks = next(batch for batch in ready(root).test_dataloader()["parts@36"] if batch["image_id"] == "n02110341_1")
    head, tail = masks["masks"]  # the picture keeps its size
    assert head.sum() == 8 * 8
    assert tail.sum() == 14 * 8 + 10 * 6
    assert not tail[:3, :3].any()


def test_crowds_and_polygons_give_the_same_mask(root):
    found = {batch["image_id"]: batch["masks"] for batch in ready(root).test_dataloader()["parts@36"]}
    assert torch.equal(found["n02123394_1"], found["n02123394_2"])


def test_supercategories_are_sampled_evenly_over_their_classes(root):
    data = ready(root, saliency_images=5, part_images=3)
    fish = ["n01491361_1", "n01440764_2", "n01491361_2", "n01491361_3"]  # the first goldfish has no mask
    dogs_and_cats = ["n02110341_1", "n02123394_1", "n02110341_2", "n02123394_2", "n02110341_3"]
    assert names(data, "saliency") == fish + dogs_and_cats
    assert names(data, "parts") == ["n01491361_1", "n01440764_2", "n02110341_1", "n02123394_1", "n02110341_2"]
    assert len(names(ready(root), "saliency")) == 10


@given(st.lists(st.integers(0, 6), max_size=5), st.integers(0, 20))
def test_taking_turns_is_as_even_as_can_be(sizes, count):
    classes = [[(str(name), image) for image in range(size)] for name, size in enumerate(sizes)]
    chosen = in_turn(classes, count)
    assert len(chosen) == len(set(chosen)) == min(count, sum(sizes))
    taken = [sum(name == str(place) for name, _ in chosen) for place in range(len(sizes))]
    assert sorted(chosen) == [
        picture for images, number in zip(classes, taken, strict=True) for picture in images[:number]
    ]
    open_ended = [taken[place] for place, size in enumerate(sizes) if taken[place] < size]
    assert not open_ended or max(taken) - min(open_ended) <= 1


def test_what_is_left_out_is_counted(root, caplog):
    with caplog.at_level(logging.WARNING):
        ready(root)
    assert "PartImageNet, saliency: left out 1 of 11 pictures: they have no valid mask" in caplog.text
    assert "PartImageNet: passed over 10 polygons with fewer than three corners and 1 instances" in caplog.text
    assert "PartImageNet train has 6 images here, 16540 as published" in caplog.text


def test_the_other_release_is_refused(root):
    content = json.loads((root / "val.json").read_text())
    content["images"].append({"id": 77, "file_name": "n01440764_9.JPEG", "width": 1, "height": 1})
    (root / "val.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"share 1 classes, such as n01440764.*PartImageNet_OOD\.zip"):
        ready(root)


def test_files_of_different_categories_are_refused(root):
    content = json.loads((root / "test.json").read_text())
    content["categories"][0]["name"] = "Head"
    (root / "test.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="different categories"):
        ready(root)


@pytest.mark.parametrize("part", ["val.json", "test/n01491361", "train/n02110341/n02110341_3.JPEG"])
def test_a_missing_part_is_named(root, part):
    shutil.rmtree(root / part) if (root / part).is_dir() else (root / part).unlink()
    with pytest.raises(DatasetNotFoundError, match=f"Missing: .*{part}") as error:
        ready(root)
    message = str(error.value)
    assert str(root) in message
    assert "{train,val,test}/n02085782/n02085782_1039.JPEG" in message
    assert "--data.init_args.root" in message
    assert "PartImageNet_OOD.zip" in message


@pytest.mark.parametrize(
    ("options", "message"),
    [({"tasks": ["objects"]}, "one or more of saliency, parts"), ({"part_images": 0}, "part_images is 0")],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(UserError, match=message):
        PartImageNet("x", **options)
