import random

import numpy as np
import pytest
import torch
from pycocotools import mask as rle

from datamodules.detection.annotations import AnnotatedImage
from datamodules.detection.datamodule import DetectionDataModule
from datamodules.detection.second_view import SecondView
from tests.helpers.image_files import save_photos, truncate
from visionscapes.errors import UserError


class Squares(DetectionDataModule):
    """Pictures of several shapes with 0 to 4 annotations and masks."""

    classes = ("square",)

    def __init__(self, count=12, repeated=None, **options):
        common = {"batch_size": 4, "num_workers": 0, "seed": 0, "train_sizes": [24, 32], "longest": 60, "test_size": 40}
        super().__init__(**({"with_masks": True, "second_view": SecondView()} | common | options))
        self.count, self.repeated = count, repeated

    def training_images(self):
        return [squares(k) for k in range(self.count)]

    def evaluation_images(self):
        return [squares(k + 100) for k in range(5)]

    def repeats(self):
        return self.repeated


def squares(index):
    rng = np.random.default_rng(index)
    size = (int(rng.integers(20, 50)), int(rng.integers(20, 50)))
    corners = rng.integers(0, 10, (index % 5, 2))
    boxes = np.concatenate([corners, corners + rng.integers(2, 10, corners.shape)], 1).astype(np.float32)
    masks = np.zeros((*size, len(boxes)), np.uint8, order="F")
    for k, (x1, y1, x2, y2) in enumerate(boxes.astype(int)):
        masks[y1:y2, x1:x2, k] = 1
    none = np.zeros(len(boxes), bool)
    return AnnotatedImage(
        image_id=index,
        read=rng.integers(0, 256, (*size, 3), dtype=np.uint8).copy,
        size=size,
        boxes=boxes,
        labels=np.zeros(len(boxes), np.int64),
        ignored=none,
        removed=none,
        areas=(boxes[:, 2:] - boxes[:, :2]).prod(1),
        ids=np.arange(len(boxes)) + 1,
        masks=tuple(rle.encode(masks)),
    )


def equal(first, second):
    if isinstance(first, torch.Tensor):
        return first.dtype == second.dtype and torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(equal(first[key], second[key]) for key in first)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(equal(a, b) for a, b in zip(first, second, strict=True))
    return first == second


def epoch_of(data, epoch):
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)
    return list(loader)


def by_id(batches):
    keys = [key for key in batches[0] if key != "task"]
    return {
        image_id: {key: batch[key][place] for key in keys}
        for batch in batches
        for place, image_id in enumerate(batch["image_id"])
    }


def random_states():
    return torch.get_rng_state(), torch.from_numpy(np.random.get_state()[1].astype(np.int64)), random.getstate()


# ------------------------------------------------------------------------------------------- training


def test_training_batches_follow_the_interface():
    batches = epoch_of(Squares(), 0)
    assert [len(batch["image"]) for batch in batches] == [4, 4, 4]
    kinds = {
        "image": torch.uint8,
        "second_view": torch.uint8,
        "boxes": torch.float32,
        "labels": torch.int64,
        "ignored": torch.float32,
        "masks": torch.bool,
        "with_mask": torch.bool,
        "removed_boxes": torch.float32,
        "removed_labels": torch.int64,
        "size": torch.int64,
    }
    for batch in batches:
        assert batch["task"] == "detection"
        assert set(batch) == {"task", "image_id", *kinds}
        for key, kind in kinds.items():
            assert [value.dtype for value in batch[key]] == [kind] * 4
        for image, view, masks, boxes in zip(
            batch["image"], batch["second_view"], batch["masks"], batch["boxes"], strict=True
        ):
            assert view.shape == image.shape
            assert masks.shape == (len(boxes), *image.shape[1:])
            assert max(image.shape[1:]) <= 60
            assert min(image.shape[1:]) in (24, 32) or max(image.shape[1:]) == 60
    samples = by_id(batches)
    assert sorted(samples) == list(range(12))  # those without annotations too
    assert [len(samples[k]["boxes"]) for k in range(12)] == [k % 5 for k in range(12)]


@pytest.mark.parametrize("epoch", [0, 3])
def test_two_workers_give_the_same_training_batches(epoch):
    assert equal(epoch_of(Squares(num_workers=2), epoch), epoch_of(Squares(), epoch))


def test_a_sample_is_a_function_of_seed_epoch_and_index():
    samples = by_id(epoch_of(Squares(), 1))
    torch.manual_seed(77)
    np.random.seed(77)
    assert equal(by_id(epoch_of(Squares(batch_size=3), 1)), samples)  # whatever comes with it in a batch
    assert equal(by_id(epoch_of(Squares(), 1)), samples)
    for other in (epoch_of(Squares(), 2), epoch_of(Squares(seed=1), 1)):
        changed = by_id(other)
        assert not any(equal(changed[k]["second_view"], samples[k]["second_view"]) for k in range(12))
        assert {changed[k]["image"].shape == samples[k]["image"].shape for k in range(12)} == {True, False}


def test_loading_leaves_the_random_numbers_of_the_process_alone():
    before = random_states()
    epoch_of(Squares(), 0)
    list(Squares().val_dataloader())
    assert equal(random_states(), before)


def test_without_masks_and_views_there_are_none():
    for batch in epoch_of(Squares(with_masks=False, second_view=None), 0):
        assert "masks" not in batch
        assert "second_view" not in batch
        assert "truth" not in batch


def test_repeats_show_pictures_more_often_in_an_epoch():
    data = Squares(count=4, repeated=np.array([1, 3, 1, 3]), batch_size=8)
    (batch,) = epoch_of(data, 0)
    assert sorted(batch["image_id"]) == [0, 1, 1, 1, 2, 3, 3, 3]
    views = [view for view, image_id in zip(batch["second_view"], batch["image_id"], strict=True) if image_id == 1]
    assert not equal(views[0], views[1])  # every time anew


# ----------------------------------------------------------------------------------------- evaluation


def test_evaluation_goes_through_every_picture_once_at_one_size():
    batches = list(Squares().val_dataloader())
    assert [batch["image_id"] for batch in batches] == [[100, 101, 102, 103], [104]]
    for batch in batches:
        assert "masks" not in batch
        for image, size, truth, view in zip(
            batch["image"], batch["size"], batch["truth"], batch["second_view"], strict=True
        ):
            height, width = size.tolist()
            factor = min(40 / min(height, width), 60 / max(height, width))
            assert image.shape == view.shape == (3, int(height * factor + 0.5), int(width * factor + 0.5))
            assert truth["boxes"].shape == (len(truth["labels"]), 4)
    boxes = by_id(batches)[103]["truth"]["boxes"]
    assert torch.equal(boxes, torch.from_numpy(squares(103).boxes))


def test_evaluation_is_the_same_every_time_and_for_any_number_of_workers_and_batches():
    data = Squares()
    first = list(data.val_dataloader())
    torch.manual_seed(5)
    loader = data.val_dataloader()
    assert equal(list(loader), first)
    assert equal(list(loader), first)
    assert equal(list(data.test_dataloader()), first)
    assert equal(list(Squares(num_workers=2).val_dataloader()), first)
    assert equal(by_id(list(Squares(batch_size=1).val_dataloader())), by_id(first))


def test_second_views_of_evaluation_differ_between_pictures_and_seeds():
    first, other = by_id(list(Squares().val_dataloader())), by_id(list(Squares(seed=1).val_dataloader()))
    for image_id in first:
        assert equal(first[image_id]["image"], other[image_id]["image"])
        assert not equal(first[image_id]["second_view"], other[image_id]["second_view"])
        assert not equal(first[image_id]["second_view"], first[image_id]["image"])


# ------------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"longest": 0}, "longest is 0"),
        ({"test_size": -1}, "test_size is -1"),
        ({"train_sizes": [32, 0]}, r"train_sizes is \[32, 0\]; each of its values has to be between 2 and"),
        ({"train_sizes": []}, r"train_sizes is \[\]; it has to be a list of 1 or more values"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(UserError, match=message):
        Squares(**options)


def test_fewer_pictures_than_a_batch_are_an_error():
    with pytest.raises(UserError, match="lower batch_size"):
        Squares(count=3).train_dataloader()


def test_pictures_to_predict_are_the_users_or_those_that_are_evaluated(tmp_path):
    data = Squares()
    assert not data.finds_pictures("predict")
    batches = list(data.predict_dataloader())
    assert [batch["task"] for batch in batches] == ["detect"] * 2
    numbers = [number for batch in batches for number in batch["image_id"]]
    assert numbers == [each.image_id for each in data.evaluation_images()]
    save_photos(tmp_path, 3)
    data = Squares(pictures=str(tmp_path))
    assert data.finds_pictures("predict")
    assert not data.finds_pictures("test")
    names = [batch["name"] for batch in data.predict_dataloader()]
    assert names == [["bucket0/000.png"], ["bucket0/002.png"], ["bucket1/001.png"]]  # none is padded for another


def test_categories_are_numbered_from_1_where_the_data_do_not_say():
    data = Squares()
    assert data.categories == data.read_categories() == [{"id": 1, "name": "square"}]
    data.category_ids = (7,)
    assert data.categories == [{"id": 7, "name": "square"}]


def test_broken_pictures_are_passed_over_and_named(tmp_path, caplog):
    _, broken, _ = save_photos(tmp_path, 3)
    truncate(broken)
    data = Squares(pictures=str(tmp_path), skip_unreadable=True)
    data.finds_pictures("predict")
    names = [name for batch in data.predict_dataloader() for name in batch["name"]]
    assert names == ["bucket0/000.png", "bucket0/002.png"]
    data.teardown("predict")
    assert "001.png" in caplog.text
    data = Squares(pictures=str(tmp_path))
    data.finds_pictures("predict")
    with pytest.raises(UserError, match=r"001\.png.*skip_unreadable=true"):
        list(data.predict_dataloader())


def test_pictures_that_are_not_there_are_refused_with_the_option(tmp_path):
    with pytest.raises(UserError, match=r"--data\.pictures"):
        Squares(pictures=str(tmp_path / "no")).finds_pictures("predict")
