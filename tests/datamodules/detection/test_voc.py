import json
import shutil
import subprocess
import sys

import pytest

from datamodules.common.errors import DatasetNotFoundError
from datamodules.detection.voc import VOCDetection, main
from datamodules.detection.voc_annotations import CLASSES
from tests.helpers.replicas_detection import edit_json, make_voc_detection
from visionscapes.errors import UserError

LABELLED = ["000012", "000005", "000009", "000021"]
OTHERS = ["2008_000002", "2011_000003"]


@pytest.fixture
def root(tmp_path):
    return make_voc_detection(tmp_path)


def ready(root, stage="fit", **options):
    small = {"batch_size": 2, "num_workers": 0, "train_sizes": [32], "test_size": 32}
    data = VOCDetection(str(root), **(small | options))
    data.setup(stage)
    return data


def names(records):
    return [record.image_id for record in records]


def test_training_batches_follow_the_interface(root):
    data = ready(root)
    assert data.classes == CLASSES
    seen = {}
    for batch in data.train_dataloader():
        assert batch["task"] == "detection"
        for k, image_id in enumerate(batch["image_id"]):
            seen[image_id] = {key: batch[key][k] for key in batch if key != "task"}
    assert sorted(seen) == sorted(LABELLED + OTHERS)  # leading zeros stay; pictures with difficult objects alone too
    assert {number: (len(sample["boxes"]), len(sample["ignored"])) for number, sample in seen.items()} == {
        "000012": (2, 0),
        "000005": (2, 0),
        "000009": (0, 1),
        "000021": (1, 0),
        "2008_000002": (2, 0),
        "2011_000003": (0, 1),
    }
    assert not any(len(sample["removed_boxes"]) for sample in seen.values())


def test_evaluation_batches_hold_the_whole_truth(root):
    (batch,) = ready(root, "test", val=["2007 trainval"], batch_size=4).test_dataloader()
    assert batch["image_id"] == LABELLED
    assert batch["truth"][0]["boxes"][0].tolist() == [0, 0, 50, 40]
    assert batch["truth"][2]["ignored"].tolist() == [True]
    assert batch["truth"][0]["masks"] is None
    assert [tuple(size.tolist()) for size in batch["size"]] == [(40, 50), (60, 40), (30, 20), (30, 30)]


def test_evaluation_needs_nothing_to_train_on(root):
    for path in root.glob("VOCdevkit/*/ImageSets/Main/trainval.txt"):
        path.unlink()
    assert names(ready(root, "validate").evaluation_images()) == ["000099"]
    with pytest.raises(DatasetNotFoundError, match=r"trainval\.txt"):
        ready(root)


def test_unlabelled_pictures_show_nothing_but_what_is_known_of_them(root):
    data = ready(root, train=["2007 trainval"], unlabelled=["2012 trainval"])
    records = data.training_images()
    assert names(records) == LABELLED + OTHERS
    assert [len(record.ids[~record.removed]) for record in records] == [2, 2, 1, 1, 0, 0]
    assert [len(record.ids[record.removed]) for record in records] == [0, 0, 0, 0, 2, 0]
    assert not records[5].ignored.any()  # a difficult object would tell that something is there
    seen = {}
    for batch in data.train_dataloader():
        rows = zip(batch["image_id"], batch["boxes"], batch["ignored"], batch["removed_boxes"], strict=True)
        seen |= {number: tuple(map(len, row)) for number, *row in rows}
    assert seen["2008_000002"] == (0, 0, 2)
    assert seen["2011_000003"] == (0, 0, 0)


def test_a_picture_cannot_be_labelled_and_unlabelled(root):
    with pytest.raises(UserError, match="2 pictures are in two sets to train on"):
        ready(root, unlabelled=["2012 trainval"])


def write_json(root, *sets):
    path = root / "made" / "voc.json"
    assert main([str(root), str(path), "--sets", *sets]) == 0
    return path


def test_the_command_writes_what_the_datamodule_reads(root, capsys):
    path = write_json(root, "2007 trainval", "2012 trainval")
    assert "voc.json: 6 pictures, 9 objects, 2 of them difficult" in capsys.readouterr().out
    for one, other in zip(
        ready(root).training_images(), ready(root, train_annotations=str(path)).training_images(), strict=True
    ):
        assert one.image_id == other.image_id
        assert one.read == other.read
        for name in ("boxes", "labels", "ignored", "removed", "areas", "ids"):
            assert getattr(one, name).tolist() == getattr(other, name).tolist()


def test_the_command_explains_errors(root, capsys):
    assert main([str(root / "nowhere"), str(root / "a.json")]) == 2
    assert "error: PASCAL VOC 2007 was not found." in capsys.readouterr().err
    assert main([str(root), str(root / "a.json"), "--sets", "seven"]) == 2
    assert "--sets is ['seven']" in capsys.readouterr().err
    assert not (root / "a.json").exists()


def test_a_sparse_split_of_it_can_be_trained_on(root):
    full = write_json(root, "2007 trainval", "2012 trainval")
    sparse = full.with_name("sparse.json")
    command = [
        sys.executable,
        "-m",
        "datamodules.sparse_annotations",
        full,
        sparse,
        "--split",
        "4",
        "--level",
        "extreme",
    ]
    subprocess.run(command, check=True, capture_output=True)
    gone = set(json.loads(sparse.with_suffix(".removed.json").read_text())["removed"])
    assert len(gone) == 3  # of the three pictures with two objects, one each
    data = ready(root, train_annotations=str(sparse), full_annotations=str(full))
    marked = {int(number) for record in data.training_images() for number in record.ids[record.removed]}
    assert marked == gone
    assert [len(record.ids[record.ignored]) for record in data.training_images()] == [0, 0, 1, 0, 0, 1]
    alone = ready(root, train_annotations=str(sparse))
    assert sum(len(record.ids) for record in alone.training_images()) == 6


def test_json_lists_the_pictures_in_place_of_sets(root):
    path = write_json(root, "2012 trainval")
    assert names(ready(root, train_annotations=str(path)).training_images()) == OTHERS
    both = ready(root, train_annotations=str(path), unlabelled=["2007 trainval"])
    assert names(both.training_images()) == OTHERS + LABELLED


def test_json_of_other_classes_or_pictures_is_an_error(root):
    path = write_json(root, "2012 trainval")
    edit_json(path, lambda content: content["images"][0].update(file_name="VOC2012/JPEGImages/none.jpg"))
    with pytest.raises(DatasetNotFoundError, match=r"Missing: 1 files: .*none\.jpg"):
        ready(root, train_annotations=str(path))
    edit_json(path, lambda content: content["categories"][0].update(name="plane"))
    with pytest.raises(UserError, match="does not define the 20 classes of VOC"):
        ready(root, train_annotations=str(path))
    with pytest.raises(UserError, match=r"nowhere\.json does not exist: .*python -m datamodules\.voc_detection"):
        ready(root, train_annotations="nowhere.json")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train": ["trainval"]}, "train is"),
        ({"val": []}, "val is"),
        ({"unlabelled": ["x"]}, "unlabelled is"),
        ({"full_annotations": "a.json"}, "full_annotations is given without train_annotations"),
        ({"batch_size": 0}, "batch_size is 0"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(UserError, match=message):
        VOCDetection("x", **options)


def test_a_picture_that_was_replaced_is_an_error(root):
    data = ready(root)
    folder = root / "VOCdevkit" / "VOC2007" / "JPEGImages"
    shutil.copy(folder / "000012.jpg", folder / "000005.jpg")
    with pytest.raises(UserError, match=r"000005\.jpg has 50 x 40 pixels, its annotations are for 40 x 60"):
        data.training_images()[1].read()


def test_a_drawn_split_spares_difficult_objects(root):
    data = ready(root, split="4", level="extreme")
    for record in data.training_images():
        free = ~record.ignored
        assert not record.removed[record.ignored].any()
        assert (~record.removed[free]).sum() == min(1, free.sum())
    assert any(record.removed.any() for record in data.training_images())
