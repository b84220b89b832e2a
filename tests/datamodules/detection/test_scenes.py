import functools
import json
import pickle
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as rle
from pycocotools.coco import COCO

from datamodules.detection.coco import COCODetection
from datamodules.detection.scenes import NAMES, DetectionScenes, main, write_coco
from datamodules.detection.sparse.splits import choose_removed
from datamodules.detection.sparse.writing import make_sparse
from datamodules.procedural.scenes import crowds
from datamodules.procedural.scenes.samples import HELD_OUT_WORLD
from visionscapes.errors import UserError

SMALL = {"scenes": 8, "test_scenes": 3, "image_size": 64, "batch_size": 4}
render = functools.cache(crowds.render_crowd)  # the data modules of this file show the same scenes


@pytest.fixture(autouse=True)
def _rendered_once(monkeypatch):
    monkeypatch.setattr("datamodules.detection.scenes.render_crowd", render)


def ready(stage="fit", **options):
    data = DetectionScenes(**(SMALL | options))
    data.setup(stage)
    return data


def joined(images, name):
    return np.concatenate([getattr(each, name) for each in images])


def masks_of(image):
    return [rle.decode(each).astype(bool) for each in image.masks]


# ------------------------------------------------------------------------------------------- records


def test_records_follow_the_interface():
    for image in (*ready(with_masks=True).train, *ready(with_masks=True).test):
        count = len(image.labels)
        assert image.size == (64, 64)
        assert (image.read().shape, image.read().dtype) == ((64, 64, 3), np.uint8)
        assert (image.boxes.shape, image.boxes.dtype) == ((count, 4), np.float32)
        assert (image.labels.dtype, image.ids.dtype, image.areas.dtype) == (np.int64, np.int64, np.float32)
        assert (image.ignored.dtype, image.removed.dtype) == (bool, bool)
        assert len(image.ignored) == len(image.removed) == len(image.areas) == len(image.ids) == len(image.masks)
        assert not image.ignored.any()
        assert ((image.labels >= 0) & (image.labels < len(NAMES))).all()
        assert len(pickle.loads(pickle.dumps(image)).boxes) == count
    assert sum(len(image.labels) for image in ready().train) > 20


def test_boxes_and_areas_are_those_of_the_masks():
    for image in ready(with_masks=True).train:
        seen = np.zeros(image.size, int)
        for mask, box, area in zip(masks_of(image), image.boxes, image.areas, strict=True):
            rows, columns = np.nonzero(mask)
            assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert area == mask.sum() >= crowds.LEAST_PIXELS
            seen += mask
        assert seen.max(initial=0) <= 1  # masks are of what is visible


def test_labels_belong_to_the_boxes():
    for index, image in enumerate(ready(objects=[20, 24], scenes=4).train):
        scene = render(0, index, 64, crowds.Crowd((20, 24)))
        kept = crowds.recognisable(scene)
        assert not kept.all()
        assert image.labels.tolist() == [item.class_index for item in np.array(scene.objects, object)[kept]]
        assert np.array_equal(image.boxes, scene.boxes[kept])
        assert np.array_equal(image.read(), scene.image)


def test_ids_are_unique_and_no_masks_are_kept_unless_asked_for():
    data = ready(unlabelled_scenes=3)
    ids = joined(data.train, "ids")
    assert len(set(ids.tolist())) == len(ids)
    assert min(ids) > 0  # pycocotools takes a match with annotation 0 for none
    assert [image.image_id for image in data.train] == list(range(11))
    assert all(image.masks is None for image in (*data.train, *data.test))


def test_evaluation_is_of_another_world_and_complete():
    data = ready(split="1", percent=70, labelled_classes=3)
    assert joined(data.train, "removed").any()
    assert not joined(data.test, "removed").any()
    assert np.array_equal(data.test[0].read(), render(HELD_OUT_WORLD, 0, 64, crowds.Crowd()).image)
    pictures = {image.read().tobytes() for image in (*data.train, *data.test)}
    assert len(pictures) == 11


def test_seeds_show_other_worlds_and_options_reach_the_scenes():
    one, other = ready(objects=[1, 1]), ready(objects=[1, 1], seed=1)
    assert not np.array_equal(one.train[0].read(), other.train[0].read())
    assert not np.array_equal(one.test[0].read(), other.test[0].read())
    assert max(len(image.labels) for image in one.train) == 1
    assert ready(objects=[2, 4], tail=0.0).crowd == crowds.Crowd((2, 4), tail=0.0)


def test_only_training_renders_training_scenes():
    data = ready("test")
    assert (len(data.train), len(data.test)) == (0, 3)
    data.setup("fit")
    first = data.train
    data.setup("fit")
    assert data.train is first
    assert len(first) == 8


# ------------------------------------------------------------------------------------- sparse splits


@pytest.mark.parametrize(
    ("split", "percent", "level"),
    [("1", 50, None), ("2", 50, None), ("3", 30, None), ("4", None, "extreme"), ("5", 40, None), ("siod", None, None)],
)
def test_a_split_removes_what_the_split_tool_removes(tmp_path, split, percent, level):
    complete = ready(with_masks=True).train
    sparse = ready(split=split, percent=percent, level=level, seed=0).train
    removed = joined(sparse, "removed")
    assert 0 < removed.sum() < len(removed)
    images = np.repeat(np.arange(8), [len(each.labels) for each in complete])
    expected = choose_removed(images, joined(complete, "labels"), split, percent, level, seed=0)
    assert np.array_equal(removed, expected)
    for one, other in zip(complete, sparse, strict=True):
        assert np.array_equal(one.boxes, other.boxes)
        assert np.array_equal(one.labels, other.labels)

    source = write_coco(tmp_path, complete, "train")
    make_sparse(source, tmp_path / "sparse.json", split, percent, level, seed=0)
    left = json.loads((tmp_path / "sparse.json").read_text())["annotations"]
    assert sorted(each["id"] for each in left) == sorted(joined(sparse, "ids")[~removed].tolist())


def test_what_a_split_removes_is_known_but_not_trained_on():
    data = ready(split="1", percent=50, with_masks=True, batch_size=8)
    (batch,) = data.train_dataloader()
    for k, image_id in enumerate(batch["image_id"]):
        image = data.train[image_id]
        assert batch["labels"][k].tolist() == image.labels[~image.removed].tolist()
        assert batch["removed_labels"][k].tolist() == image.labels[image.removed].tolist()
        assert len(batch["boxes"][k]) == len(batch["masks"][k]) == (~image.removed).sum()
        widths = [(boxes[:, 2] - boxes[:, 0]).tolist() for boxes in (batch["boxes"][k], batch["removed_boxes"][k])]
        both = image.boxes[:, 2] - image.boxes[:, 0]
        assert widths == [both[~image.removed].tolist(), both[image.removed].tolist()]
        assert not len(batch["ignored"][k])


def test_other_seeds_remove_others():
    first, second = (ready(split="1", percent=50, seed=seed, objects=[3, 3]).train for seed in (0, 1))
    assert joined(first, "removed").tolist() != joined(second, "removed").tolist()


def test_only_some_classes_are_labelled():
    data = ready(labelled_classes=4)
    assert data.known == [0, 1, 2, 3]
    labels, removed = joined(data.train, "labels"), joined(data.train, "removed")
    assert np.array_equal(removed, labels >= 4)
    assert 0 < removed.sum() < len(removed)
    assert (joined(data.test, "labels") >= 4).any()
    assert ready().known is None


def test_a_split_and_labelled_classes_add_up():
    labels = joined(ready().train, "labels")
    alone = joined(ready(split="3", percent=50).train, "removed")
    both = joined(ready(split="3", percent=50, labelled_classes=4).train, "removed")
    assert np.array_equal(both, alone | (labels >= 4))


def test_unlabelled_scenes_follow_the_others():
    data, without = ready(unlabelled_scenes=4, split="1", percent=50), ready(split="1", percent=50)
    assert len(data.train) == 12
    assert all(image.removed.all() for image in data.train[8:])
    assert sum(len(image.labels) for image in data.train[8:])
    assert np.array_equal(joined(data.train[:8], "removed"), joined(without.train, "removed"))
    for batch in data.train_dataloader():
        for image_id, boxes, gone in zip(batch["image_id"], batch["boxes"], batch["removed_boxes"], strict=True):
            assert image_id < 8 or (boxes.shape == (0, 4) and len(gone) == len(data.train[image_id].labels))


# ------------------------------------------------------------------------------------------- batches


def test_batches_have_the_sizes_asked_for():
    data = ready(train_sizes=[32, 48], with_masks=True)
    shapes = {image.shape for batch in data.train_dataloader() for image in batch["image"]}
    assert shapes == {(3, 32, 32), (3, 48, 48)}
    assert {image.shape for batch in ready().train_dataloader() for image in batch["image"]} == {(3, 64, 64)}
    batches = list(data.val_dataloader())
    assert [len(batch["image"]) for batch in batches] == [3]
    assert [image.shape for image in batches[0]["image"]] == [(3, 64, 64)] * 3
    assert data.test_size == 64
    assert len(data.classes) == 12
    for truth, image in zip(batches[0]["truth"], data.test, strict=True):
        assert torch.equal(truth["boxes"], torch.from_numpy(image.boxes))
        assert len(truth["masks"]) == len(image.labels)


# ------------------------------------------------------------------------------------------ mistakes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objects": [3]}, "objects is"),
        ({"objects": [0, 3]}, "objects is"),
        ({"objects": [5, 3]}, "objects is"),
        ({"objects": [1, 201]}, "objects is"),  # instances are numbered in a byte
        ({"labelled_classes": 0}, "labelled_classes is 0"),
        ({"labelled_classes": 12}, "labelled_classes is 12"),
        ({"split": "1"}, "split 1 takes a percentage"),
        ({"split": "1", "percent": 101}, "percent is 101; it has to be above 0 and at most 100"),
        ({"split": "4"}, "split 4 takes a level"),
        ({"split": "siod", "percent": 50}, "split siod takes neither"),
        ({"split": "6", "percent": 50}, "split is '6'; it has to be one of 1, 2, 3, 4, 5, siod"),
        ({"percent": 50}, "percent is 50.*give split"),
        ({"level": "easy"}, "level easy.*give split"),
        ({"scenes": 0}, "scenes is 0"),
        ({"test_scenes": 0}, "test_scenes is 0"),
        ({"unlabelled_scenes": -1}, "unlabelled_scenes is -1"),
        ({"image_size": 0}, "image_size is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"train_sizes": []}, r"train_sizes is \[\]"),
        ({"train_sizes": [0]}, r"train_sizes is \[0\]; each"),
        ({"batch_size": 0}, "batch_size is 0"),
    ],
)
def test_bad_options_are_named_before_anything_is_rendered(options, message):
    with pytest.raises(UserError, match=message):
        DetectionScenes(**options)


# -------------------------------------------------------------------------------------------- export


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    assert main([str(folder), "--scenes", "6", "--test_scenes", "3", "--image_size", "64", "--seed", "2"]) == 0
    return folder


def test_an_export_is_read_by_pycocotools(exported):
    data = ready(seed=2, scenes=6, with_masks=True)
    for part, images in (("train", data.train), ("val", data.test)):
        coco = COCO(exported / "annotations" / f"instances_{part}2017.json")
        assert [each["name"] for each in coco.loadCats(coco.getCatIds())] == list(NAMES)
        assert coco.getCatIds() == list(range(1, 13))
        assert coco.getImgIds() == [image.image_id for image in images]
        for image in images:
            (entry,) = coco.loadImgs(image.image_id)
            assert (entry["height"], entry["width"]) == image.size
            assert np.array_equal(np.array(Image.open(exported / f"{part}2017" / entry["file_name"])), image.read())
            annotations = coco.loadAnns(coco.getAnnIds(image.image_id))
            assert [each["id"] for each in annotations] == image.ids.tolist()
            assert [each["category_id"] - 1 for each in annotations] == image.labels.tolist()
            assert [each["area"] for each in annotations] == image.areas.tolist()
            assert not any(each["iscrowd"] for each in annotations)
            for each, mask, (x1, y1, x2, y2) in zip(annotations, masks_of(image), image.boxes.tolist(), strict=True):
                assert each["bbox"] == [x1, y1, x2 - x1, y2 - y1] == rle.toBbox(each["segmentation"]).tolist()
                assert np.array_equal(coco.annToMask(each), mask)


def test_an_export_is_a_data_set_of_its_own(exported):
    scenes = ready(seed=2, scenes=6, with_masks=True)
    data = COCODetection(str(exported), num_workers=0, with_masks=True)
    data.setup("fit")
    assert data.classes == scenes.classes
    pairs = [(data.training_images(), scenes.train), (data.evaluation_images(), scenes.test)]
    for found, expected in pairs:
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert one.image_id == other.image_id
            assert np.array_equal(one.read(), other.read())
            for name in ("boxes", "labels", "ids", "areas", "ignored", "removed"):
                assert np.array_equal(getattr(one, name), getattr(other, name)), name
            assert all(np.array_equal(a, b) for a, b in zip(masks_of(one), masks_of(other), strict=True))


def test_pictures_without_annotations_are_exported(tmp_path):
    empty = ready("test", objects=[1, 1], image_size=8, with_masks=True).test  # nothing has 30 pixels
    assert not sum(len(image.labels) for image in empty)
    content = json.loads(write_coco(tmp_path, empty, "val").read_text())
    assert (len(content["images"]), content["annotations"]) == (3, [])


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")  # in a process of its own it is not
def test_the_command_line(tmp_path, monkeypatch, capsys):
    options = [str(tmp_path / "new"), "--scenes=2", "--test_scenes=1", "--image_size=32"]
    monkeypatch.setattr(sys, "argv", ["detection_scenes", *options])
    with pytest.raises(SystemExit) as end:
        runpy.run_module("datamodules.detection_scenes", run_name="__main__")
    assert end.value.code == 0
    paths = [Path(line) for line in capsys.readouterr().out.split()]
    assert [path.name for path in paths] == ["instances_train2017.json", "instances_val2017.json"]
    assert [len(json.loads(path.read_text())["images"]) for path in paths] == [2, 1]
    assert len(list((tmp_path / "new" / "train2017").iterdir())) == 2


@pytest.mark.parametrize("option", ["--scenes=0", "--test_scenes=0", "--image_size=0", "--seed=-1"])
def test_the_command_line_names_mistakes(tmp_path, capsys, option):
    assert main([str(tmp_path / "new"), option]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {option[2:].partition('=')[0]} is ")
    assert not (tmp_path / "new").exists()


# ------------------------------------------------------------------------------------------- styles


def test_scenes_in_other_styles_are_evaluated_and_not_trained_on():
    plain, styled = ready(), ready(styles=["cartoon", "sketch"])
    assert styled.domains == ("sketch", "cartoon")
    assert [each.image_id for each in styled.test] == [f"{style}/{k}" for style in styled.domains for k in range(3)]
    assert [styled.domain_of(each.image_id) for each in styled.test] == ["sketch"] * 3 + ["cartoon"] * 3
    for own, shown in zip([*plain.test, *plain.test], styled.test, strict=True):
        assert np.array_equal(own.boxes, shown.boxes)
        assert np.array_equal(own.labels, shown.labels)
        assert not np.array_equal(own.read(), shown.read())
    for own, same in zip(plain.train, styled.train, strict=True):
        assert np.array_equal(own.read(), same.read())
    assert not hasattr(plain, "domain_of")
    with pytest.raises(UserError, match=r"styles is .'tattoo'.; it has to name one or more of sketch, grey"):
        DetectionScenes(styles=["tattoo"])


def test_scenes_to_evaluate_on_can_be_enlarged():
    """What is found is compared in pixels of the scene itself."""
    data = ready(batch_size=3, test_size=96)
    (batch,) = data.val_dataloader()
    assert [each.shape for each in batch["image"]] == [(3, 96, 96)] * 3
    assert [each.tolist() for each in batch["size"]] == [[64, 64]] * 3
    for boxes, truth, own in zip(batch["boxes"], batch["truth"], data.test, strict=True):
        assert torch.equal(boxes, 1.5 * truth["boxes"])
        assert np.array_equal(truth["boxes"].numpy(), own.boxes)
    assert data.test_size == 96
