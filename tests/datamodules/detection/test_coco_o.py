import json
import logging
import pickle

import pytest
import torch
from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

from datamodules.common.errors import DatasetNotFoundError
from datamodules.common.evaluation import OnlyEvaluatesError
from datamodules.common.inspection.inspect_data import inspect_data
from datamodules.detection.coco_o import COCOO, DOMAINS
from tests.helpers.replica_coco_o import make_coco_o
from tests.helpers.replicas_detection import edit_json
from visionscapes.errors import UserError

FILE = "annotations/instances_val2017.json"


@pytest.fixture
def root(tmp_path):
    return make_coco_o(tmp_path)


def ready(root, stage="test", **options):
    data = COCOO(str(root), **({"batch_size": 5, "num_workers": 0, "test_size": 32} | options))
    data.setup(stage)
    return data


def samples(data):
    """Return what the batches hold of every picture, by its id."""
    found = {}
    for batch in data.test_dataloader():
        assert batch["task"] == "detection"
        for place, image_id in enumerate(batch["image_id"]):
            found[image_id] = {key: values[place] for key, values in batch.items() if key != "task"}
    return found


def test_all_domains_are_one_set_whose_pictures_say_where_they_are_from(root):
    data = ready(root)
    found = samples(data)
    assert list(found) == [f"{domain}/{number}" for domain in DOMAINS for number in (1, 7)]
    assert [data.domain_of(image_id) for image_id in found] == [domain for domain in DOMAINS for _ in range(2)]
    for sample in found.values():
        assert sample["image"].dtype == torch.uint8
        assert sample["truth"]["masks"] is None
    assert found["weather/7"]["truth"]["boxes"].tolist() == [[4, 4, 20, 34], [24, 8, 44, 28]]
    assert found["sketch/1"]["size"].tolist() == [34, 50]


def test_labels_are_those_of_a_detector_of_coco_whatever_a_file_defines(root, caplog):
    with caplog.at_level(logging.WARNING):
        data = ready(root)
    names = FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
    assert len(data.classes) == 80
    assert [names[number] for number in data.category_ids] == list(data.classes)
    assert list(data.category_ids) == sorted(data.category_ids)
    for domain in DOMAINS:  # tattoos are numbered otherwise in their file
        labels = samples(data)[f"{domain}/7"]["truth"]["labels"].tolist()
        assert [data.classes[label] for label in labels] == ["person", "car"]
        assert labels == [0, 2]
    assert "tattoo/annotations/instances_val2017.json define other categories" in caplog.text
    assert "COCO-O has 12 pictures here, 6782 as published" in caplog.text
    assert "COCO-O has 18 boxes here, 26624 as published" in caplog.text


def test_some_domains_need_no_others(root, tmp_path, caplog):
    data = ready(make_coco_o(tmp_path / "some", ["cartoon", "sketch"]), domains=["cartoon", "sketch"])
    assert data.domains == ("sketch", "cartoon")
    assert [data.domain_of(each) for each in samples(data)] == ["sketch"] * 2 + ["cartoon"] * 2
    assert "as published" not in caplog.text
    with pytest.raises(UserError, match=r"domains is \['sketches'\]; it has to name one or more of sketch, weather"):
        COCOO(str(root), domains=["sketches"])


def test_the_folder_above_will_do(root):
    assert len(samples(ready(root.parent))) == 12


@pytest.mark.parametrize("missing", ["painting", f"painting/{FILE}", "painting/val2017/000000000007.jpg"])
def test_what_is_missing_is_named_with_the_tree_and_the_ways_out(root, missing):
    gone = root / missing
    gone.rename(root / "elsewhere")
    with pytest.raises(DatasetNotFoundError) as caught:
        ready(root)
    text = str(caught.value)
    assert text.startswith("COCO-O was not found.")
    assert f"Looked in: {root}" in text
    assert f"painting/{FILE if 'jpg' not in missing else 'val2017/000000000007.jpg'}" in text
    assert "weather/, cartoon/, painting/, tattoo/, handmake/" in text
    assert "benchmarks/coco_o of github.com/alibaba/easyrobust" in text


def test_missing_pictures_can_be_left_out(root, caplog):
    (root / "painting" / "val2017" / "000000000007.jpg").unlink()
    found = samples(ready(root, skip_missing=True))
    assert len(found) == 11
    assert "painting/7" not in found
    assert "COCO-O painting: left out 1 of 2 pictures" in caplog.text


def test_classes_that_coco_has_not_are_refused(root):
    def change(content):
        content["categories"][0]["name"] = "unicorn"
        content["annotations"][0]["category_id"] = content["categories"][0]["id"]

    edit_json(root / "weather" / FILE, change)
    with pytest.raises(UserError, match="has annotations of unicorn, which COCO does not define"):
        ready(root)


def test_there_is_nothing_to_train_on(root):
    with pytest.raises(OnlyEvaluatesError, match=r"COCOO only evaluates: run `python cli\.py test`"):
        ready(root, "fit").train_dataloader()


def test_pictures_are_predicted_by_their_paths_and_go_to_workers(root):
    data = ready(root, "predict")
    names = [name for batch in data.predict_dataloader() for name in batch["name"]]
    assert names[:3] == [
        f"sketch/val2017/{1:012d}.jpg",
        f"sketch/val2017/{7:012d}.jpg",
        f"weather/val2017/{1:012d}.jpg",
    ]
    images = data.evaluation_images()
    again = pickle.loads(pickle.dumps(images))
    assert (again.paths, len(again)) == (images.paths, 12)


def test_it_is_looked_over_by_its_domains(root):
    report = inspect_data(COCOO(str(root), batch_size=2, num_workers=0, test_size=32))
    assert [str(each) for each in report.errors] == []
    assert list(report.boxes) == list(DOMAINS)
    assert list(report.loaders) == ["test"]


def test_a_damaged_file_is_named(root):
    path = root / "tattoo" / FILE
    path.write_text(json.dumps([]))
    with pytest.raises(UserError, match=r"tattoo/annotations/instances_val2017\.json is not a detection file"):
        ready(root)
