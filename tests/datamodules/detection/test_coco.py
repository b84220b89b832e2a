import json

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

from datamodules.detection.coco import VOC_CLASSES, COCODetection
from datamodules.detection.sparse.command import main as sparse_annotations
from datamodules.detection.voc_annotations import CLASSES as VOC_NAMES
from tests.datamodules.detection.coco_cases import TRAIN, VAL, ready, sparse_file
from tests.helpers.replicas_detection import COCO_PARTS, edit_json, make_coco_detection
from visionscapes.errors import UserError


@pytest.fixture
def root(tmp_path):
    return make_coco_detection(tmp_path)


@pytest.mark.parametrize("with_masks", [True, False])
def test_training_batches_follow_the_interface(root, with_masks):
    found = list(ready(root, with_masks=with_masks).train_dataloader())
    assert [len(batch["image"]) for batch in found] == [2, 2]
    seen = {}
    for batch in found:
        assert batch["task"] == "detection"
        for k, image_id in enumerate(batch["image_id"]):
            seen[image_id] = {key: batch[key][k] for key in batch if key != "task"}
    assert sorted(seen) == sorted(COCO_PARTS["train"])  # the picture without annotations too
    assert {number: sample["labels"].tolist() for number, sample in seen.items()} == {
        9: [0, 1],
        25: [1],
        30: [],
        34: [2],
    }
    assert {number: len(sample["ignored"]) for number, sample in seen.items()} == {9: 1, 25: 0, 30: 0, 34: 0}
    for sample in seen.values():
        assert sample["image"].dtype == torch.uint8
        assert ("masks" in sample) == with_masks
        if with_masks:
            assert sample["masks"].shape == (len(sample["labels"]), *sample["image"].shape[1:])
            assert all(mask.any() for mask in sample["masks"])


@pytest.mark.parametrize("with_masks", [True, False])
def test_evaluation_batches_hold_the_whole_truth(root, with_masks):
    data = ready(root, "test", with_masks=with_masks)
    (batch,) = data.test_dataloader()
    assert batch["image_id"] == [139, 285]
    first, second = batch["truth"]
    assert first["boxes"].tolist() == [[0, 0, 4, 4], [20, 20, 40, 30], [30, 5, 45, 15]]
    assert first["labels"].tolist() == [0, 2, 2]
    assert first["ignored"].tolist() == [False, False, True]
    assert first["ids"].tolist() == [900_100_000_139, 694, 693]
    assert first["areas"].tolist() == [12, 150, 112.5]
    assert second["boxes"].tolist() == [[8, 8, 8, 16]]  # kept as it is
    assert [truth["masks"] is not None for truth in batch["truth"]] == [with_masks] * 2
    assert data.classes == ("person", "car", "toothbrush")
    assert data.category_ids == (1, 3, 90)


def test_a_sparse_file_is_trained_on_in_place_of_the_full_one(root):
    data = ready(root, train_annotations=sparse_file(root, {12, 700}))
    assert [record.ids.tolist() for record in data.training_images()] == [[699, 698], [697], [], []]
    assert not any(record.removed.any() for record in data.training_images())


def test_what_was_taken_away_is_known_but_not_trained_on(root):
    data = ready(root, train_annotations=sparse_file(root, {12, 700}), full_annotations=TRAIN)
    assert [record.ids.tolist() for record in data.training_images()] == [[12, 699, 698], [697], [], [700]]
    assert [record.removed.tolist() for record in data.training_images()] == [[True, False, False], [False], [], [True]]
    for batch in data.train_dataloader():
        for number, labels, removed in zip(batch["image_id"], batch["labels"], batch["removed_labels"], strict=True):
            assert labels.tolist() == {9: [1], 25: [1], 30: [], 34: []}[number]
            assert removed.tolist() == {9: [0], 25: [], 30: [], 34: [2]}[number]


def test_only_some_classes_can_be_labelled(root):
    data = ready(root, labelled_classes=["person", "toothbrush"])
    assert (data.known, data.unknown) == ([0, 2], [1])
    assert [record.labels[~record.removed].tolist() for record in data.training_images()] == [[0, 2], [], [], [2]]
    assert data.training_images()[0].removed.tolist() == [False, False, True]
    assert sorted({int(label) for record in data.evaluation_images() for label in record.labels}) == [0, 1, 2]
    everything = ready(root)
    assert (everything.known, everything.unknown) == ([0, 1, 2], [])


def test_the_classes_of_voc_are_those_of_the_recall_study(root):
    names = [name for name in FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"] if name[0] != "_"]
    names.remove("N/A") if "N/A" in names else None
    assert set(VOC_CLASSES) < set(names)
    renamed = {ours: theirs for ours, theirs in zip(VOC_NAMES, VOC_CLASSES, strict=True) if ours != theirs}
    assert renamed == {
        "aeroplane": "airplane",
        "diningtable": "dining table",
        "motorbike": "motorcycle",
        "pottedplant": "potted plant",
        "sofa": "couch",
        "tvmonitor": "tv",
    }

    def add(content):
        content["categories"] += [
            {"id": 100 + k, "name": name} for k, name in enumerate(VOC_CLASSES) if k not in (6, 14)
        ]

    for part in (TRAIN, VAL):
        edit_json(root / part, add)
    data = ready(root, labelled_classes="voc")
    assert [data.classes[label] for label in data.unknown] == ["toothbrush"]
    assert len(data.known) == 20
    with pytest.raises(UserError, match="labelled_classes names unicorn; the classes are person, car"):
        ready(root, labelled_classes=["unicorn"])


def test_a_random_part_is_nested_and_depends_on_its_seed_alone(tmp_path):
    root = tmp_path / "many"
    images = [{"id": k, "file_name": f"{k}.jpg", "width": 20, "height": 10} for k in range(50)]
    entries = [{"id": k + 1, "image_id": k, "category_id": 1, "bbox": [1, 1, 5, 5]} for k in range(50)]
    for part in ("train", "val"):
        (root / f"{part}2017").mkdir(parents=True)
        for image in images:
            (root / f"{part}2017" / image["file_name"]).touch()
        path = root / "annotations" / f"instances_{part}2017.json"
        path.parent.mkdir(exist_ok=True)
        content = {"images": images, "annotations": entries, "categories": [{"id": 1, "name": "thing"}]}
        path.write_text(json.dumps(content))

    def chosen(**options):
        data = ready(root, **options)
        assert len(data.evaluation_images()) == 50
        return [record.image_id for record in data.training_images()]

    few, more = chosen(train_images_count=10), chosen(train_images_count=25)
    assert (len(few), len(more)) == (10, 25)
    assert few == sorted(few)
    assert set(few) < set(more)
    assert chosen(train_images_percent=20, seed=5) == few
    assert chosen(train_images_count=10, subset_seed=1) != few
    assert chosen() == list(range(50))
    assert len(chosen(train_images_percent=0.1)) == 1
    with pytest.raises(UserError, match=r"train_images_count is 51, but .* has 50 pictures"):
        chosen(train_images_count=51)


def recategorised(content, ids):
    """Give the categories of a file other ids; those that get None go, with their annotations."""
    content["annotations"] = [each for each in content["annotations"] if ids[each["category_id"]] is not None]
    for each in content["annotations"]:
        each["category_id"] = ids[each["category_id"]]
    content["categories"] = [
        each | {"id": ids[each["id"]]} for each in content["categories"] if ids[each["id"]] is not None
    ]


@pytest.mark.parametrize("ids", [{1: 1, 3: None, 90: 90}, {1: 7, 3: 5, 90: 2}, {1: "p", 3: "c", 90: "t"}])
@pytest.mark.parametrize("stage", ["fit", "test"])
def test_a_set_to_evaluate_on_may_have_other_categories_of_the_same_names(root, caplog, ids, stage):
    expected = {139: [0, 2, 2], 285: [1]}
    edit_json(root / VAL, lambda content: recategorised(content, ids))
    data = ready(root, stage, train_annotations=TRAIN, val_annotations=VAL)
    assert data.classes == ("person", "car", "toothbrush")
    assert data.category_ids == (1, 3, 90)
    found = {each.image_id: each.labels.tolist() for each in data.evaluation_images()}
    assert found == {**expected, 285: [1] if ids[3] else []}
    assert "define other categories (3 and " in caplog.text
    assert "they are matched by name" in caplog.text


def test_a_category_that_is_not_trained_on_is_an_error(root):
    edit_json(root / TRAIN, lambda content: recategorised(content, {1: 1, 3: 3, 90: None}))
    with pytest.raises(
        UserError, match=r"val2017\.json has annotations of toothbrush, which .*train2017\.json does not"
    ):
        ready(root)


def test_categories_that_nothing_uses_are_told_and_left_out_on_request(root, caplog):
    for part in (TRAIN, VAL):
        edit_json(root / part, lambda content: content["categories"].append({"id": 0, "name": "animals"}))
    given = {"train_annotations": TRAIN, "val_annotations": VAL}
    assert ready(root, **given).classes == ("animals", "person", "car", "toothbrush")
    assert (
        'no annotation is of the category 0, "animals", which counts as a class all the same; leave it' in caplog.text
    )
    for stage in ("fit", "test"):
        for options in (given, {}):
            data = ready(root, stage, leave_out_unused=True, **options)
            assert data.classes == ("person", "car", "toothbrush")
            assert data.evaluation_images()[0].labels.tolist() == [0, 2, 2]
    assert data.category_ids == (1, 3, 90)
    assert "left out 1 of 4 categories: nothing is annotated with animals" in caplog.text


def test_two_categories_of_one_name_are_told(root, caplog):
    edit_json(root / TRAIN, lambda content: content["categories"].append({"id": 4, "name": "car"}))
    edit_json(root / VAL, lambda content: content["categories"].append({"id": 4, "name": "car"}))
    data = ready(root, train_annotations=TRAIN)
    assert data.classes == ("person", "car", "car", "toothbrush")
    assert '2 categories are called "car" (ids 3, 4); each counts as a class of its own' in caplog.text


def test_turned_pictures_are_told_at_setup_and_the_option_reaches_the_records(root, caplog):
    path = root / "val2017" / "000000000285.jpg"
    with Image.open(path) as image:
        exif = image.getexif()
        exif[0x0112] = 3
        stored = np.array(image)
        image.save(path, exif=exif, quality=100)
    for orientation in ("stored", "upright"):
        data = ready(root, "test", ambiguous_orientation=orientation)
        found = data.evaluation_images()[1].read().astype(int)
        expected = stored[::-1, ::-1] if orientation == "upright" else stored
        assert np.abs(found - expected).mean() < 10
    assert "COCO val2017: of 1 of 2 pictures, such as 000000000285.jpg, EXIF says" in caplog.text


@pytest.mark.parametrize("orientation", ["stored", "upright"])
def test_the_option_decides_where_no_size_is_stated(root, caplog, orientation):
    path = root / "val2017" / "000000000285.jpg"
    width, height = 48, 36
    with Image.open(path) as image:
        exif = image.getexif()
        exif[0x0112] = 6
        image.crop((0, 0, width, height)).save(path, exif=exif)
    edit_json(root / VAL, lambda content: [each.update(width=None) for each in content["images"]])
    picture = ready(root, "test", ambiguous_orientation=orientation).evaluation_images()[1]
    assert picture.size == ((height, width) if orientation == "stored" else (width, height))
    assert picture.read().shape == (*picture.size, 3)
    assert "such as 000000000285.jpg, EXIF says to turn them" in caplog.text
    assert f"they are taken as {orientation}. Look" in caplog.text


@pytest.mark.parametrize("part", [TRAIN, VAL])
def test_boxes_of_the_other_form_are_an_error(root, part):
    rows = np.array([[20, 15, 45, 30], [25, 10, 40, 33], [22, 18, 48, 31], [30, 20, 40, 30]])

    def change(content):
        image = content["images"][0]["id"]
        entries = [
            {"id": k, "image_id": image, "category_id": 1, "bbox": row, "area": 1.0}
            for k, row in enumerate(rows.tolist())
        ]
        content["annotations"] = entries
        content["images"][0].update(width=50, height=34)

    edit_json(root / part, change)
    with pytest.raises(
        UserError, match=r"4 of 4 boxes make no sense as x, y, width, height \(annotation 0 of 0+\d+\.jpg"
    ):
        ready(root)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train_images_count": 0}, "train_images_count is 0"),
        ({"train_images_percent": 0}, "train_images_percent is 0"),
        ({"train_images_percent": 101}, "train_images_percent is 101"),
        ({"train_images_percent": 5, "train_images_count": 5}, "are both given"),
        ({"test_size": 0}, "test_size is 0"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(UserError, match=message):
        COCODetection("x", **options)


def test_workers_give_the_same_batches(root):
    for one, other in zip(*(ready(root, num_workers=n).train_dataloader() for n in (0, 2)), strict=True):
        assert one["image_id"] == other["image_id"]
        for a, b in zip(one["boxes"] + one["image"], other["boxes"] + other["image"], strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("split", ["1", "2", "3", "5", "siod"])
def test_a_drawn_split_is_that_of_the_tool(root, tmp_path, split):
    source = root / "annotations" / "instances_train2017.json"
    settings = ["--split", split, "--seed", "3"] + ([] if split == "siod" else ["--percent", "60"])
    assert sparse_annotations([*settings, str(source), str(tmp_path / "sparse.json")]) == 0
    by_tool = ready(root, train_annotations=str(tmp_path / "sparse.json"), full_annotations=str(source))
    drawn = ready(root, split=split, percent=None if split == "siod" else 60, split_seed=3)
    assert [each.removed.tolist() for each in drawn.training_images()] == [
        each.removed.tolist() for each in by_tool.training_images()
    ]


@pytest.mark.parametrize(
    "settings", [{"split": "1"}, {"percent": 50}, {"split": "4", "percent": 50}, {"split": "1", "percent": 101}]
)
def test_settings_of_a_split_have_to_go_together(root, settings):
    with pytest.raises(UserError, match=r"percent|level"):
        COCODetection(str(root), **settings)


def test_a_split_is_drawn_or_given(root):
    with pytest.raises(UserError, match="full_annotations"):
        COCODetection(str(root), split="1", percent=50, full_annotations="instances.json")
