from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as rle

from datamodules.detection.annotations import AnnotatedImage
from datamodules.detection.samples import (
    EvaluationSamples,
    TrainingSamples,
    as_sample,
    collate,
    mirror,
    resize,
    resized_size,
    truth_of,
)
from datamodules.detection.second_view import SecondView

# Box k of a record is drawn in colour channel k on black, so that it can be found again after any change.
BOXES = [(4, 6, 20, 18), (30, 2, 44, 30), (12, 22, 26, 38)]
SIZE = (40, 50)  # height, width


def record(boxes=BOXES, size=SIZE, ignored=(), removed=(), masks=True):
    picture = np.zeros((*size, 3), np.uint8)
    drawn = np.zeros((len(boxes), *size), bool)
    for k, (x1, y1, x2, y2) in enumerate(np.clip(boxes, 0, None).astype(int).reshape(-1, 4)):
        drawn[k, y1:y2, x1:x2] = True
        picture[drawn[k], k % 3] = 255
    corners = np.array(boxes, np.float32).reshape(-1, 4)
    every = np.arange(len(boxes))
    return AnnotatedImage(
        image_id="drawn",
        read=picture.copy,
        size=size,
        boxes=corners,
        labels=every + 5,
        ignored=np.isin(every, ignored),
        removed=np.isin(every, removed),
        areas=(corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1]),
        ids=every + 100,
        masks=tuple(rle.encode(np.asfortranarray(each, np.uint8)) for each in drawn) if masks else None,
        negative=(1,),
        not_exhaustive=(2, 3),
    )


def extent(mask):
    """Return the half-open box around a mask."""
    rows, columns = torch.where(mask)
    return torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).float()


def found(image):
    """Return the boxes of what is drawn in the three channels."""
    return torch.stack([extent(channel > 127) for channel in image])


class Swapped:
    """A second view in which the channels have another order."""

    def __call__(self, image, boxes):
        return image.flip(0)

    def for_test(self, image, generator):
        return image.flip(0)


def training_sample(item, sizes, longest=1000, flip=False, second_view=None, seed=0):
    torch.manual_seed(seed)
    return TrainingSamples([item], sizes, longest, flip, item.masks is not None, second_view)[0]


# ---------------------------------------------------------------------------------------------- sizes


@given(
    size=st.tuples(st.integers(1, 3000), st.integers(1, 3000)),
    shorter=st.integers(1, 1500),
    longest=st.integers(1, 2500),
)
def test_the_resized_size_has_the_shorter_side_unless_the_longer_would_be_too_long(size, shorter, longest):
    resized = resized_size(size, shorter, longest)
    small, large = min(resized), max(resized)
    assert 1 <= small <= shorter
    assert large <= longest
    assert small == shorter or large == longest
    factor = min(shorter / min(size), longest / max(size))
    for before, after in zip(size, resized, strict=True):
        assert abs(after - before * factor) <= 0.5 + 1e-6 or after == 1


@pytest.mark.parametrize(
    ("size", "expected"),
    [((480, 640), (800, 1067)), ((640, 480), (1067, 800)), ((300, 900), (444, 1333)), ((500, 375), (1067, 800))],
)
def test_sizes_as_detectron2_and_mmdet_have_them(size, expected):
    assert resized_size(size, 800, 1333) == expected


# ------------------------------------------------------------------------------------------- geometry


@pytest.mark.parametrize("shorter", [20, 31, 40, 57, 120])
@pytest.mark.parametrize("seed", range(4))  # mirrored or not
def test_boxes_masks_and_both_views_stay_aligned(shorter, seed):
    sample = training_sample(record(), [shorter], flip=True, second_view=Swapped(), seed=seed)
    factor = shorter / SIZE[0]
    assert sample["image"].shape == sample["second_view"].shape == (3, shorter, int(SIZE[1] * factor + 0.5))
    assert sample["masks"].shape == (3, *sample["image"].shape[1:])
    found_masks = torch.stack([extent(mask) for mask in sample["masks"]])
    for drawn in (found(sample["image"]), found(sample["second_view"]).flip(0), found_masks):
        assert (drawn - sample["boxes"]).abs().max() <= 1
    for mask, (x1, y1, x2, y2) in zip(sample["masks"], BOXES, strict=True):
        assert mask.sum() == pytest.approx((x2 - x1) * (y2 - y1) * factor**2, rel=0.15)


def test_both_mirrorings_occur_and_only_with_flip():
    def left(flip):
        return {training_sample(record(), [40], flip=flip, seed=seed)["boxes"][0, 0].item() for seed in range(8)}

    assert left(True) == {4.0, 50 - 20.0}
    assert left(False) == {4.0}


@pytest.mark.parametrize("seed", range(4))
def test_without_resizing_everything_is_exact(seed):
    sample = training_sample(record(), [SIZE[0]], flip=True, second_view=Swapped(), seed=seed)
    assert torch.equal(found(sample["image"]), sample["boxes"])
    assert torch.equal(found(sample["second_view"]).flip(0), sample["boxes"])
    assert torch.equal(sample["image"] > 0, sample["masks"])


def test_doubled_boxes_and_masks_are_exact():
    sample = training_sample(record(), [2 * SIZE[0]])
    assert torch.equal(sample["boxes"], 2 * torch.tensor(BOXES, dtype=torch.float32))
    single = as_sample(record(), with_masks=True)["masks"]
    assert torch.equal(sample["masks"], single.repeat_interleave(2, 1).repeat_interleave(2, 2))


def test_half_open_boxes_of_single_pixels_and_of_the_whole_picture():
    item = record([(0, 0, 1, 1), (0, 0, 50, 40), (49, 39, 50, 40)])
    sample = as_sample(item, with_masks=True)
    assert sample["masks"].sum((1, 2)).tolist() == [1, 2000, 1]
    mirror(sample)
    assert sample["boxes"].tolist() == [[49, 0, 50, 1], [0, 0, 50, 40], [0, 39, 1, 40]]
    assert [extent(mask).tolist() for mask in sample["masks"]] == sample["boxes"].tolist()
    resize(sample, (80, 100))
    assert sample["boxes"].tolist() == [[98, 0, 100, 2], [0, 0, 100, 80], [0, 78, 2, 80]]


def test_each_side_has_its_own_factor():
    sample = as_sample(record(), with_masks=True)
    resize(sample, (2 * SIZE[0], 3 * SIZE[1]))
    expected = torch.tensor(BOXES, dtype=torch.float32) * torch.tensor([3, 2, 3, 2])
    assert torch.equal(sample["boxes"], expected)
    assert torch.equal(torch.stack([extent(mask) for mask in sample["masks"]]), expected)
    assert (found(sample["image"]) - expected).abs().max() <= 1


def test_resizing_and_mirroring_can_be_exchanged():
    first, second = (as_sample(record(size=(42, 51)), with_masks=True) for _ in range(2))
    resize(first, (14, 17))
    mirror(first)
    mirror(second)
    resize(second, (14, 17))
    assert torch.equal(first["masks"], second["masks"])
    assert torch.allclose(first["boxes"], second["boxes"], atol=1e-5)
    assert (first["image"].int() - second["image"].int()).abs().max() <= 1


def test_mirroring_twice_changes_nothing():
    sample = as_sample(record(ignored=[1], removed=[2]), with_masks=True)
    sample["second_view"] = sample["image"].flip(0)
    again = dict(sample)
    mirror(again)
    assert not torch.equal(again["image"], sample["image"])
    mirror(again)
    for key in ("image", "second_view", "masks", "boxes", "ignored", "removed_boxes"):
        assert torch.equal(again[key], sample[key]), key


def test_ignored_and_removed_boxes_move_like_the_others():
    item = record(ignored=[1], removed=[2])
    for seed in range(4):
        sample = training_sample(item, [57], flip=True, seed=seed)
        moved = torch.cat([sample["boxes"], sample["ignored"], sample["removed_boxes"]])
        assert (moved - found(sample["image"])).abs().max() <= 1


def test_the_longer_side_is_limited():
    sample = training_sample(record(size=(20, 50), boxes=[(5, 5, 10, 20)]), [100], longest=75)
    assert sample["image"].shape == (3, 30, 75)
    assert sample["boxes"].tolist() == [[7.5, 7.5, 15, 30]]


def test_all_train_sizes_are_drawn():
    sizes = {training_sample(record(masks=False), [20, 30, 40], seed=seed)["image"].shape[1] for seed in range(30)}
    assert sizes == {20, 30, 40}


# ---------------------------------------------------------------------- which annotations are where


def test_annotations_are_sorted_by_what_they_are_for():
    boxes = [*BOXES, (40, 32, 48, 38)]
    sample = as_sample(record(boxes, ignored=[1], removed=[2]), with_masks=True)
    assert sample["boxes"].tolist() == [list(boxes[0]), list(boxes[3])]
    assert sample["labels"].tolist() == [5, 8]
    assert sample["ignored"].tolist() == [list(boxes[1])]
    assert (sample["removed_boxes"].tolist(), sample["removed_labels"].tolist()) == ([list(boxes[2])], [7])
    assert [extent(mask).tolist() for mask in sample["masks"]] == sample["boxes"].tolist()


def test_what_is_removed_is_not_even_ignored():
    sample = as_sample(record(ignored=[1], removed=[1]), with_masks=False)
    assert len(sample["boxes"]) == 2
    assert not len(sample["ignored"])  # an ignored region would tell where the removed crowd is


def test_boxes_are_cut_at_the_border_for_training_and_kept_for_evaluation():
    boxes = [(-7.5, -3, 10, 8), (45, 30, 60, 55)]
    sample = as_sample(record(boxes), with_masks=False)
    assert sample["boxes"].tolist() == [[0, 0, 10, 8], [45, 30, 50, 40]]
    assert truth_of(record(boxes))["boxes"].tolist() == [list(each) for each in boxes]


def test_degenerate_boxes_stay_in_the_truth_only():
    boxes = [(5, 5, 5, 9), (60, 3, 70, 9), (9, 9, 4, 4), (-9, 2, 0, 9), (1, 2, 3, 4)]
    for kind in ("ignored", "removed"):
        sample = as_sample(record(boxes, **{kind: [0, 1]}), with_masks=True)
        assert sample["boxes"].tolist() == [[1, 2, 3, 4]]
        assert sample["labels"].tolist() == [9]
        assert len(sample["masks"]) == 1
        assert extent(sample["masks"][0]).tolist() == [1, 2, 3, 4]
        assert len(sample["ignored"]) == len(sample["removed_boxes"]) == len(sample["removed_labels"]) == 0
    assert len(truth_of(record(boxes))["boxes"]) == 5


def test_the_truth_is_everything_in_original_pixels():
    item = record(ignored=[1], removed=[2])
    sample = EvaluationSamples([item], 20, 1000)[0]
    truth = sample["truth"]
    assert sample["image"].shape == (3, 20, 25)
    assert sample["boxes"].tolist() == [[each / 2 for each in BOXES[0]]]
    assert truth["boxes"].tolist() == [list(each) for each in BOXES]
    assert (truth["labels"].tolist(), truth["ids"].tolist()) == ([5, 6, 7], [100, 101, 102])
    assert truth["ignored"].tolist() == [False, True, False]
    assert truth["areas"].tolist() == [192, 392, 224]
    assert (truth["negative"], truth["not_exhaustive"]) == ((1,), (2, 3))
    assert [rle.area(mask) for mask in truth["masks"]] == [192, 392, 224]
    assert EvaluationSamples([record(masks=False)], 20, 1000)[0]["truth"]["masks"] is None


def test_masks_that_were_not_read_are_not_made_up():
    with pytest.raises(ValueError, match="no masks"):
        as_sample(record(masks=False), with_masks=True)
    assert as_sample(record([], masks=False), with_masks=True)["masks"].shape == (0, *SIZE)


# ------------------------------------------------------------------------------- types and empty ones


@pytest.mark.parametrize("item", [record(), record([]), record(ignored=[0, 1, 2]), record(removed=[0, 1, 2])])
def test_types_and_shapes_hold_with_and_without_annotations(item):
    for seed in range(3):
        sample = training_sample(item, [60], flip=True, second_view=SecondView(), seed=seed)
        count = len(sample["boxes"])
        assert count in (0, 3)
        expected = {
            "image": ((3, 60, 75), torch.uint8),
            "second_view": ((3, 60, 75), torch.uint8),
            "boxes": ((count, 4), torch.float32),
            "labels": ((count,), torch.int64),
            "ignored": ((int(item.ignored.sum()), 4), torch.float32),
            "removed_boxes": ((int(item.removed.sum()), 4), torch.float32),
            "removed_labels": ((int(item.removed.sum()),), torch.int64),
            "masks": ((count, 60, 75), torch.bool),
            "with_mask": ((count,), torch.bool),
            "size": ((2,), torch.int64),
        }
        assert set(sample) == {*expected, "image_id"}
        assert {key: (tuple(sample[key].shape), sample[key].dtype) for key in expected} == expected
        assert sample["size"].tolist() == list(SIZE)


def test_a_picture_without_annotations_is_evaluated_on():
    sample = EvaluationSamples([record([])], 20, 1000, SecondView())[0]
    assert sample["boxes"].shape == sample["truth"]["boxes"].shape == (0, 4)
    assert sample["second_view"].shape == sample["image"].shape == (3, 20, 25)


def test_only_what_is_asked_for_is_in_a_sample():
    torch.manual_seed(0)
    sample = TrainingSamples([record()], [20], 1000)[0]
    assert "masks" not in sample
    assert "second_view" not in sample
    assert "truth" not in sample


def test_a_batch_lists_what_pictures_hold():
    samples = [as_sample(record(), False), as_sample(record([], size=(10, 20)), False)]
    batch = collate(samples)
    assert batch.pop("task") == "detection"
    assert set(batch) == set(samples[0])
    assert [image.shape for image in batch["image"]] == [(3, 40, 50), (3, 10, 20)]
    assert [boxes.shape for boxes in batch["boxes"]] == [(3, 4), (0, 4)]
    assert batch["image_id"] == ["drawn", "drawn"]


# ------------------------------------------------------------------------------------------ second view


def test_the_erased_part_lies_in_a_box_to_train_on():
    view = SecondView(contrast=None, brightness=None, saturation=None, lighting=None)
    item = record(ignored=[1], removed=[2])
    for seed in range(12):
        sample = training_sample(item, [57], flip=True, second_view=view, seed=seed)
        changed = extent((sample["image"] != sample["second_view"]).any(0))
        assert (changed[:2] >= sample["boxes"][0, :2] - 2).all()
        assert (changed[2:] <= sample["boxes"][0, 2:] + 2).all()


def test_the_second_view_of_evaluation_depends_on_seed_and_place_alone():
    samples = EvaluationSamples([record(), record()], 20, 1000, SecondView(), seed=3)
    first = samples[0]["second_view"]
    torch.manual_seed(99)
    before = torch.get_rng_state()
    assert torch.equal(samples[0]["second_view"], first)
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(samples[1]["second_view"], first)
    assert not torch.equal(EvaluationSamples([record()], 20, 1000, SecondView(), seed=4)[0]["second_view"], first)


def test_a_clean_second_view_is_the_resized_picture():
    sample = EvaluationSamples([record()], 33, 1000, SecondView(at_test="clean"))[0]
    assert torch.equal(sample["second_view"], sample["image"])


# ------------------------------------------------------------------------------------------ repetition


def test_repeats_go_through_pictures_more_often():
    items = [record(BOXES[:count]) for count in range(3)]
    samples = TrainingSamples(items, [40], 1000, repeats=np.array([1, 3, 2]))
    assert len(samples) == 6
    assert [len(samples[k]["boxes"]) for k in range(6)] == [0, 1, 1, 1, 2, 2]
    assert len(TrainingSamples(items, [40], 1000)) == 3


def test_samples_do_not_share_memory_with_the_records():
    item = record()
    sample = as_sample(item, with_masks=False)
    sample["boxes"] += 1
    sample["image"] += 1
    assert np.array_equal(item.boxes, np.array(BOXES, np.float32))


def test_training_samples_say_which_objects_have_a_mask():
    item = record()
    empty = rle.encode(np.zeros(SIZE, np.uint8, order="F"))
    sample = training_sample(replace(item, masks=(item.masks[0], empty, item.masks[2])), [40])
    assert sample["with_mask"].tolist() == [True, False, True]
    assert len(sample["boxes"]) == 3
    assert "with_mask" not in training_sample(record(masks=False), [40])
