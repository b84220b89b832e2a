import logging
import math
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.common.errors import DatasetNotFoundError
from datamodules.detection.lvis import LVISDetection, repeat_factors
from tests.helpers.replicas_detection import edit_json, make_lvis
from visionscapes.errors import UserError

TRAIN, VAL = "annotations/lvis_v1_train.json", "annotations/lvis_v1_val.json"


@pytest.fixture
def root(tmp_path):
    return make_lvis(tmp_path)


def ready(root, stage="fit", **options):
    small = {"batch_size": 2, "num_workers": 0, "train_sizes": [32], "test_size": 32}
    data = LVISDetection(str(root), **(small | options))
    data.setup(stage)
    return data


def test_evaluation_batches_hold_what_is_known_to_be_absent(root):
    data = ready(root, "test", with_masks=True)
    (batch,) = data.test_dataloader()
    assert batch["image_id"] == [72, 139]  # of train2017 and val2017
    negatives_alone, other = batch["truth"]
    assert negatives_alone["boxes"].shape == (0, 4)
    assert (negatives_alone["negative"], negatives_alone["not_exhaustive"]) == ((0, 2), ())
    assert other["boxes"].tolist() == [[5, 5, 15, 15]]
    assert (other["labels"].tolist(), other["negative"], other["not_exhaustive"]) == ([3], (1,), (3,))
    assert other["areas"].tolist() == [50]
    assert len(other["masks"]) == 1
    assert not other["ignored"].any()
    assert data.frequencies == ("c", "r", "f", "f")
    assert data.classes == ("aerosol_can", "air_conditioner", "airplane", "alarm_clock")


def test_training_batches_follow_the_interface(root):
    found = list(ready(root, with_masks=True, repeat_threshold=None).train_dataloader())
    ids = [number for batch in found for number in batch["image_id"]]
    assert sorted(ids) == [9, 25, 30, 34]
    labels = [each.tolist() for batch in found for each in batch["labels"]]
    assert dict(zip(ids, labels, strict=True)) == {9: [2, 0], 25: [2], 30: [], 34: [1, 2]}
    assert all(mask.flatten(1).any(1).all() for batch in found for mask in batch["masks"])


def test_repeat_factors_by_hand():
    # Ten pictures: class 0 in eight, class 1 in two, class 2 in one; one picture without any.
    sets = [[0], [0], [0], [0], [0], [0], [0, 1], [0, 1, 2], [], []]
    factors = repeat_factors([np.array(each, int) for each in sets], 4, 0.4)
    assert factors[:6].tolist() == [1] * 6  # f = .8 > .4
    assert factors[6] == pytest.approx(math.sqrt(0.4 / 0.2))
    assert factors[7] == pytest.approx(2)  # sqrt(.4 / .1), the largest of its three classes
    assert factors[8:].tolist() == [1, 1]


def test_repeat_factors_are_those_of_a_plain_version():
    generator = np.random.default_rng(3)
    sets = [np.unique(generator.integers(0, 30, generator.integers(0, 6))) for _ in range(200)]
    threshold = 0.08
    for labels, factor in zip(sets, repeat_factors(sets, 30, threshold), strict=True):
        expected = 1.0
        for label in labels:
            frequency = sum(label in other for other in sets) / len(sets)
            expected = max(expected, math.sqrt(threshold / frequency))
        assert factor == pytest.approx(expected)


def test_repeats_round_at_random_to_the_factors(root):
    data = ready(root, repeat_threshold=0.5)
    # Of four pictures, classes 0 and 1 are in one each and class 2 is in three: sqrt(.5 / .25) and 1.
    factors = [math.sqrt(2), 1, 1, math.sqrt(2)]
    assert repeat_factors(data.training_images().label_sets(), 4, 0.5).tolist() == pytest.approx(factors)
    drawn = []
    for seed in range(200):
        data.seed = seed
        drawn.append(data.repeats())
    assert np.mean(drawn, 0).tolist() == pytest.approx(factors, abs=0.12)
    assert {tuple(each) for each in drawn} == {(a, 1, 1, b) for a in (1, 2) for b in (1, 2)}
    assert data.repeats().tolist() == data.repeats().tolist()
    assert drawn[0].dtype == np.int64


def test_an_epoch_repeats_pictures_of_rare_classes(root):
    data = ready(root, repeat_threshold=1, batch_size=1)
    assert sorted(set(data.repeats().tolist())) == [1, 2]  # sqrt(1 / .25) = 2, sqrt(1 / .75) = 1.15
    ids = [number for batch in data.train_dataloader() for number in batch["image_id"]]
    assert (ids.count(9), ids.count(34), ids.count(30)) == (2, 2, 1)
    assert ready(root, repeat_threshold=None).repeats() is None
    assert ready(root).repeats().tolist() == [1, 1, 1, 1]


def test_what_is_not_trained_on_does_not_count_for_repeats(root):
    edit_json(root / TRAIN, lambda content: content["annotations"][3].update(bbox=[5, 5, 0, 9]))  # the only one of 2
    factors = repeat_factors(ready(root).training_images().label_sets(), 4, 0.5)
    assert factors.tolist() == pytest.approx([math.sqrt(2), 1, 1, 1])


@pytest.mark.parametrize("annotations", ["annotations", "."])
def test_annotations_lie_in_one_of_two_folders(tmp_path, annotations):
    assert len(ready(make_lvis(tmp_path, annotations)).training_images()) == 4


def test_pictures_may_lie_in_a_folder_of_their_own(root):
    (root / "images").mkdir()
    for folder in ("train2017", "val2017"):
        (root / folder).rename(root / "images" / folder)
    assert [record.read().shape for record in ready(root).evaluation_images()] == [(52, 36, 3), (34, 50, 3)]


def test_counts_are_compared_with_those_published(root, caplog):
    with caplog.at_level(logging.WARNING):
        ready(root)
    assert "LVIS v1 train has 4 images here, 100170 as published" in caplog.text
    assert "LVIS v1 val has 2 images here, 19809 as published" in caplog.text


@pytest.mark.parametrize(
    ("part", "missing"),
    [
        (VAL, r"lvis_v1_val\.json"),
        ("train2017", r"1 files: train2017/000000000072\.jpg"),
        ("val2017/000000000139.jpg", r"1 files: val2017/000000000139\.jpg"),
    ],
)
def test_a_missing_part_is_named(root, part, missing):
    shutil.rmtree(root / part) if (root / part).is_dir() else (root / part).unlink()
    with pytest.raises(DatasetNotFoundError, match=f"Missing: .*{missing}") as error:
        ready(root, "test")
    assert "lvisdataset.org" in str(error.value)


def test_a_file_of_coco_is_no_file_of_lvis(root):
    edit_json(root / VAL, lambda content: content["categories"][0].pop("frequency"))
    with pytest.raises(UserError, match='does not give a "frequency" of r, c or f to every category'):
        ready(root)


def test_files_of_different_categories_are_an_error(root):
    edit_json(root / VAL, lambda content: content["categories"][0].update(name="aerosol"))
    with pytest.raises(UserError, match="define other categories"):
        ready(root)


def test_a_negative_class_that_is_not_defined_is_an_error(root):
    edit_json(root / VAL, lambda content: content["images"][0].update(neg_category_ids=[9]))
    with pytest.raises(UserError, match=r"picture 139 .*names the categories \[9\] as neg_category_ids"):
        ready(root)


@pytest.mark.parametrize("threshold", [0, -1, 1.5])
def test_a_threshold_is_a_share(threshold):
    with pytest.raises(UserError, match="repeat_threshold is"):
        LVISDetection("x", repeat_threshold=threshold)


def test_workers_give_the_same_batches(root):
    for one, other in zip(*(ready(root, num_workers=n).train_dataloader() for n in (0, 2)), strict=True):
        assert one["image_id"] == other["image_id"]
        for a, b in zip(one["image"], other["image"], strict=True):
            assert torch.equal(a, b)


def test_what_is_missing_is_left_out_on_request_and_counted(root, caplog):
    (root / "train2017" / "000000000009.jpg").unlink()
    edit_json(root / TRAIN, lambda content: content["annotations"][2].update(image_id=77))
    data = ready(root, skip_missing=True)
    assert [each.image_id for each in data.training_images()] == [25, 30, 34]
    assert [len(each.labels) for each in data.training_images()] == [0, 0, 2]
    assert "LVIS v1 train: left out 1 of 4 pictures: they are not there" in caplog.text


def test_turned_pictures_are_told_at_setup(root, caplog):
    path = root / "train2017" / "000000000009.jpg"
    with Image.open(path) as image:
        exif = image.getexif()
        exif[0x0112] = 3
        image.save(path, exif=exif)
    ready(root)
    assert "LVIS v1 train: of 1 of 4 pictures, such as 000000000009.jpg, EXIF says to turn them" in caplog.text


def test_a_picture_of_another_size_than_its_annotations_is_found_before_training(root):
    path = root / "train2017" / "000000000009.jpg"
    with Image.open(path) as image:
        image.resize((image.width // 2, image.height // 2)).save(path)
    with pytest.raises(UserError, match=r"000000000009\.jpg"):
        ready(root)
